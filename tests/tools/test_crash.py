"""Deaths at which nobody dies, and calls of which none fails, show nothing, and are told."""

from __future__ import annotations

import json
import random
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

from crash import along, calls, steps, story  # noqa: E402
from crash.book import Book  # noqa: E402
from crash.gate import LET, Call  # noqa: E402
from values import Contents  # noqa: E402


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
            server: Any = SimpleNamespace(
                start=lambda extra: None, stop=lambda code=code: code, address=("127.0.0.1", 1), home=Path("home")
            )
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

    def test_a_short_run_has_the_steps_that_are_a_scenarios_own(self) -> None:
        run = steps.Steps(Path("binary"), Path("home"), FakeLedger(), 1)  # type: ignore[arg-type]
        passed = Counter({"along.begun": 2, "start.locked": 1})
        run.passed = [passed] * len(story.SCENARIOS)
        place = story.SCENARIOS.index(story.IN_VAIN)
        for most, expected in ((1, ["along.begun"]), (None, ["along.begun", "along.begun", "start.locked"])):
            cases = list(run.cases(random.Random(1), most))
            self.assertEqual([case.step for case in cases if case.scenario == place], expected)
            self.assertIn(steps.Case(0, "start.locked", 1), cases)

    def test_a_builder_that_reads_along_dies_and_fails_nothing(self) -> None:
        failed = ("push a 2", 500, "build_died")
        for step, passed, failures, wrong in (
            ("along.looked", 1, [], []),
            ("along.looked", 1, [failed], [f"a push failed, though it can be built anew: {failed}"]),
            ("along.looked", 0, [], ["no builder died, since none came to that step"]),
            ("worker.made", 1, [failed], []),
            ("worker.made", 1, [], ["no push failed though its builder died"]),
        ):
            run = steps.Steps(Path("binary"), Path("home"), FakeLedger(), 1)  # type: ignore[arg-type]
            book = Book("seed", failed=list(failures))
            server: Any = mock.Mock(address=("127.0.0.1", 1), home=Path("home"))
            case = steps.Case(story.SCENARIOS.index(story.READ_ALONG), step, 1, alone=True)
            with (
                mock.patch.object(story.Story, "push_along"),
                mock.patch.object(steps, "steps_passed", return_value=Counter({step: passed})),
                mock.patch.object(steps, "judge", side_effect=lambda _server, book: book.wrong),
            ):
                self.assertEqual(run.builder_dies(server, book, case, f"{step}:1:alone"), wrong)
            told = server.start.call_args.kwargs["extra"]
            self.assertEqual(told["TIDETABLE_READ_ALONG_FROM"], str(along.LONG))


