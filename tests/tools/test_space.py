"""A read-only disk is refused by its own code alone."""

from __future__ import annotations

import sys
import unittest
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests/torture/space"))

import read_only  # noqa: E402


class ReadOnly(unittest.TestCase):
    def test_no_other_code_will_do(self) -> None:
        def reply(status: int, code: str) -> Any:
            return SimpleNamespace(status=status, code=lambda: code)

        read_only.refused_as_read_only("a push", reply(507, "disk_read_only"))
        for status, code in (503, "overloaded"), (507, "disk_full"), (500, "disk_read_only"):
            with self.assertRaises(read_only.Wrong):
                read_only.refused_as_read_only("a push", reply(status, code))


if __name__ == "__main__":
    unittest.main()
