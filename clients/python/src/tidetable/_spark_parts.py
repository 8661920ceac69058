"""The part that one task of Spark sends: its rows as Parquet, or as NDJSON with the same JSON.

Parquet where Arrow is at hand: the server makes JSON of it. Else Spark's rows are written as
NDJSON here, and so that every value has the very text that the server would have made of the same
row in Parquet (docs/data-format.md): then the content digest is the same, too.

A part is written to a temporary file first, so that it can be sent again, and so that a task that
dies leaves nothing half-sent behind.
"""

from __future__ import annotations

import base64
import datetime
import json
import math
import struct
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Callable, Union

from .errors import InvalidArgument
from .numerals import shortest

if TYPE_CHECKING:
    from pyspark.sql.types import StructType

# Row groups: what the server reads at once, and what a task holds in memory.
GROUP_ROWS = 100_000
GROUP_BYTES = 32 << 20
# Smaller parts never touch the disk of the executor.
IN_MEMORY = 8 << 20
PIECE_BYTES = 256 << 10

Encoder = Callable[[Any], str]


@dataclass
class Part:
    """Rows in a file, from its start."""

    file: IO[bytes]
    rows: int

    def pieces(self) -> Iterator[bytes]:
        """All of it, from the start; as often as it is sent."""
        self.file.seek(0)
        while True:
            piece = self.file.read(PIECE_BYTES)
            if not piece:
                return
            yield piece


@contextmanager
def parquet_part(batches: Iterable[Any]) -> Iterator[Part]:
    """Arrow batches as one Parquet file."""
    import pyarrow
    import pyarrow.parquet as parquet

    with tempfile.SpooledTemporaryFile(IN_MEMORY) as file:
        writer, rows = None, 0
        for group in _groups(batches):
            if writer is None:
                # Types come from the Parquet schema alone: Arrow's own copy is left out.
                writer = parquet.ParquetWriter(file, group[0].schema, compression="zstd", store_schema=False)
            table = pyarrow.Table.from_batches(group)
            writer.write_table(table)
            rows += table.num_rows
        if writer is not None:
            writer.close()
        yield Part(file, rows)


def _groups(batches: Iterable[Any]) -> Iterator[list[Any]]:
    """Batches that make a row group together, without empty ones."""
    group: list[Any] = []
    rows = size = 0
    for batch in batches:
        if batch.num_rows == 0:
            continue
        group.append(batch)
        rows += batch.num_rows
        size += batch.nbytes
        if rows >= GROUP_ROWS or size >= GROUP_BYTES:
            yield group
            group, rows, size = [], 0, 0
    if group:
        yield group


@contextmanager
def rows_part(rows: Iterable[Any], encode: Encoder) -> Iterator[Part]:
    """Spark's rows as NDJSON."""
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as file:
        count = 0
        for row in rows:
            file.write(encode(row).encode() + b"\n")
            count += 1
        yield Part(file, count)


def check_schema(schema: StructType, key: Union[str, Sequence[str]], parts_format: str) -> None:
    """Refuses what cannot be pushed: columns that are missing, twice there, or of no JSON."""
    names = schema.fieldNames()
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise InvalidArgument(f"the DataFrame has the column {min(twice)!r} twice")
    keys = [k.strip() for k in key.split(",")] if isinstance(key, str) else list(key)
    for name in keys:
        if name not in names:
            raise InvalidArgument(f"the key {name!r} is no column; there are {', '.join(names)}")
    for field in schema.fields:
        _check_type(field.dataType, field.name)
        if field.name in keys and parts_format == "ndjson" and _kind(field.dataType) == "Binary":
            raise InvalidArgument(f"the key {field.name!r} is binary, which takes parts of Parquet")


def _kind(data_type: Any) -> str:
    # By name: these types came with different versions of Spark.
    return type(data_type).__name__[: -len("Type")]


