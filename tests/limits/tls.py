"""Which TLS is spoken: 1.2 and 1.3 with what both protocols of HTTP need, and nothing older or weaker."""

from __future__ import annotations

import os
import socket
import ssl
import struct

from server import Server, trusting_nobody

ALERT, PROTOCOL_VERSION, HANDSHAKE_FAILURE = 0x15, 70, 40
# RSA key exchange, CBC, 3DES and RC4; ECDHE with AES in CBC.
WEAK = [0x002F, 0x0035, 0x000A, 0x0005, 0xC013, 0xC014]
GOOD = [0xC02B, 0xC02F, 0xCCA9]
CURVES = struct.pack(">HHHHH", 10, 6, 4, 23, 29)
SIGNATURES = struct.pack(">HHHHH", 13, 6, 4, 0x0403, 0x0804)


def hello(version: int, suites: list[int]) -> bytes:
    """A ClientHello that knows no version after 1.2."""
    extensions = CURVES + SIGNATURES
    body = struct.pack(">H", version) + os.urandom(32) + b"\0"
    body += struct.pack(f">H{len(suites)}H", 2 * len(suites), *suites) + b"\1\0"
    body += struct.pack(">H", len(extensions)) + extensions
    handshake = b"\x01" + struct.pack(">I", len(body))[1:] + body
    return b"\x16\x03\x01" + struct.pack(">H", len(handshake)) + handshake


def said(port: int, message: bytes) -> tuple[int, int]:
    """The kind of the server's first record, and of an alert what it is."""
    with socket.create_connection(("127.0.0.1", port), timeout=10.0) as stream:
        stream.sendall(message)
        answer = stream.recv(4096)
        return (answer[0], answer[6]) if answer else (0, 0)


def check(server: Server) -> list[str]:
    lines = []
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        for protocol in ("h2", "http/1.1"):
            context = trusting_nobody()
            context.minimum_version = context.maximum_version = version
            context.set_alpn_protocols([protocol])
            with socket.create_connection(("127.0.0.1", server.port), timeout=10.0) as stream:
                with context.wrap_socket(stream, server_hostname="localhost") as secure:
                    if secure.selected_alpn_protocol() != protocol:
                        raise AssertionError(f"{version.name}: {secure.selected_alpn_protocol()}, not {protocol}")
                    lines.append(f"{secure.version()}, {protocol}: {(secure.cipher() or ('none',))[0]}")
    for name, version in (("SSL 3", 0x0300), ("TLS 1.0", 0x0301), ("TLS 1.1", 0x0302)):
        if (answer := said(server.port, hello(version, GOOD + WEAK))) != (ALERT, PROTOCOL_VERSION):
            raise AssertionError(f"{name} was answered with {answer}")
    if (answer := said(server.port, hello(0x0303, WEAK))) != (ALERT, HANDSHAKE_FAILURE):
        raise AssertionError(f"weak suites alone were answered with {answer}")
    if (answer := said(server.port, hello(0x0303, GOOD)))[0] != 0x16:
        raise AssertionError(f"a sound hello was answered with {answer}: this check tells nothing")
    return lines
