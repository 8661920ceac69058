"""One file on five ways to a server: from disk, out of S3, by the Python client, by Spark, and built into a snapshot elsewhere.

The rows are written down here, twice: as lines of JSON and as Parquet. All ten versions must have one
content digest and give the same answers.
"""

from __future__ import annotations

import http.client
import json
import sys
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable

import pyarrow as pa
import pyarrow.parquet
from pyspark.sql import SparkSession
from tidetable import Client

from server import Server

sys.path.append(str(Path(__file__).parent.parent / "sources"))
import servers as stores  # noqa: E402

BUCKET = "lake"
ROWS = 5000
SCHEMA = "learner_id bigint, course string, grade double, passed boolean, tags array<string>, `last` struct<unit: bigint, share: double>"


def rows() -> list[dict[str, Any]]:
    """Numbers that have more than one notation, texts that have more than one writing, nulls and nothing."""
    return [
        {
            "learner_id": at,
            "course": None if at % 11 == 0 else f"Kurs № {at % 97} \"{chr(0x1F30A)}\" \\ é",
            "grade": [at / 7, 1e-5, 1.5e-7, 1e16, -0.0, 100.0, None][at % 7],
            "passed": at % 3 == 0,
            "tags": ["a/b", "\t"][: at % 3],
            "last": None if at % 5 == 0 else {"unit": 2**53 + at, "share": at / 1024},
        }
        for at in range(ROWS)
    ]


def as_lines(at: Path) -> Path:
    # As the server and the clients write them: another text would be another value.
    texts = {"1e-05": "0.00001", "1.5e-07": "1.5e-7"}
    lines = [json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows()]
    for theirs, ours in texts.items():
        lines = [line.replace(f'"grade":{theirs},', f'"grade":{ours},') for line in lines]
    at.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return at


def as_parquet(at: Path) -> Path:
    last = pa.struct([("unit", pa.int64()), ("share", pa.float64())])
    schema = pa.schema([
        ("learner_id", pa.int64()), ("course", pa.string()), ("grade", pa.float64()),
        ("passed", pa.bool_()), ("tags", pa.list_(pa.string())), ("last", last),
    ])
    pa.parquet.write_table(pa.Table.from_pylist(rows(), schema), at)
    return at


@contextmanager
def store(home: Path) -> Iterator[str]:
    """The address of an S3 that nobody here wrote."""
    process, url = stores.moto(Path(sys.executable).parent, home)
    try:
        yield url
    finally:
        process.kill()


def ways_of(spark: SparkSession, server: Server, home: Path, s3: str) -> dict[str, Callable[[str], None]]:
    """What pushes the rows into a dataset, each by its name."""
    lines, parquet = as_lines(home / "grades.ndjson"), as_parquet(home / "grades.parquet")
    for file in (lines, parquet):
        put(s3, file)
    env = server.env | {"AWS_ENDPOINT_URL": s3, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1",
                        "AWS_ACCESS_KEY_ID": stores.KEY_ID, "AWS_SECRET_ACCESS_KEY": stores.SECRET}

    def from_s3(dataset: str, file: Path) -> None:
        server.push(dataset, f"s3://{BUCKET}/{file.name}", "--key", "learner_id", env=env)

    def by_python(dataset: str, data: Any) -> None:
        with Client(server.url) as client:
            client.publish(data, dataset, key="learner_id")

    def by_spark(dataset: str, frame: Any) -> None:
        frame.write.format("tidetable").mode("append").options(server=server.url, key="learner_id").save(dataset)

    def as_snapshot(dataset: str, file: Path) -> None:
        built = home / f"built-{file.suffix[1:]}"
        server.run("build", dataset, file, "--key", "learner_id", "--out", built)
        server.push(dataset, built)

    ways: dict[str, Callable[[str], None]] = {}
    for file in (lines, parquet):
        kind = file.suffix[1:]
        ways[f"{kind}-disk"] = lambda dataset, file=file: server.push(dataset, file, "--key", "learner_id")
        ways[f"{kind}-s3"] = lambda dataset, file=file: from_s3(dataset, file)
        ways[f"{kind}-snapshot"] = lambda dataset, file=file: as_snapshot(dataset, file)
    ways["ndjson-python"] = lambda dataset: by_python(dataset, map(json.loads, lines.open(encoding="utf-8")))
    ways["parquet-python"] = lambda dataset: by_python(dataset, pa.parquet.read_table(parquet))
    ways["ndjson-spark"] = lambda dataset: by_spark(dataset, spark.read.schema(SCHEMA).json(str(lines)))
    ways["parquet-spark"] = lambda dataset: by_spark(dataset, spark.read.parquet(str(parquet)))
    return ways


def put(store: str, file: Path) -> None:
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(store).netloc, timeout=60)
    for path, body in ((f"/{BUCKET}", b""), (f"/{BUCKET}/{file.name}", file.read_bytes())):
        connection.request("PUT", path, body)
        answer = connection.getresponse()
        answer.read()
        # The bucket may be there already.
        assert answer.status in (200, 409), f"PUT {path} to the store: {answer.status}"
