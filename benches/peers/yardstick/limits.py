"""A bound on the memory of a server, page cache included: a control group of its own."""

import os

from .errors import NotHere
from .machine import read

ROOT = "/sys/fs/cgroup"


class MemoryLimit:
    """A control group with so many bytes; servers join it when they are started."""

    def __init__(self, name, limit):
        self.bytes = limit
        if os.path.exists(f"{ROOT}/cgroup.controllers"):
            self.kind, parent, setting = "cgroup v2, memory.max", ROOT, "memory.max"
            enable(parent)
        elif os.path.isdir(f"{ROOT}/memory"):
            self.kind, parent, setting = "cgroup v1, memory.limit_in_bytes", f"{ROOT}/memory", "memory.limit_in_bytes"
        else:
            raise NotHere("this kernel or container has no control groups for memory")
        self.path = f"{parent}/tidetable-bench-{name}"
        try:
            os.makedirs(self.path, exist_ok=True)
            write(f"{self.path}/{setting}", limit)
        except OSError as error:
            raise NotHere(f"a control group cannot be made below {parent}: {error.strerror}; root may") from error

    def join(self):
        """Called by a server's process before it becomes the server."""
        write(f"{self.path}/cgroup.procs", 0)

    def remove(self):
        """After its processes have ended."""
        try:
            os.rmdir(self.path)
        except OSError:
            pass


def enable(parent):
    if "memory" not in read(f"{parent}/cgroup.controllers").split():
        raise NotHere("the control groups of this container do not include memory")
    if "memory" not in read(f"{parent}/cgroup.subtree_control").split():
        try:
            write(f"{parent}/cgroup.subtree_control", "+memory")
        except OSError as error:
            raise NotHere(f"limits on memory cannot be enabled in {parent}: {error.strerror}") from error


def write(path, value):
    with open(path, "w", encoding="ascii") as file:
        file.write(str(value))


def forget(directory):
    """Has the kernel drop the files below from the page cache, so that what reads them next
    pays for it, and has it counted as its own."""
    os.sync()
    for place, _, names in os.walk(directory):
        for name in names:
            fd = os.open(os.path.join(place, name), os.O_RDONLY)
            try:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(fd)
