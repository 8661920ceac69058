"""One server under test, and what is seen of it from outside."""

from __future__ import annotations

import base64
import http.client
import os
import signal
import ssl
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
# How long a start, or an end, may take.
PATIENCE = 60.0
DATASET = "recs"
RECORDS = 2000


class Server:
    """`tidetable serve` on a directory of its own and a free port of loopback."""

    def __init__(self, binary: Path, home: Path, *arguments: str, tls: bool = False) -> None:
        home.mkdir(parents=True)
        self.home = home
        self.log = home / "log"
        command = [str(binary), "serve", "--listen", "127.0.0.1:0", "--data", str(home / "data"), *arguments]
        if tls:
            certificate, key = write_pair(home)
            command += ["--tls-certificate", str(certificate), "--tls-key", str(key)]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("TIDETABLE_")}
        environment["TIDETABLE_PUSHES_GIVE_WAY"] = "false"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, env=environment
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline().decode()
        if " listening on " not in line:
            raise SystemExit(f"the server did not start: {self.log.read_text()}")
        self.port = int(line.rsplit(":", 1)[1])
        self.tls = tls

    def connection(self, timeout: float = 30.0) -> http.client.HTTPConnection:
        if not self.tls:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout, context=trusting_nobody())

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        connection = self.connection()
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def push(self, value_bytes: int = 300) -> None:
        """RECORDS records with keys k0, k1, …"""
        text = "x" * value_bytes
        rows = "".join(f'{{"k":"k{n}","v":"{text}"}}\n' for n in range(RECORDS))
        status, said = self.ask("POST", f"/v1/datasets/{DATASET}/push?key=k&format=ndjson", rows.encode())
        if status != 201:
            raise SystemExit(f"the push was answered with {status}: {said.decode()}")

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        page = self.ask("GET", "/metrics")[1].decode()
        lines = [line for line in page.splitlines() if line.split("{")[0].split(" ")[0] == name]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    def memory(self) -> int:
        """Bytes of memory that the process has resident; the peak is counted anew from here on."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        return self._status("VmRSS:")

    def peak(self) -> int:
        """The most that it had resident since `memory` was called."""
        return self._status("VmHWM:")

    def _status(self, name: str) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith(name))
        return int(line.split()[1]) * 1024

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def ended(self) -> int:
        """Its exit code, once it has ended."""
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)

    def last_words(self) -> str:
        """The end of its log, without a line for each request."""
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(line for line in lines[-400:] if " request " not in line)[-3000:]

    def panics(self) -> list[str]:
        return [line for line in self.log.read_text(errors="replace").splitlines() if "panicked" in line]


def write_pair(home: Path) -> tuple[Path, Path]:
    """The certificate and key of the unit tests, which everybody knows, as PEM."""
    certificate, key = home / "server.crt", home / "server.key"
    der = (ROOT / "src/outbound/localhost.cert.der").read_bytes()
    certificate.write_text(ssl.DER_cert_to_PEM_cert(der))
    text = base64.encodebytes((ROOT / "src/outbound/localhost.key.der").read_bytes()).decode()
    key.write_text(f"-----BEGIN PRIVATE KEY-----\n{text}-----END PRIVATE KEY-----\n")
    return certificate, key


def trusting_nobody() -> ssl.SSLContext:
    """For a client that asks no questions: who the server is, other tests look at."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def eventually(what: str, so: "callable", patience: float = PATIENCE) -> float:  # type: ignore[valid-type]
    """Waits until something is so; how long that took."""
    began = time.monotonic()
    while not so():
        if time.monotonic() - began > patience:
            raise AssertionError(f"not within {patience} s: {what}")
        time.sleep(0.02)
    return time.monotonic() - began
