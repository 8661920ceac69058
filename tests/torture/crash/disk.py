"""A directory as a disk has it: what was synced, and what was only asked for.

Follows every change of a data directory while it is made, and says which would survive a power cut: bytes that
an fsync of their file covers, names that an fsync of their directory covers. From these it makes the states in
which a disk may be found afterwards. A rename counts as one change, durable with the directory it goes to.
Files are only ever written at their end here, apart from LOCK, whose content means nothing.
"""

from __future__ import annotations

import hashlib
import os
import random
import stat
from dataclasses import dataclass, field
from pathlib import Path

# What a disk writes whole; of several of them any may be lacking.
SECTOR = 512


class File:
    def __init__(self, synced: int = 0) -> None:
        # So many of its bytes survive.
        self.synced = synced
        # What a truncation cut off that was not synced: where, and the bytes.
        self.cut: tuple[int, bytes] | None = None
        # A second name of the file outside the directory, for when it has none in it any more.
        self.kept: Path | None = None


class Directory:
    def __init__(self) -> None:
        self.entries: dict[str, Node] = {}
        # As it was found at the beginning.
        self.found: dict[str, Node] = {}


Node = File | Directory


@dataclass
class Change:
    """A name that comes or goes, or both."""

    node: Node
    to: tuple[Directory, str] | None
    of: tuple[Directory, str] | None
    is_durable: bool = False

    def directory(self) -> Directory:
        """Whose fsync makes it durable."""
        return (self.to or self.of)[0]  # type: ignore[index]


