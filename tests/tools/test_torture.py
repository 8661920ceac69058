"""What finds a planted bug, and what a hostile name must be answered with."""

from __future__ import annotations

import sys
import unittest
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests/torture"))

import bugs  # noqa: E402
import doctored  # noqa: E402
import endings  # noqa: E402
from client import Unanswered  # noqa: E402


class Bugs(unittest.TestCase):
    def test_a_missed_deadline_finds_none(self) -> None:
        for planted in bugs.BUGS:
            self.assertFalse(planted.rules & {"R6", "R9"}, planted.name)
            self.assertTrue(planted.rules, planted.name)

    def test_every_rule_is_shown_to_fail(self) -> None:
        shown = {name.split()[0] for name in doctored.DAMAGES} | set().union(*(planted.rules for planted in bugs.BUGS))
        self.assertLessEqual({*(f"R{n}" for n in range(1, 11)), "I9", "N8", "V2"}, shown)


class Names(unittest.TestCase):
    def held(self, answer: Any) -> bool:
        run: Any = SimpleNamespace(server=SimpleNamespace(address=("127.0.0.1", 1)), writer=mock.Mock())
        with mock.patch.object(endings, "Connection") as connection:
            connection.return_value.ask.side_effect = [answer]
            endings.probe(run, "GET", "/v1/datasets/..", None)
        return bool(run.writer.add.call_args.kwargs["held"])

    def test_a_hostile_name_is_answered(self) -> None:
        self.assertTrue(self.held(SimpleNamespace(status=400)))
        self.assertFalse(self.held(SimpleNamespace(status=201)))
        self.assertFalse(self.held(Unanswered("hung up")))


if __name__ == "__main__":
    unittest.main()
