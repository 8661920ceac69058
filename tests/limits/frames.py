"""HTTP/2 frames by hand, as bad clients write them."""

from __future__ import annotations

import contextlib
import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS = 1, 1, 4
INITIAL_WINDOW_SIZE = 4
REFUSED_STREAM = 7


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name: bytes, value: bytes) -> bytes:
    """A header without indexing (RFC 7541, 6.2.2); both shorter than 127 bytes."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


def get(path: str) -> bytes:
    """A header block. 0x82 is GET, 0x86 http."""
    return b"\x82\x86" + literal(b":path", path.encode()) + literal(b":authority", b"x")


def post(path: str) -> bytes:
    return b"\x83\x86" + literal(b":path", path.encode()) + literal(b":authority", b"x")


class Http2:
    """One connection, after its preface. What the server sends is read only when asked for."""

    def __init__(self, port: int, settings: dict[int, int] | None = None, room: int | None = None) -> None:
        """`room` is how many bytes of answers the system keeps for us while we do not read."""
        self.socket = socket.socket()
        self.socket.settimeout(10.0)
        if room is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        self.socket.connect(("127.0.0.1", port))
        # Streams that the server refused, once it was read to its end.
        self.refused: list[int] = []
        payload = b"".join(struct.pack(">HI", k, v) for k, v in (settings or {}).items())
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0, payload))

    def send(self, data: bytes) -> bool:
        """Whether the server still took it."""
        try:
            self.socket.sendall(data)
            return True
        except OSError:
            return False

    def end(self, patience: float) -> str:
        """Reads to the end: how the server ended it ("goaway CODE", "closed"), or "open" if it did not."""
        self.socket.settimeout(patience)
        received, said = b"", "closed"
        try:
            while piece := self.socket.recv(1 << 16):
                received += piece
                while len(received) >= 9 + (length := int.from_bytes(received[:3], "big")):
                    if received[3] == GOAWAY:
                        said = f"goaway {int.from_bytes(received[13:17], 'big')}"
                    if received[3] == RST_STREAM and int.from_bytes(received[9:13], "big") == REFUSED_STREAM:
                        self.refused.append(int.from_bytes(received[5:9], "big"))
                    received = received[9 + length :]
        except TimeoutError:
            return said if said != "closed" else "open"
        except OSError:
            pass
        finally:
            with contextlib.suppress(OSError):
                self.socket.close()
        return said