class Disk:
    def __init__(self, root: Path, keep_in: Path) -> None:
        self.root = root
        self.keep_in = keep_in
        keep_in.mkdir(exist_ok=True)
        self.changes: list[Change] = []
        self.syncs = 0
        self._files: dict[tuple[int, int], File] = {}
        # The directory that the data directory is in; what is beside that is not looked at.
        self.top = Directory()
        self.top_path = root.parent
        if root.exists():
            self.top.entries[root.name] = self.top.found[root.name] = self._scan(root)

    def _scan(self, path: Path) -> Node:
        told = path.lstat()
        if not stat.S_ISDIR(told.st_mode):
            return self._files.setdefault((told.st_dev, told.st_ino), File(told.st_size))
        directory = Directory()
        for child in path.iterdir():
            directory.entries[child.name] = self._scan(child)
        directory.found = dict(directory.entries)
        return directory

    # What is asked for. Each says whether it changes anything.

    def place(self, path: str) -> tuple[Directory, str] | None:
        """The directory of a path and the name in it, if it is in the data directory."""
        try:
            steps = Path(path).relative_to(self.top_path).parts
        except ValueError:
            return None
        if not steps or steps[0] != self.root.name:
            return None
        directory = self.top
        for step in steps[:-1]:
            child = directory.entries.get(step)
            if not isinstance(child, Directory):
                return None
            directory = child
        return directory, steps[-1]

    def knows(self, path: str) -> bool:
        """Whether that is a file or directory of this disk."""
        return path == str(self.top_path) or self.node(path) is not None

    def node(self, path: str) -> Node | None:
        place = self.place(path)
        return place[0].entries.get(place[1]) if place else None

    def made(self, path: str, node: Node) -> bool:
        place = self.place(path)
        if place is None or place[1] in place[0].entries:
            return False
        place[0].entries[place[1]] = node
        self.changes.append(Change(node, place, None))
        return True

    def linked(self, old: str, new: str) -> bool:
        node = self.node(old)
        return node is not None and self.made(new, node)

    def removed(self, path: str) -> bool:
        place = self.place(path)
        node = place[0].entries.get(place[1]) if place else None
        if place is None or node is None or (isinstance(node, Directory) and node.entries):
            return False
        self._keep(node, path)
        del place[0].entries[place[1]]
        self.changes.append(Change(node, None, place))
        return True

    def renamed(self, old: str, new: str) -> bool:
        of, to = self.place(old), self.place(new)
        node = of[0].entries.get(of[1]) if of else None
        if of is None or to is None or node is None:
            return False
        replaced = to[0].entries.get(to[1])
        if replaced is not None:
            self._keep(replaced, new)
        del of[0].entries[of[1]]
        to[0].entries[to[1]] = node
        self.changes.append(Change(node, to, of))
        return True

    def truncated(self, path: str, length: int, opened: str) -> bool:
        node = self.node(path)
        if not isinstance(node, File):
            return False
        with open(opened if opened else path, "rb") as file:
            file.seek(length)
            rest = file.read()
        if rest and node.cut is None:
            node.cut = (length, rest)
        node.synced = min(node.synced, length)
        return True

    def synced(self, path: str, opened: str) -> bool:
        node = self.node(path) if path != str(self.top_path) else self.top
        if isinstance(node, File):
            node.synced, node.cut = os.stat(opened).st_size, None
        elif isinstance(node, Directory):
            for change in self.changes:
                if change.directory() is node:
                    change.is_durable = True
        else:
            return False
        self.syncs += 1
        return True

    def reconcile(self) -> None:
        """After the death of a process: what it had asked for and did not get has not happened."""
        asked = {id(change): change for change in self.changes}

        def look(directory: Directory, path: Path) -> None:
            there = set(os.listdir(path)) if path.is_dir() else set()
            for name in set(directory.entries) - there:
                node = directory.entries.pop(name)
                for key, change in list(asked.items()):
                    if change.node is node and change.to is not None and change.to == (directory, name):
                        del asked[key]
                        if change.of is not None:
                            change.of[0].entries[change.of[1]] = node
            for name, node in list(directory.entries.items()):
                if isinstance(node, Directory):
                    look(node, path / name)

        root = self.top.entries.get(self.root.name)
        if isinstance(root, Directory):
            look(root, self.root)
        self.changes = list(asked.values())

    def _keep(self, node: Node, path: str) -> None:
        if isinstance(node, File) and node.kept is None:
            node.kept = self.keep_in / f"{len(os.listdir(self.keep_in))}"
            os.link(path, node.kept)

    # What may be found after a power cut.

    def pending(self) -> list[Change]:
        return [change for change in self.changes if not change.is_durable]

    def tree(self, kept: set[int]) -> dict[int, dict[str, Node]]:
        """The entries of every directory, by its id, if of the changes that are not durable those with
        these places in `changes` happened."""
        entries: dict[int, dict[str, Node]] = {}

        def of(directory: Directory) -> dict[str, Node]:
            return entries.setdefault(id(directory), dict(directory.found))

        for place, change in enumerate(self.changes):
            if not change.is_durable and place not in kept:
                continue
            if change.of is not None and of(change.of[0]).get(change.of[1]) is change.node:
                del of(change.of[0])[change.of[1]]
            if change.to is not None:
                of(change.to[0])[change.to[1]] = change.node
        of(self.top)
        return entries

    def contents(self) -> dict[int, bytes]:
        """What every file holds now, by its id: to be taken when nobody writes any more."""
        held: dict[int, bytes] = {}
        paths: dict[int, Path] = {}

        def look(node: Node, path: Path) -> None:
            if isinstance(node, Directory):
                paths[id(node)] = path
                for name, child in node.entries.items():
                    look(child, path / name)
            elif id(node) not in held and path.exists():
                held[id(node)] = path.read_bytes()

        look(self.top, self.top_path)
        for change in self.changes:
            if not isinstance(change.node, File):
                continue
            if change.node.kept is not None:
                held.setdefault(id(change.node), change.node.kept.read_bytes())
            if change.of is not None and id(change.of[0]) in paths:
                # The process was gone before the last rename was made: its bytes have the old name.
                old = paths[id(change.of[0])] / change.of[1]
                if id(change.node) not in held and old.exists():
                    held[id(change.node)] = old.read_bytes()
        return held


