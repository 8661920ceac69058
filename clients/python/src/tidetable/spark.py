"""Spark: a DataFrame becomes a new version of a dataset.

Spark 4, as a data source::

    from tidetable.spark import register

    register(spark)
    (df.write.format("tidetable").mode("overwrite")
       .option("server", "http://tide:7070").option("key", "learner_id")
       .option("run_id", run_id).save("course-recs"))

Spark 3.3 and newer, or where the version is wanted back::

    from tidetable.spark import publish_partitions

    version = publish_partitions(df, "course-recs", key="learner_id", run_id=run_id)

The driver begins a version, every task sends one part of it, and the driver commits exactly
the parts of those attempts that Spark says succeeded. The name of a part is that of one attempt
of one task in one run, so what a task sent that was killed, tried again or run twice by
speculation is never named, and so never served. A push is whole: both modes, `append` too,
publish a new version that takes the place of the one before.

With a `run_id` a job that runs twice makes one version: the second run goes on with what the
first began, or finds it done and sends nothing.
"""

from __future__ import annotations

import logging
import os
import re
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Optional

from ._spark_parts import Part, check_schema, parquet_part, row_encoder, rows_part
from .client import Client
from .errors import InvalidArgument
from .push import PushSession
from .resources import Version

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

__all__ = ["publish_partitions"]

log = logging.getLogger("tidetable.spark")

# The row options that mean something for rows that have types already.
LISTS = ("key", "fields", "order_by")
ROW_OPTIONS = (*LISTS, "key_separator", "value", "collect", "limit", "on_duplicate", "nan")
BOOLEANS = ("collect", "activate")
OWN_OPTIONS = ("dataset", "server", "token", "ca_file", "run_id", "label", "as_of", "activate", "format")


@contextmanager
def _in_utc() -> Iterator[None]:
    """Local time is UTC meanwhile. The process of a worker has one thread, and goes on with other tasks."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "UTC"
    time.tzset()
    try:
        yield
    finally:
        if before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = before
        time.tzset()


@dataclass(frozen=True)
class Sent:
    """What one attempt of one task sent: nothing, if it had no rows."""

    part: Optional[str]
    rows: int


@dataclass(frozen=True)
class Push:
    """What is pushed, and where to: what every task needs to send its part.

    It goes to the executors in a pickle. A token travels in it, and is never shown.
    """

    client: Client
    session: PushSession
    driver: str
    """In the name of every part: two drivers of one run never send parts of the same name."""
    encode: Optional[Callable[[Any], str]] = None

    @property
    def done(self) -> bool:
        """The run was pushed before: nothing is to be sent."""
        return self.session.begun.state != "receiving"

    def part_name(self) -> str:
        """A name that no other attempt of any task has; it tells whose it was."""
        from pyspark import TaskContext

        task = TaskContext.get()
        if task is None:  # An engine that speaks Spark's language and is none.
            return f"p-{uuid.uuid4().hex}"
        attempt = f"try{task.attemptNumber()}.t{task.taskAttemptId()}"
        return f"p{task.partitionId():06d}.{attempt}.{self.driver}"

    def send_batches(self, batches: Iterable[Any]) -> Sent:
        """One part of Arrow batches; of no rows, none."""
        if self.done:
            return Sent(None, 0)
        with parquet_part(batches) as part:
            return self._send(part)

    def send_rows(self, rows: Iterable[Any]) -> Sent:
        """One part of Spark's own rows."""
        if self.done:
            return Sent(None, 0)
        assert self.encode is not None, "a push of rows knows their schema"
        with rows_part(rows, self.encode) as part:
            return self._send(part)

    def _send(self, part: Part) -> Sent:
        if part.rows == 0:
            return Sent(None, 0)
        name = self.part_name()
        with self.session:
            self.session.put_part(name, part.pieces)
        return Sent(name, part.rows)

    def commit(self, told: Iterable[Optional[Sent]]) -> Version:
        """Commits exactly these parts, and waits until the version serves, or why it does not."""
        name = f"version {self.session.version} of {self.session.dataset}"
        if self.done:
            version = self.client.wait_for(self.session.dataset, self.session.version)
            log.warning("this run was pushed before, as %s (%s): nothing was sent", name, version.state)
            return version
        names = []
        for sent in told:
            if sent is None:
                raise RuntimeError("Spark told of a task that succeeded without what it sent")
            if sent.part is not None:
                names.append(sent.part)
        if not names:
            raise InvalidArgument(f"the DataFrame has no rows: {name} was given up")
        # The names begin with the partition: rows stay in the order of the DataFrame.
        version = self.session.commit(sorted(names))
        log.info("%s is %s: %s records", name, version.state, version.records)
        return version

    def abort(self) -> None:
        """Gives the version up if its push was not committed; a commit ends by itself."""
        if not self.done and self.session.status().state == "receiving":
            self.session.abort()


