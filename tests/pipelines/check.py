"""Runs what docs/pipelines.md says, on made-up extracts, against a real server."""

from __future__ import annotations

import gzip
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PAGE = HERE.parents[1] / "docs" / "pipelines.md"
sys.path.insert(0, str(HERE.parent / "hostile"))
import parquet  # noqa: E402

# Cells with everything that UNLOAD has to escape, and what has to come out.
ROWS: list[tuple[int, str, str, str | None, bool]] = [
    (42, "databases", "0.93", "finished\talgorithms", True),
    (7, "statistics", "0.88", "a | b \\ c", False),
    (42, "networks", "0.71", "two\nlines", True),
    (9, "poetry", "1.50", None, False),
]


class Server:
    """The binary under test, serving a directory of its own."""

    def __init__(self, binary: str, home: Path) -> None:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("TIDETABLE_")}
        with open(home / "server.log", "wb") as log:
            self.process = subprocess.Popen(
                [binary, "serve", "--data", home / "data", "--listen", "127.0.0.1:0"],
                stdout=subprocess.PIPE, stderr=log, env=clean, text=True,
            )
        line = self.process.stdout.readline().strip()
        assert " listening on http://" in line, f"{line!r}\n{(home / 'server.log').read_text()}"
        self.url = line.rpartition(" listening on ")[2]

    def ask(self, path: str, method: str = "GET") -> Any:
        request = urllib.request.Request(self.url + path, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def versions(self, dataset: str) -> list[dict[str, Any]]:
        try:
            return self.ask(f"/v1/datasets/{dataset}/versions")["versions"][::-1]
        except urllib.error.HTTPError as error:
            assert error.code == 404
            return []

    def stop(self) -> None:
        self.process.terminate()
        assert self.process.wait(timeout=60) == 0, "the server stops cleanly"


def commands() -> dict[str, str]:
    """The commands of the page, by name. That of dataduct stands in its YAML."""
    page = PAGE.read_text()
    found = dict(re.findall(r"^```sh test=(\S+)\n(.*?)^```", page, re.M | re.S))
    step = re.search(r"^    command: >-\n((?:        .*\n)+)    no_output: true", page, re.M)
    assert step, "the page has a transform step"
    # A folded YAML text: its lines are joined by spaces. The expression is AWS's to fill in.
    found["dataduct"], filled = re.subn(r"#\{[^}]*\}", "$RUN_ID", " ".join(step[1].split()))
    assert filled == 1, "the step names its run by the scheduled start"
    return found


def unload(directory: Path, delimiter: str, rows: list[Any], pack: bool) -> None:
    """Two files as UNLOAD writes them with ESCAPE, and a manifest, which is no data."""
    directory.mkdir(parents=True)
    escaped = re.compile(f"[\\\\\n\r{re.escape(delimiter)}]")
    for part in range(2):
        text = ""
        for learner, course, score, why, active in rows[part::2]:
            cells = [str(learner), course, score, why or "", "t" if active else "f"]
            text += delimiter.join(escaped.sub(lambda found: "\\" + found[0], c) for c in cells) + "\n"
        data = text.encode()
        name = f"{part:04d}_part_00" + (".gz" if pack else "")
        (directory / name).write_bytes(gzip.compress(data) if pack else data)
    (directory / "manifest").write_text('{"entries": []}\n')


def dbt(directory: Path, rows: list[Any], works: bool = True) -> None:
    """A program `dbt` that leaves the model's file, or fails its tests and leaves it too."""
    file = parquet.File(len(rows))
    learners, courses, scores, _, _ = zip(*rows)
    file.column("learner_id", parquet.INT64, [parquet.page(len(rows), parquet.longs(*learners))])
    texts = parquet.texts(*(course.encode() for course in courses))
    file.column("course", parquet.BYTE_ARRAY, [parquet.page(len(rows), texts)], schema={6: (parquet.I32, 0)})
    doubles = struct.pack(f"<{len(rows)}d", *map(float, scores))
    file.column("score", parquet.DOUBLE, [parquet.page(len(rows), doubles)])
    (directory / "target").mkdir(exist_ok=True)
    (directory / "made.parquet").write_bytes(file.bytes())
    program = directory / "bin" / "dbt"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\ncp made.parquet target/course_recs.parquet\nexit {0 if works else 1}\n")
    program.chmod(0o755)


def run(server: Server, binary: str, home: Path, command: str, name: str, **variables: str) -> int:
    """One command of the page in a shell, as a scheduler would run it: its exit code."""
    (home / "bin").mkdir(exist_ok=True)
    tidetable = home / "bin" / "tidetable"
    if not tidetable.exists():
        tidetable.symlink_to(binary)
    # Each example has a dataset of its own, under the name that the page has.
    assert "course-recs" in command
    env = {"PATH": f"{home / 'bin'}:{os.environ['PATH']}", "TIDETABLE_SERVER": server.url, **variables}
    done = subprocess.run(
        ["sh", "-c", command.replace("course-recs", name)], cwd=home, env=env, capture_output=True, text=True,
    )
    print(done.stdout + done.stderr, end="", file=sys.stderr)
    return done.returncode


def expected(with_why: bool) -> dict[str, Any]:
    """What is served of ROWS."""
    values: dict[str, Any] = {}
    for learner, course, score, why, active in ROWS:
        row: dict[str, Any] = {"learner_id": learner, "course": course, "score": float(score)}
        if with_why:
            row |= {"learner_id": str(learner), "why": why, "active": active}
        values.setdefault(str(learner), []).append(row)
    for rows in values.values():
        rows.sort(key=lambda row: -row["score"])
    return values


def served(server: Server, dataset: str) -> dict[str, Any]:
    records = server.ask(f"/v1/datasets/{dataset}/scan?limit=1000")["records"]
    return {record["key"]: record["value"] for record in records}


def check_twice(server: Server, binary: str, home: Path, command: str, name: str, want: Any, **variables: str) -> None:
    for _ in range(2):
        assert run(server, binary, home, command, name, RUN_ID="night-1", **variables) == 0
        [version] = server.versions(name)
        assert version["state"] == "active", version
        assert served(server, name) == want, served(server, name)


def main() -> None:
    binary, found = sys.argv[1], commands()
    assert set(found) == {"dbt", "dataduct", "unload"}, found
    with tempfile.TemporaryDirectory(prefix="tidetable-pipelines-") as where:
        home = Path(where)
        server = Server(binary, home)
        passed = 0
        try:
            dbt(home, ROWS)
            check_twice(server, binary, home, found["dbt"], "dbt", expected(False))
            dbt(home, ROWS[:3], works=False)
            assert run(server, binary, home, found["dbt"], "dbt", RUN_ID="night-2") == 1
            assert len(server.versions("dbt")) == 1, "nothing is pushed of a model that failed its tests"
            passed += 1

            for name, delimiter, variable, pack in (
                ("dataduct", "\t", "INPUT1_STAGING_DIR", False),
                ("dataduct-gzip", "\t", "INPUT1_STAGING_DIR", True),
                ("unload", "|", "UNLOADED", False),
            ):
                command = found[name.partition("-")[0]]
                unload(home / name, delimiter, ROWS, pack)
                want = expected(True)
                check_twice(server, binary, home, command, name, want, **{variable: str(home / name)})
                # A score that is no number: refused, and what was served is served on.
                unload(home / f"{name}-bad", delimiter, [(1, "x", "much", None, True)], pack)
                bad = {variable: str(home / f"{name}-bad")}
                assert run(server, binary, home, command, name, RUN_ID="night-2", **bad) == 3
                assert served(server, name) == want
                assert run(server, binary, home, command, name, RUN_ID="night-2", **{variable: "/nowhere"}) == 4
                # Corrected, the same run may be made again.
                assert run(server, binary, home, command, name, RUN_ID="night-2", **{variable: str(home / name)}) == 0
                passed += 1
            away = dict(RUN_ID="night-3", UNLOADED=str(home / "unload"), TIDETABLE_SERVER="http://127.0.0.1:9")
            assert run(server, binary, home, found["unload"], "unload", **away) == 6
        finally:
            server.stop()
        print(f"{passed} passed, 0 failed")


if __name__ == "__main__":
    main()
