"""A gate before the system calls of a server and of the processes that it starts.

Each call on a file asks here before it is made, in one order for all threads and processes. What is done with
it is the business of a `decide`: let it through, let it fail, say that it was done, or end everything.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from crash.launch import CALLS

NAMES = {number: name for name, number in CALLS.items()}
# ioctl numbers of a notification of 80 bytes and an answer of 24.
RECEIVE, SEND = 0xC0502100, 0xC0182101
GO_ON = 1
AT_FDCWD = 0xFFFFFF9C
AT_REMOVEDIR = 0x200
LONGEST_PATH = 4096


@dataclass(frozen=True, slots=True)
class Call:
    """A call that asks."""

    task: int
    name: str
    # The file or name it is about, and the second one of a rename or link.
    path: str
    other: str
    arguments: tuple[int, ...]

    @property
    def file(self) -> str:
        """Where an open file can be looked at, whatever it is called now."""
        return f"/proc/{self.task}/fd/{self.arguments[4 if self.name == 'mmap' else 0] & 0xFFFFFFFF}"

    def flags(self) -> int:
        return self.arguments[2] & 0xFFFFFFFF


# What is done with a call: it goes on, it fails with this error, or it is done by now.
Fate = int
LET: Fate = -1
DONE: Fate = 0
Decide = Callable[[Call], Fate]


class Gate:
    """The gate of one server, from its start to its death."""

    def __init__(self, home: Path, calls: list[str], decide: Decide) -> None:
        self.place = home / "gate"
        self.calls = calls
        self.decide = decide
        self.is_closed = False
        self._processes: set[int] = set()
        self._tasks: set[int] = set()
        self._failure: BaseException | None = None
        self.place.unlink(missing_ok=True)
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(self.place))
        self._listening.listen(1)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wrapper(self) -> list[str]:
        """What the command line of the server begins with."""
        launch = Path(__file__).with_name("launch.py")
        return [sys.executable, "-S", "-E", str(launch), str(self.place), ",".join(self.calls)]

    def close(self) -> None:
        """Nothing goes through any more, and all that was behind the gate is ended. For the thread that
        decides, or after the server's end."""
        self.is_closed = True
        for process in self._processes:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def join(self) -> None:
        """Waits until all that was behind it is gone; raises what went wrong in deciding."""
        self.close()
        self._listening.close()
        self._thread.join(timeout=60)
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            accepted, _ = self._listening.accept()
            _, descriptors, _, _ = socket.recv_fds(accepted, 1, 1)
            accepted.close()
        except (OSError, ValueError):
            return
        listener = descriptors[0]
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        while not poll.poll()[0][1] & (select.POLLHUP | select.POLLERR):
            try:
                self._one(listener)
            except BaseException as error:  # noqa: BLE001 - told by join
                self._failure = self._failure or error
                self.close()
        os.close(listener)

    def _one(self, listener: int) -> None:
        told = bytearray(80)
        try:
            fcntl.ioctl(listener, RECEIVE, told)
        except OSError:
            # The one who asked is gone.
            return
        number, task = struct.unpack_from("QI", told)
        name = NAMES[struct.unpack_from("i", told, 16)[0]]
        arguments = struct.unpack_from("6Q", told, 32)
        fate = LET
        try:
            if task not in self._tasks:
                self._tasks.add(task)
                self._processes.add(process_of(task))
            if not self.is_closed:
                fate = self.decide(Call(task, name, *paths(task, name, arguments), arguments))
        except (FileNotFoundError, ProcessLookupError):
            # It died meanwhile.
            return
        if self.is_closed:
            self.close()
            return
        answer = struct.pack("QqiI", number, 0, -max(fate, 0), GO_ON if fate == LET else 0)
        try:
            fcntl.ioctl(listener, SEND, bytearray(answer))
        except OSError:
            pass


def process_of(task: int) -> int:
    """The process of a thread."""
    for line in Path(f"/proc/{task}/status").read_text().splitlines():
        if line.startswith("Tgid:"):
            return int(line.split()[1])
    raise ProcessLookupError(task)


def paths(task: int, name: str, arguments: tuple[int, ...]) -> tuple[str, str]:
    """The two paths of a call."""
    if name in ("write", "writev", "pwrite64", "pwritev", "fsync", "fdatasync", "ftruncate", "fallocate"):
        return opened(task, arguments[0]), ""
    if name == "copy_file_range":
        return opened(task, arguments[2]), ""
    if name == "mmap":
        return opened(task, arguments[4]), ""
    if name in ("mkdir", "rmdir", "unlink"):
        return named(task, AT_FDCWD, arguments[0]), ""
    if name in ("rename", "link"):
        return named(task, AT_FDCWD, arguments[0]), named(task, AT_FDCWD, arguments[1])
    if name in ("renameat", "renameat2", "linkat"):
        return named(task, arguments[0], arguments[1]), named(task, arguments[2], arguments[3])
    if name in ("symlink", "symlinkat"):
        at, where = (AT_FDCWD, arguments[1]) if name == "symlink" else arguments[1:3]
        return named(task, at, where), ""
    return named(task, arguments[0], arguments[1]), ""


def opened(task: int, descriptor: int) -> str:
    try:
        return os.readlink(f"/proc/{task}/fd/{descriptor & 0xFFFFFFFF}")
    except FileNotFoundError:
        return ""


def named(task: int, directory: int, address: int) -> str:
    text = string_at(task, address)
    if text.startswith("/"):
        return os.path.normpath(text)
    start = f"/proc/{task}/cwd" if directory & 0xFFFFFFFF == AT_FDCWD else f"/proc/{task}/fd/{directory & 0xFFFFFFFF}"
    return os.path.normpath(os.path.join(os.readlink(start), text))


def string_at(task: int, address: int) -> str:
    """The text at an address of a process, up to its NUL; pages behind it may not be there."""
    text = b""
    memory = os.open(f"/proc/{task}/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        while len(text) < LONGEST_PATH:
            more = os.pread(memory, 4096 - address % 4096, address)
            end = more.find(b"\0")
            if end >= 0:
                return os.fsdecode(text + more[:end])
            text += more
            address += len(more)
    finally:
        os.close(memory)
    return os.fsdecode(text)
