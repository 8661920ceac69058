"""A server of ours: started, killed, started again on the same directory and port.

Nothing here looks into what the server stores; what the process and its directory cost is read from /proc
and the file system. Only processes that were started here are ever signalled.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import time
from pathlib import Path

from client import Address, Connection, Unanswered, Unsent

# How long a start may take before the run is given up.
PATIENCE = 60.0
# File systems that forget everything: fsync means nothing there.
FORGETFUL = {0x01021994: "tmpfs", 0x858458F6: "ramfs"}


class NotStarted(Exception):
    """The process ended, or said nothing, instead of listening."""


def require_real_file_system(directory: Path) -> int:
    """The type of the file system of a directory, as statfs(2) says; raises for one in memory."""
    libc = ctypes.CDLL(None, use_errno=True)
    answer = ctypes.create_string_buffer(512)
    if libc.statfs(os.fsencode(directory), answer) != 0:
        raise OSError(ctypes.get_errno(), "statfs", str(directory))
    kind = ctypes.c_long.from_buffer(answer).value & 0xFFFFFFFF
    if kind in FORGETFUL:
        raise ValueError(f"{directory} is on {FORGETFUL[kind]}: the data must be on a real file system")
    return kind


class Server:
    """One data directory, and the process that serves it."""

    def __init__(
        self,
        binary: Path,
        home: Path,
        arguments: list[str] | None = None,
        environment: dict[str, str] | None = None,
        wrapper: list[str] | None = None,
    ) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.file_system = require_real_file_system(home)
        self.binary = binary
        self.home = home
        self.data = home / "data"
        self.log = home / "server.log"
        self.arguments = arguments or []
        self.environment = environment or {}
        # What starts the binary, such as strace and its options.
        self.wrapper = wrapper or []
        self.address: Address = ("127.0.0.1", 0)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, ready: bool = True, extra: dict[str, str] | None = None) -> None:
        """Starts it and waits until it listens, and until it is ready unless told not to. The port is that
        of the first start. `extra` are variables of this start alone."""
        if self.process is not None:
            raise RuntimeError("the process before this one was neither killed nor stopped")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._environment(extra),
            )
        try:
            self.address = self._announced()
            if ready:
                self.wait_until_ready()
        except NotStarted:
            self.kill()
            raise

    def start_and_kill(self, delay: float) -> None:
        """Starts it and kills it so soon that it may not have come to listening."""
        command = self._command()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
                env=self._environment(None),
            )
        time.sleep(delay)
        self.kill()

    def wait_until_ready(self) -> None:
        connection = Connection(self.address, timeout=5.0)
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                if connection.ask("GET", "/readyz").status == 200:
                    connection.close()
                    return
            except (Unsent, Unanswered):
                pass
            if self.ended() is not None:
                raise NotStarted(f"it ended with {self.ended()} before it was ready: {self.last_words()}")
            time.sleep(0.002)
        raise NotStarted(f"not ready within {PATIENCE} s: {self.last_words()}")

    def kill(self) -> None:
        """SIGKILL, and waits until the process is gone, and with it the lock of the directory."""
        self._end(signal.SIGKILL, PATIENCE)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        return self._end(signal.SIGTERM, PATIENCE)

    def ended(self) -> int | None:
        """How the process ended by itself, if it did."""
        return self.process.poll() if self.process else None

    def pid(self) -> int:
        if self.process is None:
            raise RuntimeError("there is no process")
        return self.process.pid

    def open_files(self) -> int:
        return len(os.listdir(f"/proc/{self.pid()}/fd"))

    def resident_bytes(self) -> int:
        """Private memory: pages of mapped tables are the page cache's."""
        for line in Path(f"/proc/{self.pid()}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("/proc says nothing of RssAnon")

    def disk_bytes(self) -> int:
        """What the data directory takes, each hard-linked file once."""
        seen: dict[tuple[int, int], int] = {}
        for directory, _, names in os.walk(self.data):
            for name in names:
                try:
                    told = os.lstat(os.path.join(directory, name))
                except FileNotFoundError:
                    continue
                seen[told.st_dev, told.st_ino] = told.st_blocks * 512
        return sum(seen.values())

    def last_words(self, lines: int = 12) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def _command(self) -> list[str]:
        listen = f"{self.address[0]}:{self.address[1]}"
        serve = [str(self.binary), "serve", "--listen", listen, "--data", str(self.data)]
        return [*self.wrapper, *serve, *self.arguments]

    def _environment(self, extra: dict[str, str] | None) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("TIDETABLE_")}
        return clean | self.environment | (extra or {})

    def _announced(self) -> Address:
        """The address from the line that the server prints when it listens."""
        assert self.process is not None and self.process.stdout is not None
        line, end = b"", time.monotonic() + PATIENCE
        while not line.endswith(b"\n"):
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise NotStarted(f"no line within {PATIENCE} s: {self.last_words()}")
            more = os.read(self.process.stdout.fileno(), 4096)
            if not more:
                raise NotStarted(f"it ended with {self.process.wait()}: {self.last_words()}")
            line += more
        _, _, address = line.decode().strip().rpartition("http://")
        host, _, port = address.rpartition(":")
        return host, int(port)

    def _end(self, how: signal.Signals, patience: float) -> int:
        if self.process is None:
            return 0
        process, self.process = self.process, None
        if process.poll() is None:
            process.send_signal(how)
        try:
            code = process.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        if process.stdout is not None:
            process.stdout.close()
        return code
