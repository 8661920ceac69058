"""DataFrames become versions: `run` says what for, and installs what this needs.

Spark runs as `local-cluster`: two executors, each a process of its own that can be killed, one
task at a time in each.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable

os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
os.environ["PYSPARK_PYTHON"] = sys.executable
# An executor's processes must read the same time zone as the driver, and a test must not be
# right only where that is UTC.
os.environ["TZ"] = "America/New_York"
time.tzset()

from pyspark.sql import DataFrame, SparkSession  # noqa: E402
from pyspark.sql import functions as F  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
import faults  # noqa: E402
import ways  # noqa: E402
from server import Server  # noqa: E402
from tidetable.spark import publish_partitions, register  # noqa: E402
from types_frame import all_types  # noqa: E402

TASKS, COURSES = 8, 5


def spark_session(home: Path) -> SparkSession:
    # Executors import what this process imports.
    path = os.pathsep.join([str(Path(__file__).parent), os.environ["PYTHONPATH"]])
    spark = (
        SparkSession.builder.master("local-cluster[2,1,512]")
        .appName("tidetable")
        .config("spark.driver.memory", "512m")
        .config("spark.executor.memory", "512m")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.local.dir", str(home / "spark"))
        .config("spark.sql.warehouse.dir", str(home / "warehouse"))
        .config("spark.executorEnv.PYTHONPATH", path)
        .config("spark.executorEnv.TZ", os.environ["TZ"])
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.task.maxFailures", "4")
        # A task that lags behind half of the others is tried a second time beside the first.
        .config("spark.speculation", "true")
        .config("spark.speculation.quantile", "0.5")
        .config("spark.speculation.multiplier", "3")
        .config("spark.speculation.efficiency.enabled", "false")
        .config("spark.sql.session.timeZone", os.environ["TZ"])
        # One row in thousands is lost or doubled only in a batch that is not the only one.
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", "5000")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    register(spark)
    for source in (faults.KilledSource, faults.FailingSource, faults.LaggingSource):
        spark.dataSource.register(source)
    return spark


def recommendations(spark: SparkSession, rows: int) -> DataFrame:
    """Each learner's rows lie in all tasks: row i is of learner i % (rows / 5)."""
    learners = rows // COURSES
    ids = spark.range(0, rows, 1, TASKS)
    return ids.select(
        (F.col("id") % learners).alias("learner_id"),
        F.floor(F.col("id") / learners).cast("int").alias("course_id"),
        F.col("id").alias("row"),
        ((F.col("id") * 7919 % 10007) / 100).cast("decimal(7,2)").alias("score"),
        F.concat(F.lit("weil Kurs № "), (F.col("id") % 97).cast("string")).alias("why"),
    )


def write(df: DataFrame, server: Server, dataset: str, source: str = "tidetable", **options: Any) -> None:
    writer = df.write.format(source).mode("append").option("server", server.url)
    for name, value in options.items():
        writer = writer.option(name, value)
    writer.save(dataset)


def a_million_rows_of_which_each_is_served_once(spark: SparkSession, server: Server, home: Path, rows: int) -> str:
    marks = home / "marks-killed"
    marks.mkdir()
    started = time.monotonic()
    options = {"key": "learner_id", "collect": "true", "order_by": "course_id", "run_id": "night-1"}
    write(recommendations(spark, rows), server, "recs", "killed", marks=marks, address=server.address, **options)
    took = time.monotonic() - started

    found = sorted(mark.name for mark in marks.iterdir())
    assert len(found) == 2 and found[1] == "half a part", f"not both tasks were killed: {found}"
    orphan = found[0].partition(" ")[2]
    [version] = server.versions("recs")
    assert version["state"] == "active" and version["label"] == "night-1", version
    parts = server.parts("recs", version["version"])
    tries = [(name[:7], name.split(".")[1]) for name in parts]
    assert [p for p, _ in tries] == [f"p{n:06d}" for n in range(TASKS)], parts
    again = dict(tries)
    assert again["p000002"] != "try0" and again["p000005"] != "try0", parts
    assert orphan.startswith("p000005.try0") and orphan not in parts, (orphan, parts)

    assert version["duplicates_dropped"] == 0, version
    assert count_served(server, "recs", rows) == rows
    return f"{rows} rows in {TASKS} tasks, 2 of them killed, in {took:.1f} s: each is served once"


