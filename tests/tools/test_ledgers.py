"""A line of a ledger counts from one release to the next, and what was found in a commit stays found."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
import tempfile
import unittest
from argparse import Namespace
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests/torture")]

import commands  # noqa: E402
import ledgers  # noqa: E402
from crash.ledger import Ledger  # noqa: E402


def script(name: str) -> Any:
    spec = spec_from_loader(name, SourceFileLoader(name, str(ROOT / "scripts" / name)))
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


fuzz = script("fuzz")


class Ledgers(unittest.TestCase):
    def setUp(self) -> None:
        home = tempfile.TemporaryDirectory()
        self.addCleanup(home.cleanup)
        self.root = Path(home.name, "repository")
        self.root.mkdir()
        self.ledger = Path(home.name, "ledger.jsonl")
        self.git("init", "--quiet")
        self.released, self.fresh = self.commit("released"), ""
        self.git("tag", "v1.0.0")
        # Not a release.
        self.fresh = self.commit("fresh")
        self.git("tag", "nightly")
        self.head = self.commit("head")
        # The three take the repository that they are in.
        for name in ("counting", "of_head", "commit"):
            asked = getattr(ledgers, name)
            patch = mock.patch.object(ledgers, name, lambda *given, asked=asked: asked(*given, root=self.root))
            patch.start()
            self.addCleanup(patch.stop)

    def git(self, *arguments: str) -> str:
        who = ["-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "commit.gpgsign=false", "-c", "tag.gpgsign=false"]
        return subprocess.run(["git", "-C", str(self.root), *who, *arguments], capture_output=True, text=True, check=True).stdout.strip()

    def commit(self, text: str) -> str:
        (self.root / "file").write_text(text)
        self.git("add", "file")
        self.git("commit", "--quiet", "-m", text)
        return self.git("rev-parse", "--short", "HEAD")

    def write(self, *lines: dict[str, Any]) -> None:
        self.ledger.write_text("".join(json.dumps(line) + "\n" for line in lines))

    def counted(self) -> list[str]:
        return [line["commit"] for line in ledgers.counting(self.ledger)]

    def test_what_the_last_release_contains_does_not_count(self) -> None:
        names = [self.released, f"{self.released}-dirty", f"{self.released}+", "v1.0.0", self.fresh, f"{self.fresh}-dirty", self.head, "0123456", "unknown", "--all"]
        self.write(*({"commit": name} for name in names))
        self.assertEqual(self.counted(), names[4:])

    def test_all_count_before_the_first_release(self) -> None:
        self.git("tag", "--delete", "v1.0.0")
        self.write({"commit": self.released}, {"commit": self.head})
        self.assertEqual(self.counted(), [self.released, self.head])

    def test_the_runs_of_a_release_itself_count(self) -> None:
        self.git("tag", "v1.1.0")
        self.write({"commit": self.released}, {"commit": self.fresh}, {"commit": self.head})
        self.assertEqual(self.counted(), [self.fresh, self.head])
        self.commit("the next")
        self.assertEqual(self.counted(), [])

    def test_the_commit_says_whether_files_differ(self) -> None:
        self.assertEqual(ledgers.commit(), self.head)
        (self.root / "file").write_text("changed")
        self.assertEqual(ledgers.commit(), f"{self.head}-dirty")

    def test_kills_are_those_since_the_release(self) -> None:
        line = {"binary": "tidetable", "clean": True, "kills": 100}
        self.write(line | {"commit": self.released}, line | {"commit": self.fresh}, line | {"commit": self.head, "binary": "other"})
        self.assertEqual(commands.kills_of(Namespace(ledger=self.ledger, binary=Path("tidetable"))), 100)

    def test_a_violation_ends_the_torture_until_another_commit(self) -> None:
        found = {"binary": "tidetable", "clean": False, "kills": 100, "violations": 1}
        idle = {"binary": "tidetable", "clean": False, "kills": 3, "violations": 0, "refusals": ["too little was read"]}
        self.write(found | {"commit": self.fresh}, idle | {"commit": self.head})
        commands.end_if_unclean(self.ledger)
        self.write(found | {"commit": f"{self.head}-dirty"})
        self.assertIn('"violations": 1', self.ended(lambda: commands.end_if_unclean(self.ledger)))
        self.write({"clean": False, "kills": 0, "soak": {"violations": ["grew"]}, "commit": self.head})
        self.assertIn("grew", self.ended(lambda: commands.end_if_unclean(self.ledger)))

    def test_cases_of_crash_are_sound_since_the_release(self) -> None:
        sound = {"kind": "call failing", "wrong": []}
        self.write(sound | {"case": "old", "commit": self.released}, sound | {"case": "new", "commit": self.fresh})
        ledger = Ledger(self.ledger, "seed")
        self.assertEqual((ledger.is_sound("old"), ledger.is_sound("new"), ledger.tried["call failing"]), (False, True, 1))
        self.write({"kind": "call failing", "case": "lost a key", "wrong": ["it did"], "commit": self.head})
        self.assertIn("lost a key", self.ended(lambda: Ledger(self.ledger, "seed")))

    def test_seconds_of_fuzzing_are_those_since_the_release(self) -> None:
        piece = {"target": "csv", "held": True, "seconds": 60}
        self.write(piece | {"commit": self.released}, piece | {"commit": self.fresh}, piece | {"commit": self.fresh, "held": False})
        self.assertEqual(fuzz.Ledger(self.ledger).seconds, {"csv": 60})
        self.write(piece | {"commit": self.head, "held": False})
        self.assertIn('"held": false', self.ended(lambda: fuzz.Ledger(self.ledger)))

    def ended(self, run: Any) -> str:
        with contextlib.redirect_stderr(io.StringIO()) as said, self.assertRaises(SystemExit) as ended:
            run()
        self.assertEqual(ended.exception.code, 1)
        return said.getvalue()


if __name__ == "__main__":
    unittest.main()
