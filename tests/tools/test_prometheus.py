"""A rule on a metric that is not there, and a reader that fails, are seen."""

from __future__ import annotations

import threading
import unittest
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from unittest import mock

RUN = Path(__file__).resolve().parents[2] / "tests/prometheus/run"
spec = spec_from_loader("run", SourceFileLoader("run", str(RUN)))
assert spec is not None and spec.loader is not None
run = module_from_spec(spec)
spec.loader.exec_module(run)

TABLE = "| `tidetable_ready` | gauge | | x |\n| `tidetable_seconds` | histogram | `a` | x |\n"


class Rules(unittest.TestCase):
    def test_a_metric_that_is_not_there_is_named(self) -> None:
        self.assertEqual(run.unknown_metrics("tidetable_ready == 0 and rate(tidetable_seconds_bucket[5m])", TABLE), [])
        self.assertEqual(run.unknown_metrics("tidetable_reddy == 0 or tidetable_seconds > 1", TABLE), ["tidetable_reddy", "tidetable_seconds"])


class Reader(unittest.TestCase):
    def wrong(self, *answers: object) -> list[str]:
        wrong: list[str] = []
        with mock.patch.object(run, "ask", side_effect=[*answers, KeyError("no more")]):
            run.read("127.0.0.1:1", threading.Event(), wrong)
        return wrong

    def test_what_ends_a_reader_is_kept(self) -> None:
        absent = (404, {"code": "dataset_not_found"})
        self.assertIn("no more", self.wrong(absent, absent, absent)[0])
        # Keys 0 and 74 of one dataset, 37 of the other.
        self.assertIn("no more", self.wrong((200, {}), absent, (200, {}))[0])
        self.assertIn("answered 500", self.wrong((200, {}), absent, (500, {"code": "internal"}))[0])


if __name__ == "__main__":
    unittest.main()
