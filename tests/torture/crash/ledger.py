"""What was tried and what came of it: one JSON line for each case, in a file that a later run goes on with."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "scripts"))

import ledgers  # noqa: E402


class Ledger:
    """Cases by name. A case that was sound since the last release is not tried again; one that went wrong in the commit
    that is checked out ends the run."""

    def __init__(self, path: Path | None, seed: str) -> None:
        self.path = path
        self.seed = seed
        self.commit = ledgers.commit()
        self.wrong: list[tuple[str, list[str]]] = []
        self.tried: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._sound: set[str] = set()
        lines = ledgers.counting(path)
        ledgers.end_if_any([entry for entry in ledgers.of_head(lines) if entry["wrong"]], path)
        for entry in lines:
            if not entry["wrong"]:
                self._sound.add(entry["case"])
                self.tried[entry["kind"]] += 1

    def is_sound(self, case: str) -> bool:
        return case in self._sound

    def enter(self, kind: str, case: str, wrong: list[str], **more: Any) -> None:
        entry = {"kind": kind, "case": case, "wrong": wrong, **more}
        entry |= {"seed": self.seed, "commit": self.commit, "at": int(time.time())}
        with self._lock:
            self.tried[kind] += 1
            if wrong:
                self.wrong.append((case, wrong))
                print(f"WRONG {kind}: {case}\n  " + "\n  ".join(w[:1500] for w in wrong), flush=True)
            if self.path is not None:
                with self.path.open("a") as file:
                    file.write(json.dumps(entry) + "\n")

    def summary(self) -> str:
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(self.tried.items()))
        return f"{counts or 'nothing tried'}; wrong: {len(self.wrong)}"
