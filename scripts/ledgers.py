"""Which lines of a ledger count: what the long runs before a release (tests/torture, scripts/fuzz) have in common.

A ledger has one line of JSON for each piece of a long run, so that it may be stopped and goes on. A line says of
which commit it is. What was run for an earlier release says nothing of what has changed since, so each release
begins anew: a line counts if its commit is not contained in the release before. One that git does not know (of a
shallow clone, say) counts too: nothing shows that it is old.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# Behind the commit of a line, if files differed from it. The second one is what ledgers of before have.
DIRTY = ("-dirty", "+")


def commit(root: Path = ROOT) -> str:
    """The commit that is checked out, with `-dirty` if files differ from it."""
    head = git(root, "rev-parse", "--short", "HEAD")
    if not head:
        return "unknown"
    return head + ("-dirty" if git(root, "status", "--porcelain", "--untracked-files=no") else "")


def counting(path: Path | None, root: Path = ROOT) -> list[dict[str, Any]]:
    """The lines that count."""
    if path is None or not path.exists():
        return []
    lines = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    release = last_release(root)
    return [line for line in lines if not release or not is_contained(str(line.get("commit", "")), release, root)]


def of_head(lines: list[dict[str, Any]], root: Path = ROOT) -> list[dict[str, Any]]:
    """The lines of the commit that is checked out. What was found in it is not gone before another one mends it."""
    head = known("HEAD", root)
    return [line for line in lines if head and known(str(line.get("commit", "")), root) == head]


def end_if_any(unclean: list[dict[str, Any]], path: Path | None) -> None:
    """Ends the program with 1, and says which lines are why."""
    if not unclean:
        return
    print(f"{path} has found something in the commit that is checked out; mend it, commit, and run this again:", file=sys.stderr)
    for line in unclean:
        print(f"  {json.dumps(line)[:1500]}", file=sys.stderr)
    raise SystemExit(1)


def last_release(root: Path) -> str:
    """The tag of the newest release before this commit; empty if there was none. The tag of this commit itself is none: its
    own runs would not count."""
    return git(root, "describe", "--tags", "--abbrev=0", "--match", "v*", "HEAD^")


@lru_cache(maxsize=None)
def is_contained(name: str, release: str, root: Path) -> bool:
    full = known(name, root)
    asked = ["git", "-C", str(root), "merge-base", "--is-ancestor", full, release]
    return bool(full) and subprocess.run(asked, capture_output=True, check=False).returncode == 0


@lru_cache(maxsize=None)
def known(name: str, root: Path) -> str:
    """The whole name of a commit; empty if git does not know it."""
    for mark in DIRTY:
        name = name.removesuffix(mark)
    # A name that begins with a dash would be an option.
    return git(root, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}") if name and not name.startswith("-") else ""


def git(root: Path, *arguments: str) -> str:
    try:
        return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""