class Along(unittest.TestCase):
    def test_its_rows_are_those_of_the_content_and_more_than_enough(self) -> None:
        content = Contents("seed", {"a": story.UNIVERSE}).of("a", 2)
        for in_order in (False, True):
            body = along.long_rows(content, in_order)
            self.assertGreater(len(body) - len(body) // along.KEPT_BACK, along.LONG)
            rows = [json.loads(row) for row in body.splitlines()]
            keys = content.keys()
            self.assertEqual([row["k"] for row in rows], keys if in_order else keys[::-1])
            self.assertTrue(all(json.dumps(row["v"]).encode() == content.value(row["k"]) for row in rows))
        self.assertLess(len(content.rows()), along.LONG)

    def wrong(self, before: int, after: int, meanwhile: Any = None, tolerant: bool = False, is_read: bool = True) -> list[str]:
        """What a story says of a push of which so many steps and pushes were counted."""
        server: Any = SimpleNamespace(address=("127.0.0.1", 1), home=Path("home"))
        told = story.Story(server, Book("seed"), tolerant)
        told.along = before
        reply = SimpleNamespace(status=201, json=lambda: {"version": 2, "state": "active"})
        with mock.patch.object(story, "LongPush") as long, mock.patch.object(told, "read_along", return_value=after):
            long.return_value.end.return_value = reply
            long.return_value.wait_until_read.return_value = is_read
            self.assertTrue(told.push_along("a", 2, "key", meanwhile=meanwhile))
        known = told.book.of("a").push(2)
        self.assertEqual((known.state, known.key, known.version), ("done", "key", 2))
        # Who repeats it sends the same.
        self.assertGreater(len(known.body or b""), along.LONG)
        return told.book.wrong

    def test_a_push_that_nobody_read_along_is_told(self) -> None:
        self.assertEqual(self.wrong(1, 2), [])
        self.assertIn("1 were read while they arrived, not 2", self.wrong(1, 1)[0])
        self.assertIn("nobody reads it while it arrives", self.wrong(1, 2, is_read=False)[0])
        self.assertEqual(self.wrong(1, 1, tolerant=True, is_read=False), [])

    def test_what_is_done_meanwhile_ends_it(self) -> None:
        meanwhile = mock.Mock()
        self.assertEqual(self.wrong(1, 1, meanwhile), [])
        meanwhile.assert_called_once_with()
        self.assertIn("2 were read while they arrived, not 1", self.wrong(1, 2, meanwhile)[0])

    def push(self, home: str, connection: mock.Mock) -> along.LongPush:
        server: Any = SimpleNamespace(address=("127.0.0.1", 1), home=Path(home))
        with mock.patch.object(along, "Connection", return_value=connection):
            return along.LongPush(server, "/v1/datasets/a/push", [("Name", "x")], b"0123456789" * 10)

    def test_the_end_is_sent_when_a_builder_has_looked_at_the_rest(self) -> None:
        with tempfile.TemporaryDirectory() as home:
            log, connection = Path(home, "steps.log"), mock.Mock()
            connection.is_answered.return_value = False
            log.write_text("along.begun\nalong.looked\n")
            push = self.push(home, connection)
            head, _, sent = connection.send_raw.call_args.args[0].partition(b"\r\n\r\n")
            self.assertIn(b"Content-Length: 100", head)
            self.assertEqual(sent, b"0123456789" * 9)
            self.assertFalse(push.wait_until_read(0), "that was another one")
            for step in ("along.looked", "along.given_up"):
                push = self.push(home, connection)
                with log.open("a") as file:
                    file.write(f"{step}\n")
                self.assertTrue(push.wait_until_read(0))
            push.end()
            self.assertEqual(connection.send_raw.call_args.args[0], b"0123456789")

    def test_nothing_is_sent_after_the_answer(self) -> None:
        with tempfile.TemporaryDirectory() as home:
            connection = mock.Mock()
            connection.is_answered.return_value = True
            push = self.push(home, connection)
            self.assertTrue(push.wait_until_read(0))
            push.end()
            connection.send_raw.assert_called_once()


class Calls(unittest.TestCase):
    def run_of(self, counts: list[dict[str, int]]) -> Any:
        """Calls whose runs make so many calls, one after the other."""
        run = calls.Calls.__new__(calls.Calls)
        run.home, run.ledger, run.counts = Path(tempfile.gettempdir()), FakeLedger(), Counter()
        run.jobs, run.along = 1, []
        made = iter(counts)

        def play(case: calls.Case | None, _home: Path) -> tuple[Any, list[str]]:
            counted = Counter(next(made))
            reached = case is not None and counted[case.kind] >= case.n
            along = bool(counted["along.begun"])
            return SimpleNamespace(counts=counted, failed=["fsync"] if reached else [], was_read_along=along), []

        run.play = play
        return run

    def test_every_kind_of_call_is_made(self) -> None:
        all_kinds = {kind: 3 for kind in (*calls.KINDS, *calls.ALONG) if kind != "pwrite"}
        part = "write of a part read along"
        run = self.run_of([all_kinds, all_kinds | {"fsync": 0}, all_kinds | {part: 0}])
        for _ in range(3):
            run.look_ahead()
        self.assertEqual(run.ledger.entries[0][0], [])
        self.assertIn("no fsync", run.ledger.entries[1][0][0])
        self.assertIn(f"no {part}", run.ledger.entries[2][0][0])

    def test_those_of_a_push_read_along_are_counted_by_themselves(self) -> None:
        part = "write of a part read along"
        fail = calls.Fail(Path("/data"), calls.Case(part, "ENOSPC", 2, False))

        def fate(path: str) -> int:
            return fail(Call(1, "write", path, "", (0,) * 6))

        fates = [fate("/data/staging/a.4/parts/data-0")]
        fail.is_along = True
        fates += [fate(f"/data/{path}") for path in ("journal", *["staging/a.6/parts/data-1"] * 3)]
        self.assertEqual(fates, [LET, LET, LET, calls.ERRORS["ENOSPC"], LET])
        self.assertEqual(fail.counts, Counter({"write": 5, part: 3}))

    def test_a_call_fails_in_every_case(self) -> None:
        case = calls.Case("fsync", "EIO", 5, False)
        for counts, wrong in (([5], 0), ([4, 4], 0), ([4, 3, 2, 1], 1), ([0], 1)):
            run = self.run_of([{"fsync": count} for count in counts])
            run.one(case)
            self.assertEqual(len(run.ledger.entries[0][0]), wrong, counts)

    def test_a_push_is_read_along_in_one_case_at_least(self) -> None:
        part = "fsync of a part read along"
        cases = [calls.Case(part, error, 1, False) for error in ("EIO", "ENOSPC")]
        for begun, wrong in (((0, 0), 1), ((0, 1), 0), ((1, 1), 0)):
            run = self.run_of([{part: 1, "along.begun": one} for one in begun])
            run.run(cases)
            self.assertEqual(len(run.ledger.entries), 3)
            self.assertEqual(len(run.ledger.entries[-1][0]), wrong, begun)
        # Without such cases, or with some that are not tried again, there is nothing to say.
        run = self.run_of([{"fsync": 1}])
        run.run([calls.Case("fsync", "EIO", 1, False)])
        self.assertEqual(len(run.ledger.entries), 1)
        run = self.run_of([])
        with mock.patch.object(FakeLedger, "is_sound", return_value=True):
            run.run(cases)
        self.assertEqual(run.ledger.entries, [])


if __name__ == "__main__":
    unittest.main()