def count_served(server: Server, dataset: str, rows: int) -> int:
    """How many rows are served; each is looked at, and may be there once."""
    learners, seen = rows // COURSES, set()
    for key, value in server.scan(dataset):
        assert key not in seen, f"{key} is there twice"
        seen.add(key)
        learner = int(key)
        numbers = [learner + course * learners for course in range(COURSES)]
        expected = [
            {"learner_id": learner, "course_id": course, "row": row,
             "score": row * 7919 % 10007 / 100, "why": f"weil Kurs № {row % 97}"}
            for course, row in enumerate(numbers)
        ]
        assert value == expected, f"{key}: {value}, not {expected}"
    assert len(seen) == learners, f"{len(seen)} learners, not {learners}"
    return len(seen) * COURSES


def a_run_that_runs_again_makes_no_second_version(spark: SparkSession, server: Server, home: Path, rows: int) -> str:
    for _ in range(2):
        write(recommendations(spark, 8000), server, "again", key="row", run_id="night-1")
    [version] = server.versions("again")
    assert version["state"] == "active" and version["records"] == 8000, version
    small = recommendations(spark, 1000)
    for _ in range(2):
        version = publish_partitions(small, "small", key="learner_id,course_id", server=server.url, run_id="night-1")
        assert version.records == 1000, version
    assert len(server.versions("small")) == 1
    return "the same run again: no second version"


def an_attempt_that_speculation_doubles_is_served_once(spark: SparkSession, server: Server, home: Path, _: int) -> str:
    marks = home / "marks-lagging"
    marks.mkdir()
    write(recommendations(spark, 8000), server, "lagging", "lagging", marks=marks, key="row", run_id="r")
    sent = {mark.name: mark.read_text() for mark in marks.iterdir()}
    assert set(sent) == {"sent 0", "sent 1"} and sent["sent 0"] != sent["sent 1"], sent
    [version] = server.versions("lagging")
    assert version["records"] == 8000 and version["duplicates_dropped"] == 0, version
    parts = server.parts("lagging", version["version"])
    assert len(parts) == TASKS and len(set(parts) & set(sent.values())) == 1, (parts, sent)
    return "a task that speculation ran twice: its rows are served once"


def a_job_that_fails_leaves_nothing_and_may_run_again(spark: SparkSession, server: Server, home: Path, _: int) -> str:
    df = recommendations(spark, 8000)
    said = refused(lambda: write(df, server, "fallible", "failing", key="row", run_id="night-2"))
    assert "this task always fails" in said, said
    assert [v["state"] for v in server.versions("fallible") if v["state"] not in ("deleted", "failed")] == []
    write(df, server, "fallible", key="row", run_id="night-2")
    good = [v for v in server.versions("fallible") if v["state"] == "active"]
    assert len(good) == 1 and good[0]["records"] == 8000, good
    return "a job that fails: nothing is left, and its run may run again"


def a_gate_that_refuses_fails_the_job_and_keeps_the_version(spark: SparkSession, server: Server, home: Path, _: int) -> str:
    write(recommendations(spark, 8000), server, "gated", key="row", run_id="1")
    said = refused(lambda: write(recommendations(spark, 1000), server, "gated", key="row", run_id="2"))
    assert "max_shrink_percent" in said, said
    assert [v["state"] for v in server.versions("gated")] == ["active", "rejected"]
    return "a gate that refuses: the job fails and says why, what served serves on"


def what_cannot_be_pushed_is_refused_before_a_task_runs(spark: SparkSession, server: Server, home: Path, _: int) -> str:
    df = recommendations(spark, 10)
    cases: list[tuple[str, Callable[[], Any]]] = [
        ("there is no option 'colect'", lambda: write(df, server, "none", key="row", colect="true")),
        ("the option 'key' is missing", lambda: write(df, server, "none")),
        ("the key 'learner' is no column", lambda: write(df, server, "none", key="learner")),
        ("has no JSON", lambda: write(
            df.withColumn("lasting", F.expr("interval 3 days")), server, "none", key="row")),
        ("has no rows", lambda: write(df.where("row < 0"), server, "none", key="row")),
        ("invalid_name", lambda: write(df, server, "No Name", key="row")),
    ]
    for expected, push in cases:
        said = refused(push)
        assert expected in said, f"{expected!r} is not in {said[-2000:]}"
    assert [v for v in server.versions("none") if v["state"] not in ("deleted", "failed")] == []
    return f"{len(cases)} pushes that cannot be are refused, by name"


