"""Deaths at which nobody dies, and calls of which none fails, show nothing, and are told."""

from __future__ import annotations

import sys
import tempfile
import unittest
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/torture"))

from crash import calls, steps, story  # noqa: E402
from crash.book import Book  # noqa: E402


class FakeLedger:
    def __init__(self) -> None:
        self.seed, self.entries = "seed", []

    def is_sound(self, _case: str) -> bool:
        return False

    def enter(self, _kind: str, _case: str, wrong: list[str], **more: Any) -> None:
        self.entries.append((wrong, more))


class Steps(unittest.TestCase):
    def wrong(self, case: steps.Case, ended: bool) -> list[str]:
        ledger: Any = FakeLedger()
        run = steps.Steps(Path("binary"), Path("home"), ledger, 1)
        run.bases = [SimpleNamespace(copy=lambda _home: (mock.Mock(), Book("seed")))] * len(story.SCENARIOS)  # type: ignore[list-item]
        with mock.patch.object(steps, "play", return_value=ended), mock.patch.object(steps, "judge", return_value=[]):
            run.one(case, 0)
        return ledger.entries[0][0]

    def test_somebody_dies_at_the_first_passing(self) -> None:
        self.assertEqual(self.wrong(steps.Case(0, "seal.planned", 1), ended=False), [])
        self.assertIn("nobody died", self.wrong(steps.Case(0, "seal.planned", 1), ended=True)[0])

    def test_a_later_passing_may_not_come(self) -> None:
        self.assertEqual(self.wrong(steps.Case(0, "seal.planned", 2), ended=True), [])
        self.assertEqual(self.wrong(steps.Case(0, "seal.planned", 1, then="start.locked"), ended=True), [])

    def test_a_death_in_the_stop_is_one(self) -> None:
        for code, alive in ((0, True), (-9, False)):
            server: Any = SimpleNamespace(start=lambda extra: None, stop=lambda code=code: code, address=("127.0.0.1", 1))
            played = story.play(server, Book("seed"), story.Scenario("none", story.nothing, story.nothing), {})
            self.assertEqual(played, alive)

    def test_a_base_that_nobody_dies_for_is_none(self) -> None:
        base = story.Base.__new__(story.Base)
        base.scenario, base.binary, base.home, base.book = story.SCENARIOS[0], Path("binary"), Path("home"), Book("seed")
        with mock.patch.object(story, "Server"), mock.patch.object(story, "Story"):
            with self.assertRaisesRegex(RuntimeError, "nobody died at part.written"):
                base._kill_at("part.written", 0)
            story.Story.return_value.push.side_effect = story.CutOff("gone")
            base._kill_at("part.written", 0)


class Calls(unittest.TestCase):
    def run_of(self, counts: list[dict[str, int]]) -> Any:
        """Calls whose runs make so many calls, one after the other."""
        run = calls.Calls.__new__(calls.Calls)
        run.home, run.ledger, run.counts = Path(tempfile.gettempdir()), FakeLedger(), Counter()
        made = iter(counts)

        def play(case: calls.Case | None, _home: Path) -> tuple[Any, list[str]]:
            counted = Counter(next(made))
            reached = case is not None and counted[case.kind] >= case.n
            return SimpleNamespace(counts=counted, failed=["fsync"] if reached else []), []

        run.play = play
        return run

    def test_every_kind_of_call_is_made(self) -> None:
        all_kinds = {kind: 3 for kind in calls.KINDS if kind != "pwrite"}
        run = self.run_of([all_kinds, all_kinds | {"fsync": 0}])
        run.look_ahead()
        run.look_ahead()
        self.assertEqual(run.ledger.entries[0][0], [])
        self.assertIn("no fsync", run.ledger.entries[1][0][0])

    def test_a_call_fails_in_every_case(self) -> None:
        case = calls.Case("fsync", "EIO", 5, False)
        for counts, wrong in (([5], 0), ([4, 4], 0), ([4, 3, 2, 1], 1), ([0], 1)):
            run = self.run_of([{"fsync": count} for count in counts])
            run.one(case)
            self.assertEqual(len(run.ledger.entries[0][0]), wrong, counts)


if __name__ == "__main__":
    unittest.main()