def begin(schema: StructType, options: Mapping[str, Any], with_arrow: bool) -> Push:
    """Begins the version, on the driver. Refuses what cannot be pushed before any task runs."""
    given = parse_options(options)
    given.setdefault("format", "parquet" if with_arrow else "ndjson")
    if given["format"] not in ("parquet", "ndjson"):
        raise InvalidArgument(f"format is {given['format']!r}: parts are parquet or ndjson")
    if given["format"] == "parquet" and not with_arrow:
        raise InvalidArgument("parts of Parquet take pyarrow, and a Spark that hands batches over (4.1)")
    check_schema(schema, given["key"], given["format"])
    run_id = given.pop("run_id", None)
    given.setdefault("label", run_id)
    client = Client(
        given.pop("server", ""),
        token=given.pop("token", None),
        ca_file=given.pop("ca_file", None),
        # Of batch jobs, many of which may begin to send at one time.
        connect_timeout=10.0,
        total_timeout=60.0,
    )
    session = client.begin(given.pop("dataset"), idempotency_key=None if run_id is None else f"spark:{run_id}", **given)
    encode = row_encoder(schema) if given["format"] == "ndjson" else None
    return Push(client, session, uuid.uuid4().hex[:8], encode)


def parse_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options under their names in the API, with their types. Unknown ones are refused by name."""
    given: dict[str, Any] = {}
    for name, value in options.items():
        if value is None:
            continue
        name = re.sub(r"[- ]", "_", name).lower()
        name = "dataset" if name == "path" else name
        if name not in ROW_OPTIONS and name not in OWN_OPTIONS:
            known = ", ".join(sorted({*ROW_OPTIONS, *OWN_OPTIONS}))
            raise InvalidArgument(f"there is no option {name!r}; there are {known}")
        if name in given:
            raise InvalidArgument(f"the option {name!r} is given twice")
        given[name] = _typed(name, value)
    for needed in ("dataset", "key"):
        if not given.get(needed):
            raise InvalidArgument(f"the option {needed!r} is missing")
    return given


def _typed(name: str, value: Any) -> Any:
    if name in LISTS and not isinstance(value, str):
        return list(value)
    if name in BOOLEANS and not isinstance(value, bool):
        if str(value).lower() not in ("true", "false"):
            raise InvalidArgument(f"the option {name!r} is {value!r}: it is true or false")
        return str(value).lower() == "true"
    if name == "limit":
        try:
            return int(value)
        except ValueError:
            raise InvalidArgument(f"the option 'limit' is {value!r}: it is a whole number") from None
    return value


def publish_partitions(
    df: DataFrame, dataset: str, *, key: Any, server: Optional[str] = None, **options: Any
) -> Version:
    """Publishes a DataFrame as a new version, one part per partition, and returns the version.

    The options are those of the data source: `run_id`, `label`, `as_of`, `activate`, `token`,
    and the row options. For Spark 3.3 and newer, Spark Connect too. Where pyarrow or pandas is missing
    the parts are NDJSON, and the partitions go through `df.rdd`.
    """
    with_arrow = options.get("format") != "ndjson" and _has_arrow()
    options.update(dataset=dataset, key=key, server=server)
    push = begin(df.schema, options, with_arrow)
    try:
        return push.commit(_run_with_arrow(df, push) if with_arrow else _run_with_rows(df, push))
    except BaseException:
        push.abort()
        raise


def _run_with_arrow(df: DataFrame, push: Push) -> list[Sent]:
    def send(batches: Iterator[Any]) -> Iterator[Any]:
        import pyarrow

        sent = push.send_batches(batches)
        # Said, for of a part that is none pyarrow would make a column of the type null.
        schema = pyarrow.schema([("part", pyarrow.string()), ("rows", pyarrow.int64())])
        yield pyarrow.RecordBatch.from_pydict({"part": [sent.part], "rows": [sent.rows]}, schema=schema)

    sent = df.mapInArrow(send, "part string, rows bigint").collect()
    return [Sent(row.part, row.rows) for row in sent]


def _run_with_rows(df: DataFrame, push: Push) -> list[Sent]:
    def send(rows: Iterator[Any]) -> Iterator[Any]:
        yield push.send_rows(rows)

    sent: list[Sent] = df.rdd.mapPartitions(send).collect()
    return sent


def _has_arrow() -> bool:
    try:
        # Spark's own `mapInArrow` asks for pandas too.
        import pandas  # noqa: F401
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        return False
    return True


try:
    from pyspark.sql.datasource import DataSource, DataSourceWriter, WriterCommitMessage
except ImportError:  # Spark 3 has no Python data sources, and who imports this may have no Spark.
    pass
else:
    try:
        from pyspark.sql.datasource import DataSourceArrowWriter
    except ImportError:  # Spark 4.0 gives a writer rows alone.
        DataSourceArrowWriter = None

    __all__ += ["TidetableDataSource", "register"]

    @dataclass
    class SentMessage(WriterCommitMessage):  # type: ignore[misc]
        """What a task tells the driver."""

        sent: Sent

    class _Writes:
        """Both kinds of writers: Spark makes one on the driver, and copies it to the tasks."""

        def __init__(self, push: Push) -> None:
            self.push = push

        def commit(self, messages: list[Optional[SentMessage]]) -> None:
            self.push.commit(None if m is None else m.sent for m in messages)

        def abort(self, messages: list[Optional[SentMessage]]) -> None:
            self.push.abort()

    class RowWriter(_Writes, DataSourceWriter):  # type: ignore[misc]
        def write(self, iterator: Iterator[Any]) -> SentMessage:
            # Rows are made from Arrow as they are taken, instants as the local time of this process: of the
            # hour that a zone has twice nothing would tell which is meant.
            with _in_utc():
                return SentMessage(self.push.send_rows(iterator))

    if DataSourceArrowWriter is not None:

        class ArrowWriter(_Writes, DataSourceArrowWriter):  # type: ignore[misc]
            def write(self, iterator: Iterator[Any]) -> SentMessage:
                return SentMessage(self.push.send_batches(iterator))

    class TidetableDataSource(DataSource):  # type: ignore[misc]
        """`df.write.format("tidetable")`; see the head of this module."""

        @classmethod
        def name(cls) -> str:
            return "tidetable"

        def writer(self, schema: StructType, overwrite: bool) -> DataSourceWriter:
            with_arrow = DataSourceArrowWriter is not None
            options = dict(self.options)
            with_arrow = with_arrow and options.get("format", "parquet") == "parquet"
            push = begin(schema, options, with_arrow)
            return ArrowWriter(push) if with_arrow else RowWriter(push)

    def register(spark: SparkSession) -> None:
        """Makes `format("tidetable")` known to a session."""
        spark.dataSource.register(TidetableDataSource)
