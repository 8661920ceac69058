"""The adapter of one language: a program that makes the calls, one JSON object a line."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import threading
from pathlib import Path
from typing import IO, Any

from .server import environment

ROOT = Path(__file__).resolve().parent.parent.parent.parent
# The script may have to build its client first.
STARTS = 300
ANSWERS = 20
FOR_ADAPTERS = ("TIDETABLE_CLIENT_BINARIES", "TIDETABLE_PYTHON")
# What a script exits with if its tools are not there.
NO_TOOLS = 77


class Missing(Exception):
    """The language's tools are not there."""


class Lost(Exception):
    """The adapter died, went silent, or said what is no answer."""


class Adapter:
    """Started once for each run; started again if it was lost."""

    def __init__(self, command: list[str], log: Path, patience: float = ANSWERS) -> None:
        self.command, self.log, self.patience = command, log, patience
        self.numbers = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.said: queue.Queue[bytes | None] = queue.Queue()
        # All that it ever wrote to standard output, for the search for tokens.
        self.lines: list[str] = []
        self.needs: set[str] = set()

    def start(self) -> None:
        path = ROOT / self.command[0]
        command = [str(path) if path.exists() else self.command[0], *self.command[1:]]
        if "/" in self.command[0] and not path.exists():
            raise Missing(f"there is no {self.command[0]}")
        kept = {name: os.environ[name] for name in FOR_ADAPTERS if name in os.environ}
        log = open(self.log, "ab")
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd=ROOT, start_new_session=True,
                                   env=environment(**kept))
        self.process = process
        log.close()
        self.said = queue.Queue()
        assert process.stdout is not None
        threading.Thread(target=listen, args=(process.stdout, self.said), daemon=True).start()
        try:
            hello = self.call({"call": "hello"}, STARTS)
        except Lost:
            # By now it is stopped, and forgotten.
            if process.poll() == NO_TOOLS:
                raise Missing(self.complaints()) from None
            raise
        self.needs = set(hello.get("needs", []))

    def call(self, wanted: dict[str, Any], patience: float | None = None) -> dict[str, Any]:
        """Makes one call; the answer without its id."""
        patience = patience or self.patience
        if self.process is None:
            self.start()
        assert self.process is not None and self.process.stdin is not None
        number, self.numbers = self.numbers, self.numbers + 1
        try:
            # ASCII alone: a lone surrogate can be written no other way.
            self.process.stdin.write(json.dumps({"id": number, **wanted}).encode() + b"\n")
            self.process.stdin.flush()
            line = self.said.get(timeout=patience)
        except queue.Empty:
            self.stop(patience=0.1)
            raise Lost(f"no answer within {patience} s") from None
        except OSError:
            line = None
        if line is None:
            self.stop()
            raise Lost("the adapter ended")
        self.lines.append(line.decode(errors="replace"))
        try:
            answer = json.loads(line)
            fits = isinstance(answer, dict) and answer.pop("id", None) == number
        except ValueError:
            fits = False
        if not fits:
            self.stop()
            raise Lost(f"this is no answer to call {number}: {line[:300]!r}")
        return dict(answer)

    def complaints(self) -> str:
        """The last lines of its standard error."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-12:])

    def stop(self, patience: float = 5) -> None:
        """Ends the process, and whatever still runs of it."""
        if self.process is None:
            return
        process, self.process = self.process, None
        assert process.stdin is not None
        try:
            process.stdin.close()
            process.wait(timeout=patience)
        except (subprocess.TimeoutExpired, OSError):
            # A script and what it started: they are a group of their own.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def listen(stream: IO[bytes], said: queue.Queue[bytes | None]) -> None:
    """Hands over line by line; None at the end."""
    for line in stream:
        said.put(line)
    said.put(None)
