"""What is done about a part of a check that cannot run here: scripts/skips.sh, in Python."""

from __future__ import annotations

import os
import sys


def left_out(name: str, why: str) -> str:
    """What is to be said of it. In CI it ends the program with 1, unless CI_MAY_SKIP has its name."""
    if os.environ.get("CI") and name not in os.environ.get("CI_MAY_SKIP", "").split(","):
        print(f"FAILED {name}: {why}. CI leaves nothing out: give it what it needs, or put {name} into CI_MAY_SKIP (.ci/run) and say why",
              file=sys.stderr, flush=True)
        raise SystemExit(1)
    # .ci/run says it again at its end.
    if place := os.environ.get("CI_SKIPPED"):
        with open(place, "a") as told:
            told.write(f"{name}: {why}\n")
    return f"SKIPPED {name}: {why}"