@dataclass
class State:
    """A way in which the disk may be found."""

    how: str
    kept: set[int]
    # What becomes of bytes that were not synced.
    rest: str
    seed: int
    digest: str = field(default="")


def rest_of(file: File, held: bytes, rest: str, chance: random.Random) -> bytes:
    """What a file holds after the cut."""
    if file.cut is not None and rest != "all" and chance.random() < 0.5:
        # The truncation did not happen.
        return held[: file.cut[0]] + file.cut[1]
    safe, lost = held[: file.synced], held[file.synced :]
    if not lost or rest == "all":
        return held
    if rest == "any":
        rest = chance.choice(["none", "all", "zeros", "some", "sectors", "not the first"])
    if rest == "none":
        return safe
    if rest == "zeros":
        return safe + bytes(len(lost))
    if rest == "some":
        return safe + lost[: chance.randrange(len(lost) + 1)]
    # Sectors reach the disk in any order.
    whole = bytearray(held)
    starts = range(file.synced - file.synced % SECTOR, len(held), SECTOR)
    for start in starts:
        lacks = chance.random() < 0.5 if rest == "sectors" else (start == starts[0]) == (rest == "not the first")
        if lacks:
            first, end = max(start, file.synced), min(start + SECTOR, len(held))
            whole[first:end] = bytes(end - first)
    return bytes(whole)


class Cut:
    """A disk at the moment of a power cut."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.held = disk.contents()
        self.pending = [n for n, change in enumerate(disk.changes) if not change.is_durable]

    def states(self, chance: random.Random, by_chance: int) -> list[State]:
        """The worst, the best, those of an ordered disk, and some by chance; each once."""
        everything = set(self.pending)
        states = [
            State("nothing that was not synced", set(), "none", 0),
            State("all names, no bytes", everything, "none", 0),
            State("all names, zeros for bytes", everything, "zeros", 0),
            State("all names, some sectors", everything, "sectors", chance.getrandbits(32)),
            State("all names, the first sector lacks", everything, "not the first", 0),
            State("all names, only the first sector", everything, "only the first", 0),
            State("all bytes, no names", set(), "all", 0),
        ]
        for _ in range(by_chance):
            seed = chance.getrandbits(32)
            if chance.random() < 0.5:
                count = chance.randrange(len(self.pending) + 1)
                states.append(State(f"the first {count} names", set(self.pending[:count]), "any", seed))
            else:
                some = {n for n in self.pending if chance.random() < 0.5}
                states.append(State(f"{len(some)} names by chance", some, "any", seed))
        found: dict[str, State] = {}
        for state in states:
            state.digest = self._digest(state)
            found.setdefault(state.digest, state)
        return list(found.values())

    def _walk(self, state: State):
        """Every path of a state with its directory (`None`) or file and content."""
        entries = self.disk.tree(state.kept)
        chance = random.Random(state.seed)
        told: dict[int, bytes] = {}

        def look(directory: Directory, at: Path):
            for name, node in sorted(entries.get(id(directory), directory.found).items()):
                if isinstance(node, Directory):
                    yield at / name, None, b""
                    yield from look(node, at / name)
                else:
                    if id(node) not in told:
                        held = self.held.get(id(node), b"")
                        told[id(node)] = rest_of(node, held, state.rest, chance)
                    yield at / name, node, told[id(node)]

        yield from look(self.disk.top, Path())

    def _digest(self, state: State) -> str:
        whole = hashlib.blake2b(digest_size=8)
        for path, node, content in self._walk(state):
            whole.update(f"{path}\0{node is None}\0".encode() + hashlib.blake2b(content).digest())
        return whole.hexdigest()

    def build(self, state: State, home: Path) -> None:
        """Makes the state beneath `home`."""
        names: dict[int, Path] = {}
        for path, node, content in self._walk(state):
            target = home / path
            if node is None:
                target.mkdir()
            elif id(node) in names:
                os.link(names[id(node)], target)
            else:
                target.write_bytes(content)
                names[id(node)] = target
