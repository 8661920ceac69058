"""What cannot run is left out at a desk, and an error in CI."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "clients/conformance")]

import skips  # noqa: E402
from runner.adapter import Adapter, Lost, Missing  # noqa: E402


class Skips(unittest.TestCase):
    def setUp(self) -> None:
        home = tempfile.TemporaryDirectory()
        self.addCleanup(home.cleanup)
        self.home = Path(home.name)
        self.told = self.home / "told"
        self.plain = {name: value for name, value in os.environ.items() if name not in ("CI", "CI_MAY_SKIP")}
        self.plain["CI_SKIPPED"] = str(self.told)

    def test_in_shell(self) -> None:
        for shell in ("sh", "bash"):
            for more, ended in (({}, 0), ({"CI": "true"}, 1), ({"CI": "true", "CI_MAY_SKIP": "a,strace"}, 0), ({"CI": "true", "CI_MAY_SKIP": "strac"}, 1)):
                self.told.unlink(missing_ok=True)
                script = f". '{ROOT}/scripts/skips.sh'\nskip strace 'there is none'\nexit 3"
                done = subprocess.run([shell, "-euc", script], env=self.plain | more, capture_output=True, text=True, check=False)
                self.assertEqual(done.returncode, ended, (shell, more))
                self.assertIn("strace: there is none", done.stderr)
                self.assertEqual(self.told.exists(), ended == 0)

    def test_in_python(self) -> None:
        with mock.patch.dict(os.environ, self.plain, clear=True):
            self.assertEqual(skips.left_out("strace", "there is none"), "SKIPPED strace: there is none")
            with mock.patch.dict(os.environ, {"CI": "true"}), contextlib.redirect_stderr(io.StringIO()), self.assertRaises(SystemExit) as ended:
                skips.left_out("strace", "there is none")
            self.assertEqual(ended.exception.code, 1)
            with mock.patch.dict(os.environ, {"CI": "true", "CI_MAY_SKIP": "strace,a"}):
                skips.left_out("strace", "there is none")
        self.assertEqual(self.told.read_text(), "strace: there is none\n" * 2)

    def started(self, script: str) -> None:
        adapter = Adapter(["sh", "-c", script], self.home / "log")
        try:
            adapter.start()
        finally:
            adapter.stop()

    def test_a_language_without_tools_is_missing_and_one_that_does_not_build_is_lost(self) -> None:
        with self.assertRaisesRegex(Missing, "there is no javac"):
            self.started("echo there is no javac >&2; exit 77")
        with self.assertRaises(Lost):
            self.started("exit 1")

    def test_a_typescript_client_that_does_not_build_is_no_lack_of_tools(self) -> None:
        # A copy whose build fails, and programs that are there.
        script = self.home / "clients/conformance/adapters/typescript.sh"
        script.parent.mkdir(parents=True)
        script.write_text((ROOT / "clients/conformance/adapters/typescript.sh").read_text())
        build = self.home / "clients/typescript/scripts/build"
        build.parent.mkdir(parents=True)
        build.write_text("#!/bin/sh\nexit 2\n")
        programs = self.home / "bin"
        programs.mkdir()
        (programs / "node").write_text("#!/bin/sh\necho true\n")
        (programs / "npm").write_text("#!/bin/sh\n")
        for program in (build, programs / "node", programs / "npm"):
            program.chmod(0o755)
        path = {"PATH": f"{programs}:{os.environ['PATH']}"}
        done = subprocess.run(["bash", str(script)], env=os.environ | path, capture_output=True, check=False)
        self.assertNotIn(done.returncode, (0, 77))


if __name__ == "__main__":
    unittest.main()
