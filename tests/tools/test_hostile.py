"""Caps on the memory of builders hold something only if builders were seen."""

from __future__ import annotations

import sys
import unittest
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any
from unittest import mock

HOSTILE = Path(__file__).resolve().parents[2] / "tests/hostile"
sys.path.insert(0, str(HOSTILE))
spec = spec_from_loader("hostile", SourceFileLoader("hostile", str(HOSTILE / "run")))
assert spec is not None and spec.loader is not None
hostile = module_from_spec(spec)
spec.loader.exec_module(hostile)


class Memory(unittest.TestCase):
    def faults(self, *peaks: int) -> list[str]:
        """Of a format of whose cases, and then of whose mutations, builders took so much."""
        server: Any = mock.Mock()
        with mock.patch.object(hostile, "run", side_effect=[([], peak) for peak in peaks]):
            return hostile.run_all(server, "avro", "", [], [])

    def test_a_builder_is_seen(self) -> None:
        self.assertEqual(self.faults(1 << 20, 0), [])
        self.assertEqual(len(self.faults(0, 0)), 1)


if __name__ == "__main__":
    unittest.main()