def _check_type(data_type: Any, column: str) -> None:
    kind = _kind(data_type)
    if kind == "Array":
        _check_type(data_type.elementType, f"{column}[]")
    elif kind == "Map":
        _check_type(data_type.keyType, f"the keys of {column}")
        _check_type(data_type.valueType, f"{column}{{}}")
    elif kind == "Struct":
        for field in data_type.fields:
            _check_type(field.dataType, f"{column}.{field.name}")
    elif kind not in SCALARS:
        shown = getattr(data_type, "simpleString", lambda: kind)()
        raise InvalidArgument(
            f"the column {column!r} has the type {shown}, which has no JSON: cast it, or leave it out"
        )


def row_encoder(schema: Any) -> Encoder:
    """What makes JSON of values of this type, as the server does of the same type in Parquet."""
    encode = _encoder(schema)
    return lambda value: "null" if value is None else encode(value)


def _encoder(data_type: Any) -> Encoder:
    kind = _kind(data_type)
    if kind == "Struct":
        return _struct_encoder(data_type)
    if kind == "Array":
        item = row_encoder(data_type.elementType)
        return lambda value: f"[{','.join(map(item, value))}]"
    if kind == "Map":
        return _map_encoder(data_type)
    if kind == "Decimal":
        scale = data_type.scale
        return lambda value: f"{value:.{scale}f}"
    return SCALARS[kind]


def _struct_encoder(data_type: Any) -> Encoder:
    fields = [
        (("," if at else "{") + _string(field.name) + ":", row_encoder(field.dataType))
        for at, field in enumerate(data_type.fields)
    ]

    def encode(value: Any) -> str:
        out: list[str] = []
        for (opening, item), cell in zip(fields, value):
            out += opening, item(cell)
        return "".join(out) + "}" if out else "{}"

    return encode


def _map_encoder(data_type: Any) -> Encoder:
    key, item = _encoder(data_type.keyType), row_encoder(data_type.valueType)

    def named(value: Any) -> str:
        text = key(value)
        return text if text.startswith('"') else _string(text)

    def encode(value: Any) -> str:
        return "{" + ",".join(f"{named(k)}:{item(v)}" for k, v in value.items()) + "}"

    return encode


_string: Encoder = json.JSONEncoder(ensure_ascii=False).encode


def _double(value: float) -> str:
    return shortest(repr(float(value)))


def _float(value: float) -> str:
    # Spark's single precision comes as Python's double: the fewest digits that read back the
    # same single.
    if not math.isfinite(value):
        return shortest(repr(float(value)))
    single = struct.pack("f", value)
    for digits in range(1, 10):
        text = f"{value:.{digits}g}"
        try:
            if struct.pack("f", float(text)) == single:
                break
        except OverflowError:  # Rounded beyond the largest single.
            continue
    return shortest(repr(float(text)), least=-6, most=13)


def _fraction(micros: int) -> str:
    """No digits, three, or six: as many as it takes."""
    if micros == 0:
        return ""
    return f".{micros // 1000:03d}" if micros % 1000 == 0 else f".{micros:06d}"


def _instant(value: datetime.datetime) -> str:
    # Spark gives an instant as the local time of the worker.
    return _moment(value.astimezone(datetime.timezone.utc))


def _moment(value: datetime.datetime) -> str:
    whole = value.replace(microsecond=0, tzinfo=None).isoformat()
    return f'"{whole}{_fraction(value.microsecond)}Z"'


def _time(value: datetime.time) -> str:
    return f'"{value.replace(microsecond=0).isoformat()}{_fraction(value.microsecond)}"'


def _binary(value: bytes) -> str:
    return f'"{base64.b64encode(value).decode()}"'


SCALARS: dict[str, Encoder] = {
    "Boolean": lambda value: "true" if value else "false",
    "Byte": str,
    "Short": str,
    "Integer": str,
    "Long": str,
    "Float": _float,
    "Double": _double,
    "Decimal": str,
    "String": _string,
    "Char": _string,
    "Varchar": _string,
    "Binary": _binary,
    "Date": lambda value: f'"{value.isoformat()}"',
    "Time": _time,
    "Timestamp": _instant,
    "TimestampNTZ": _moment,
    "Null": lambda value: "null",
}
