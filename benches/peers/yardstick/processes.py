"""Servers: started on their cores, looked at through /proc, ended."""

import os
import signal
import socket
import subprocess
import time

from .errors import Failed
from .machine import read

TICKS = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def pinned(cores, command):
    return ["taskset", "-c", ",".join(map(str, cores)), *command]


class Process:
    """A server that was started here."""

    def __init__(self, name, command, cores, log, join=None, **more):
        """`join` is called in the child before it becomes the server, with no arguments."""
        self.name, self.log = name, log
        with open(log, "ab") as out:
            more.setdefault("stdout", out)
            self.popen = subprocess.Popen(pinned(cores, command), stderr=out, preexec_fn=join, **more)
        self.pid = self.popen.pid

    def check(self):
        if self.popen.poll() is not None:
            raise Failed(f"{self.name} ended with {self.popen.returncode}; the end of its log:\n{self.last_words()}")

    def last_words(self):
        with open(self.log, "rb") as log:
            return b"\n".join(log.read().splitlines()[-12:]).decode(errors="replace")

    def wait_for_port(self, port, seconds=120):
        """Until it accepts connections."""
        end = time.monotonic() + seconds
        while True:
            self.check()
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                if time.monotonic() > end:
                    raise Failed(f"{self.name} does not listen after {seconds} s; the end of its log:\n"
                                 f"{self.last_words()}") from None
                time.sleep(0.02)

    def stop(self, seconds=60):
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
            try:
                self.popen.wait(seconds)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()

    def family(self):
        """Its id, and those of the processes it has started."""
        found, pids = [], [self.pid]
        while pids:
            pid = pids.pop()
            found.append(pid)
            try:
                for task in os.listdir(f"/proc/{pid}/task"):
                    pids += map(int, read(f"/proc/{pid}/task/{task}/children").split())
            except OSError:
                pass
        return found

    def cpu(self):
        """Processor time so far, user and system, in seconds; all its threads and children."""
        user = system = 0
        for pid in self.family():
            # After the name, which may contain anything.
            fields = read(f"/proc/{pid}/stat").rpartition(")")[2].split()
            user += int(fields[11])
            system += int(fields[12])
        return user / TICKS, system / TICKS

    def anonymous_bytes(self):
        """Memory that is its own and no file's."""
        for line in read(f"/proc/{self.pid}/status").splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
        raise Failed(f"the kernel does not say how much anonymous memory {self.name} has")
