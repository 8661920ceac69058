"""What a client knows of a server: what it asked for, and what it was answered.

A request that was sent and not answered may have happened: both ways are allowed until an answer says
which. What was acknowledged is allowed one way only.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Push:
    """One push of a content, by the number of that content."""

    number: int
    # open: takes parts; sent: asked for, not answered; done: acknowledged; refused: it holds bad rows.
    state: str = "sent"
    version: int | None = None
    key: str | None = None
    # What is sent for it, if that is not the rows of the content as they are.
    body: bytes | None = None
    # It comes in parts: until its commit it waits for them.
    in_parts: bool = False
    # Parts that were acknowledged, by name.
    parts: dict[str, bytes] = field(default_factory=dict)
    # A rollback away from it was asked for: it is refused when it is pushed again.
    may_be_bad: bool = False
    # A deletion, or retention, was asked for.
    may_be_gone: bool = False
    # A deletion was acknowledged.
    is_gone: bool = False


@dataclass
class Dataset:
    name: str
    pushes: dict[int, Push] = field(default_factory=dict)
    # Numbers of which one is current; None: no version is.
    current: set[int | None] = field(default_factory=lambda: {None})
    may_be_gone: bool = False
    is_gone: bool = False
    # Whether it was made for certain.
    is_there: bool = False

    def push(self, number: int) -> Push:
        return self.pushes.setdefault(number, Push(number))


@dataclass
class Book:
    seed: str
    datasets: dict[str, Dataset] = field(default_factory=dict)
    # What was answered and should not have been.
    wrong: list[str] = field(default_factory=list)
    # Requests that failed in a way that is allowed: what, status, code.
    failed: list[tuple[str, int, str]] = field(default_factory=list)

    def of(self, name: str) -> Dataset:
        return self.datasets.setdefault(name, Dataset(name))
