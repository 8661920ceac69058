"""Instructions that nothing is there to compare with pass at a desk, and not in CI."""

from __future__ import annotations

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Counts 500 instructions of whatever it runs, in one lookup.
VALGRIND = '''#!/bin/sh
for argument; do case $argument in --callgrind-out-file=*) echo "totals: 500" > "${argument#*=}" ;; esac; done
echo 1
'''


class CountInstructions(unittest.TestCase):
    def ended(self, kept: str, ci: str) -> int:
        with tempfile.TemporaryDirectory() as home:
            programs = {"scripts/count-instructions": (ROOT / "scripts/count-instructions").read_text(), "bin/valgrind": VALGRIND, "bin/helper": "#!/bin/sh\n"}
            for name, text in programs.items():
                place = Path(home, name)
                place.parent.mkdir(exist_ok=True)
                place.write_text(text)
                place.chmod(0o755)
            Path(home, "benches").mkdir()
            Path(home, "benches/instructions.txt").write_text(kept)
            environment = os.environ | {"PATH": f"{home}/bin:{os.environ['PATH']}", "CI": ci}
            done = subprocess.run([f"{home}/scripts/count-instructions", f"{home}/bin/helper"], env=environment, capture_output=True, check=False)
            return done.returncode

    def test_every_kind_has_a_figure(self) -> None:
        whole = "hit 500\nmiss 500\nhit_beside_erased 500\n"
        self.assertEqual(self.ended(whole, "true"), 0)
        self.assertEqual(self.ended(whole.replace("miss 500\n", ""), "true"), 1)
        self.assertEqual(self.ended(whole.replace("miss 500\n", ""), ""), 0)
        self.assertEqual(self.ended(whole.replace("miss 500", "miss 400"), ""), 1)


if __name__ == "__main__":
    unittest.main()
