"""Data sources whose tasks are killed, fail or lag on purpose, at their first attempt.

They are the real one, with trouble in `write`. Each trouble leaves a mark in a directory, so that
the test can tell that it came about.
"""

from __future__ import annotations

import http.client
import os
import signal
import time
from pathlib import Path
from typing import Any, Iterator

from pyspark import TaskContext
from tidetable.spark import ArrowWriter, SentMessage, TidetableDataSource

# How long something may take to come about before a test gives up.
PATIENCE = 120


def executor_pid() -> int:
    """The executor of this worker: the process behind the daemon that forked it."""
    daemon = Path(f"/proc/{os.getppid()}/stat").read_text()
    pid = int(daemon.rpartition(")")[2].split()[1])
    command = Path(f"/proc/{pid}/comm").read_text().strip()
    assert command == "java", f"process {pid} is {command}, and was to be an executor"
    return pid


class KilledWriter(ArrowWriter):
    """Partition 2 dies with half of its part sent; partition 5 takes its whole executor with it
    once its part has arrived.
    """

    def __init__(self, push: Any, marks: str, address: str) -> None:
        super().__init__(push)
        self.marks, self.address = Path(marks), address

    def write(self, iterator: Iterator[Any]) -> SentMessage:
        task = TaskContext.get()
        if task.attemptNumber() > 0 or task.partitionId() not in (2, 5):
            return super().write(iterator)
        if task.partitionId() == 2:
            next(iterator)
            self.send_half_a_part()
            self.mark("half a part")
            os.kill(os.getpid(), signal.SIGKILL)
        sent = super().write(iterator)
        self.mark(f"executor {sent.sent.part}")
        os.kill(executor_pid(), signal.SIGKILL)
        # The worker ends with its executor; nothing is told to the driver.
        os.kill(os.getpid(), signal.SIGKILL)
        return sent

    def send_half_a_part(self) -> None:
        session = self.push.session
        connection = http.client.HTTPConnection(self.address, timeout=60)
        path = f"/v1/datasets/{session.dataset}/versions/{session.version}/parts/{self.push.part_name()}"
        connection.putrequest("PUT", path)
        connection.putheader("content-length", str(2 << 20))
        connection.endheaders()
        connection.send(b"x" * (1 << 20))

    def mark(self, what: str) -> None:
        (self.marks / what).touch()


class KilledSource(TidetableDataSource):
    @classmethod
    def name(cls) -> str:
        return "killed"

    def writer(self, schema: Any, overwrite: bool) -> Any:
        marks, address = self.options.pop("marks"), self.options.pop("address")
        return KilledWriter(super().writer(schema, overwrite).push, marks, address)


class FailingWriter(ArrowWriter):
    """Partition 1 fails whenever it is tried, once another part has arrived."""

    def write(self, iterator: Iterator[Any]) -> SentMessage:
        if TaskContext.get().partitionId() == 1:
            raise ArithmeticError("this task always fails")
        return super().write(iterator)


class FailingSource(TidetableDataSource):
    @classmethod
    def name(cls) -> str:
        return "failing"

    def writer(self, schema: Any, overwrite: bool) -> Any:
        return FailingWriter(super().writer(schema, overwrite).push)


class LaggingWriter(ArrowWriter):
    """The first attempt of partition 3 sends its part, and tells nothing of it until a second
    attempt, which only speculation makes, has sent its own.
    """

    def __init__(self, push: Any, marks: str) -> None:
        super().__init__(push)
        self.marks = Path(marks)

    def write(self, iterator: Iterator[Any]) -> SentMessage:
        sent = super().write(iterator)
        task = TaskContext.get()
        if task.partitionId() == 3:
            (self.marks / f"sent {task.attemptNumber()}").write_text(sent.sent.part)
            deadline = time.monotonic() + PATIENCE
            while task.attemptNumber() == 0 and not (self.marks / "sent 1").exists():
                assert time.monotonic() < deadline, "Spark speculated on no task"
                time.sleep(0.05)
        return sent


class LaggingSource(TidetableDataSource):
    @classmethod
    def name(cls) -> str:
        return "lagging"

    def writer(self, schema: Any, overwrite: bool) -> Any:
        marks = self.options.pop("marks")
        return LaggingWriter(super().writer(schema, overwrite).push, marks)
