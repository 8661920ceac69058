"""A process that reads, without a pause where a swap or a kill is near.

It sends a request on each of its connections, then takes the answers: so at any moment as many reads are
under way as it has connections. It knows nothing of what the operators do; it learns the numbers of versions
and contents from the answers alone.
"""

from __future__ import annotations

import random
import time
from collections import deque
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any, NamedTuple

from client import Address, Connection, Unanswered, Unsent
from history import KeyToken, Writer
from reading import Ask, answered, unanswered
from values import Contents, own_keys

# Keys that no content has.
GHOSTS = ["nobody", "k999999", "only:nobody:1:0", "k00000"]


class Traffic(NamedTuple):
    """What readers are told to do, in memory that all processes share."""

    stop: "Synchronized[int]"
    # A bit for each dataset that is about to change; while there are any there is no pause.
    burst: "Synchronized[int]"
    # Reads that were answered to one reader, of each dataset.
    done: Any


class Settings(NamedTuple):
    seed: str
    # Dataset: how many keys its universe has, and its share of the reads.
    universes: dict[str, int]
    shares: dict[str, int]
    connections: int
    reads_per_second: int


class Reader:
    def __init__(self, number: int, address: Address, settings: Settings, path: Path) -> None:
        self.settings = settings
        self.random = random.Random(f"{settings.seed}-reader-{number}")
        self.writer = Writer(path)
        self.contents = Contents(settings.seed, settings.universes)
        self.names = list(settings.universes)
        self.shares = [settings.shares[name] for name in self.names]
        self.connections = [
            (f"{number}.{i}", Connection(address)) for i in range(settings.connections)
        ]
        self.versions = {name: deque[int](maxlen=6) for name in self.names}
        self.latest = dict.fromkeys(self.names, 1)
        # Of each dataset a scan that goes on: version, last key, cursor, prefix, limit.
        self.scans: dict[str, tuple[int, str, str, str, int]] = {}

    def run(self, traffic: Traffic) -> None:
        pause = len(self.connections) / self.settings.reads_per_second
        while not traffic.stop.value:
            began = time.monotonic()
            burst = traffic.burst.value
            favourites = [name for i, name in enumerate(self.names) if burst >> i & 1]
            done = self.round(favourites)
            for name in done:
                traffic.done[self.names.index(name)] += 1
            if not done:
                # Nobody is there: no need to fill the history.
                time.sleep(0.005)
            elif not traffic.burst.value:
                time.sleep(max(0.0, pause - (time.monotonic() - began)))
        self.writer.close()

    def round(self, favourites: list[str]) -> list[str]:
        """One read on each connection; the datasets of those that were answered."""
        under_way: list[tuple[str, Connection, Ask]] = []
        for name, connection in self.connections:
            ask = self.choose(favourites)
            began = time.monotonic()
            try:
                connection.send(ask.method, ask.path, ask.body)
                under_way.append((name, connection, ask))
            except (Unsent, Unanswered) as error:
                sent = isinstance(error, Unanswered)
                start, end = connection.alive if sent else began, time.monotonic()
                self.writer.read(unanswered(ask, start, end, name, sent, str(error)))
                if not sent:
                    # The others would not be let in either.
                    break
        done = []
        for name, connection, ask in under_way:
            try:
                reply = connection.receive()
            except Unanswered as error:
                start, end = connection.alive, time.monotonic()
                self.writer.read(unanswered(ask, start, end, name, True, str(error)))
                continue
            read, answer = answered(ask, reply, name, self.contents)
            self.writer.read(read)
            self.learn(ask, read.version, read.claimed, answer)
            done.append(ask.dataset)
        return done

    def choose(self, favourites: list[str]) -> Ask:
        draw = self.random.random
        if favourites and draw() < 0.75:
            dataset = self.random.choice(favourites)
        else:
            dataset = self.random.choices(self.names, self.shares)[0]
        chance = draw()
        if chance < 0.78:
            return Ask(dataset, "get", [self.key(dataset)])
        known = self.versions[dataset]
        if chance < 0.84 and known:
            return Ask(dataset, "get", [self.key(dataset)], self.random.choice(known))
        if chance < 0.94:
            keys = [self.key(dataset) for _ in range(self.random.randint(10, 50))]
            pinned = self.random.choice(known) if known and draw() < 0.2 else None
            return Ask(dataset, "batch", keys, pinned)
        return self.page(dataset)

    def key(self, dataset: str) -> KeyToken:
        chance = self.random.random()
        if chance < 0.86:
            return self.random.randrange(self.settings.universes[dataset])
        if chance < 0.97:
            number = max(1, self.latest[dataset] - self.random.randrange(4))
            return self.random.choice(own_keys(dataset, number))
        return self.random.choice(GHOSTS)

    def page(self, dataset: str) -> Ask:
        if going_on := self.scans.get(dataset):
            version, after, cursor, prefix, limit = going_on
            return Ask(dataset, "scan", [prefix, after, limit], version, cursor)
        tens = self.random.randrange(max(1, self.settings.universes[dataset] // 100))
        prefix = self.random.choice(["", "k", "only:", f"k{tens:04}"])
        return Ask(dataset, "scan", [prefix, None, self.random.choice([20, 50, 100])])

    def learn(self, ask: Ask, version: int | None, numbers: list[int], answer: Any) -> None:
        if version and ask.pinned is None and version not in self.versions[ask.dataset]:
            self.versions[ask.dataset].append(version)
        if numbers and ask.pinned is None:
            self.latest[ask.dataset] = numbers[0]
        if ask.kind != "scan":
            return
        self.scans.pop(ask.dataset, None)
        try:
            last, cursor = answer["records"][-1]["key"], answer["next"]
        except (TypeError, KeyError, IndexError):
            return
        # Now and then a scan is left where it is.
        if version and cursor and self.random.random() < 0.9:
            prefix, _, limit = ask.asked
            self.scans[ask.dataset] = (version, last, cursor, prefix, limit)


def read_until_told(
    number: int, address: Address, settings: Settings, path: Path, traffic: Traffic
) -> None:
    """The whole of a reader's process."""
    Reader(number, address, settings, path).run(traffic)