def refused(push: Callable[[], Any]) -> str:
    try:
        push()
    except Exception as error:
        return str(error)
    raise AssertionError("it was to be refused")


def every_type_is_what_it_is_in_parquet(spark: SparkSession, server: Server, home: Path, _: int) -> str:
    df = all_types(spark).coalesce(1)
    parquet = home / "types"
    df.write.parquet(str(parquet))
    server.push("types", parquet, "--key", "id", "--nan", "null", "--format", "parquet", "--no-activate")
    common = {"key": "id", "nan": "null"}
    publish = {"server": server.url, **common}
    pushes: dict[str, Callable[[str], Any]] = {
        "file": lambda name: server.push(name, parquet, "--key", "id", "--nan", "null", "--format", "parquet"),
        "source": lambda name: write(df, server, name, **common),
        "source-ndjson": lambda name: write(df, server, name, format="ndjson", **common),
        "partitions": lambda name: publish_partitions(df, name, **publish),
        "partitions-ndjson": lambda name: publish_partitions(df, name, format="ndjson", **publish),
    }
    for name, push in pushes.items():
        push(f"types-{name}")
    versions = {name: server.versions(f"types-{name}")[-1] for name in pushes}
    for name, version in versions.items():
        if version["content_digest"] != versions["file"]["content_digest"]:
            raise AssertionError(f"{name} gives other JSON than the file: {differing(server, f'types-{name}')}")
    return f"{len(df.columns)} columns of all types, {versions['file']['records']} rows: one content digest in five ways"


def differing(server: Server, other: str) -> str:
    """The first records that are another text than those of the file."""
    pairs = zip(server.scan("types-file"), server.scan(other))
    texts = [f"{one}\n{another}" for one, another in pairs if json.dumps(one) != json.dumps(another)]
    return "\n".join(texts[:3])


def the_same_file_is_one_digest_on_every_way(spark: SparkSession, server: Server, home: Path, _: int) -> str:
    with ways.store(home) as s3:
        pushes = ways.ways_of(spark, server, home, s3)
        for name, push in pushes.items():
            push(name)
    digests = {name: server.versions(name)[-1]["content_digest"] for name in pushes}
    assert len(set(digests.values())) == 1, digests
    served = [dict(server.scan(name)) for name in pushes]
    # JSON has one notation for what Python's `==` takes for equal: the texts are compared.
    expected = {str(row["learner_id"]): json.dumps(row) for row in ways.rows()}
    for name, records in zip(pushes, served):
        assert {key: json.dumps(value) for key, value in records.items()} == expected, f"{name} gives other answers"
    return f"{len(expected)} rows on {len(pushes)} ways, {', '.join(pushes)}: one content digest, the same answers"


CHECKS = [
    a_million_rows_of_which_each_is_served_once,
    a_run_that_runs_again_makes_no_second_version,
    an_attempt_that_speculation_doubles_is_served_once,
    a_job_that_fails_leaves_nothing_and_may_run_again,
    a_gate_that_refuses_fails_the_job_and_keeps_the_version,
    what_cannot_be_pushed_is_refused_before_a_task_runs,
    every_type_is_what_it_is_in_parquet,
    the_same_file_is_one_digest_on_every_way,
]


def main() -> None:
    parser = argparse.ArgumentParser(description="DataFrames become versions of a real server, in a real Spark.")
    parser.add_argument("binary")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the large job (1,000,000)")
    parser.add_argument("--only", default="", help="checks whose name contains this, or one of these: a,b")
    given = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="tidetable-spark-"))
    server = Server(given.binary, home)
    spark = spark_session(home)
    passed = failed = 0
    try:
        for check in CHECKS:
            if not any(name in check.__name__ for name in given.only.split(",")):
                continue
            started = time.monotonic()
            try:
                told = check(spark, server, home, given.rows)
                print(f"ok      {told} ({time.monotonic() - started:.1f} s)", flush=True)
                passed += 1
            except Exception as error:
                print(f"FAILED  {check.__name__}: {type(error).__name__}: {error}", flush=True)
                failed += 1
    finally:
        spark.stop()
        server.stop()
        shutil.rmtree(home, ignore_errors=True)
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
