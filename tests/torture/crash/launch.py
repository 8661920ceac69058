"""launch.py SOCKET PROGRAM…: runs a program whose system calls on files ask somebody first.

Installs a seccomp filter with user notification, sends its descriptor to whoever listens on SOCKET, and
becomes the program. Threads and processes that the program starts are under the same filter.
"""

from __future__ import annotations

import ctypes
import os
import platform
import socket
import struct
import sys

# Numbers of x86-64, and by which argument a call need not be asked about.
CALLS = {
    "write": 1,
    "mmap": 9,
    "pwrite64": 18,
    "writev": 20,
    "fsync": 74,
    "fdatasync": 75,
    "ftruncate": 77,
    "rename": 82,
    "mkdir": 83,
    "rmdir": 84,
    "link": 86,
    "unlink": 87,
    "symlink": 88,
    "openat": 257,
    "mkdirat": 258,
    "unlinkat": 263,
    "renameat": 264,
    "linkat": 265,
    "symlinkat": 266,
    "fallocate": 285,
    "pwritev": 296,
    "renameat2": 316,
    "copy_file_range": 326,
}
PR_SET_NO_NEW_PRIVS = 38
SECCOMP, SET_MODE_FILTER, NEW_LISTENER = 317, 1, 8
ALLOW, NOTIFY = 0x7FFF0000, 0x7FC00000
MAP_ANONYMOUS = 0x20
AUDIT_ARCH_X86_64 = 0xC000003E
# Where a filter finds the number of the call, the architecture, and the fourth argument.
NUMBER, ARCHITECTURE, FOURTH = 0, 4, 16 + 3 * 8


def instruction(code: int, value: int, if_so: int = 0, if_not: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_so, if_not, value)


def load(offset: int) -> bytes:
    return instruction(0x20, offset)


def answer(what: int) -> bytes:
    return instruction(0x06, what)


def program(calls: list[str]) -> bytes:
    """Asks about these calls, but for memory that no file is behind."""
    lines = [load(ARCHITECTURE), instruction(0x15, AUDIT_ARCH_X86_64, 1, 0), answer(ALLOW), load(NUMBER)]
    for call in calls:
        if call == "mmap":
            lines += [instruction(0x15, CALLS[call], 0, 4), load(FOURTH)]
            lines += [instruction(0x45, MAP_ANONYMOUS, 0, 1), answer(ALLOW), answer(NOTIFY)]
        else:
            lines += [instruction(0x15, CALLS[call], 0, 1), answer(NOTIFY)]
    return b"".join([*lines, answer(ALLOW)])


def install(calls: list[str]) -> int:
    """The filter, from here on; the descriptor that is told of calls."""
    if platform.machine() != "x86_64" or sys.platform != "linux":
        raise SystemExit("this check knows the system calls of Linux on x86-64 alone")
    libc = ctypes.CDLL(None, use_errno=True)
    lines = program(calls)
    buffer = ctypes.create_string_buffer(lines, len(lines))
    head = struct.pack("HxxxxxxQ", len(lines) // 8, ctypes.addressof(buffer))
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    listener = libc.syscall(SECCOMP, SET_MODE_FILTER, NEW_LISTENER, ctypes.c_char_p(head))
    if listener < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    return int(listener)


def main() -> None:
    place, calls, *command = sys.argv[1:]
    told = socket.socket(socket.AF_UNIX)
    told.connect(place)
    # Whatever the interpreter still needs is there before the filter is.
    environment = dict(os.environ)
    listener = install(calls.split(","))
    # By sendmsg, which nobody is asked about.
    socket.send_fds(told, [b"x"], [listener])
    os.close(listener)
    told.close()
    os.execve(command[0], command, environment)


if __name__ == "__main__":
    main()
