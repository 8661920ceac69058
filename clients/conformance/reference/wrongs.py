"""The one way in which the reference client was told to be wrong, if any: `--wrong NAME`."""

from __future__ import annotations

import sys

NAME = sys.argv[sys.argv.index("--wrong") + 1] if "--wrong" in sys.argv else None


def wrong(name: str) -> bool:
    """Whether the client is to be wrong in this way."""
    return name == NAME
