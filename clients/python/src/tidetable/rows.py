"""Data of any kind as the parts of a push, one after the other, none larger than memory likes.

None of pandas, Polars and PyArrow is needed, or imported before its own data comes. DataFrames and Arrow data go as Parquet where a
library that writes it is there (PyArrow, or Polars for its own), so that types are exact; else as NDJSON.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Callable, Optional, Union

from .errors import InvalidArgument
from .frames import check_names, check_pandas, check_polars, check_schema, converted
from .ndjson import ndjson_parts
from .push_options import PushOptions

# A DataFrame (pandas, Polars), an Arrow table, batch or reader, rows, a path or several, or bytes with a `format`.
RowData = Any

# Of Arrow data in memory; as Parquet it is less.
PART_BYTES = 32 * 1024 * 1024
# Bytes of a slice of rows that is made at a time.
SLICE_ROWS = 65_536

_FORMATS = {".ndjson": "ndjson", ".jsonl": "ndjson", ".csv": "csv", ".tsv": "tsv", ".parquet": "parquet"}

Part = Union[bytes, "os.PathLike[str]"]


class Source:
    """The parts of one push, and the format they are in (None: the server finds out)."""

    def __init__(self, format: Optional[str], parts: Iterable[Part]) -> None:
        self.format = format
        self._parts = iter(parts)
        self._first: Optional[Part] = None

    def has_parts(self) -> bool:
        """Makes the first part, which `next_part` then gives: False if there is none."""
        self._first = next(self._parts, None)
        return self._first is not None

    def next_part(self) -> Optional[Part]:
        first, self._first = self._first, None
        return next(self._parts, None) if first is None else first


def source_of(data: RowData, options: PushOptions) -> Source:
    """What is to be sent of this data."""
    if isinstance(data, (str, os.PathLike)):
        return _files([Path(data)])
    if isinstance(data, (bytes, bytearray, memoryview)):
        if options.format is None:
            raise InvalidArgument("bytes can be published if `format` says what they are; rows are dicts")
        return Source(options.format, [bytes(data)])
    family = _family(data)
    if family == "pandas":
        return _pandas(data, options)
    if family == "polars":
        return _polars(data)
    if hasattr(data, "__arrow_c_stream__") or family == "pyarrow":
        return _arrow(data)
    if isinstance(data, Mapping) or not isinstance(data, Iterable):
        raise InvalidArgument(
            f"a {type(data).__name__} cannot be published: give a DataFrame, an Arrow table, an iterable of dicts, or a path"
        )
    if isinstance(data, Sequence) and data and all(isinstance(one, os.PathLike) for one in data):
        return _files([Path(one) for one in data])
    return Source("ndjson", ndjson_parts(data, options.nan == "null"))


def _family(data: Any) -> Optional[str]:
    """The library of a DataFrame or of Arrow data, found without importing it."""
    frames = {"DataFrame", "LazyFrame", "Table", "RecordBatch", "RecordBatchReader"}
    for kind in type(data).__mro__:
        library = kind.__module__.split(".", 1)[0]
        if kind.__name__ in frames and library in ("pandas", "polars", "pyarrow"):
            return library
    return None


def _files(paths: Sequence[Path]) -> Source:
    formats = {_FORMATS.get(_suffix(path)) for path in paths}
    for path in paths:
        if path.is_dir():
            raise InvalidArgument(f"{path} is a directory: give its files, or use `tidetable push`")
        if not path.exists():
            raise InvalidArgument(f"there is no file {path}")
    return Source(formats.pop() if len(formats) == 1 else None, paths)


def _suffix(path: Path) -> str:
    """The ending that says the format: of `a.csv.gz` it is `.csv`."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    while suffixes and suffixes[-1] in (".gz", ".zst"):
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _pandas(frame: Any, options: PushOptions) -> Source:
    check_names(frame.columns)
    # What names rows in pandas is often the key here.
    levels = [at for at, name in enumerate(frame.index.names) if isinstance(name, str) and name in options.key_fields()]
    for at in levels:
        if frame.index.names[at] in frame.columns:
            raise InvalidArgument(f"{frame.index.names[at]!r} is a column and names the index too: drop or rename one")
    if levels:
        frame = frame.reset_index(level=levels)
    check_pandas(frame, options.nan == "null")
    names = list(frame.columns)
    pyarrow = _pyarrow()
    if pyarrow is None:
        return Source("ndjson", ndjson_parts(_pandas_rows(frame, names), True))

    def of(piece: Any, at: Optional[int]) -> Any:
        return piece if at is None else piece.iloc[:, [at]]

    schema = converted(names, lambda at: pyarrow.Schema.from_pandas(of(frame, at), preserve_index=False))
    check_schema(schema, False)

    def table(piece: Any) -> Any:
        def convert(at: Optional[int]) -> Any:
            wanted = schema if at is None else pyarrow.schema([schema.field(at)])
            return pyarrow.Table.from_pandas(of(piece, at), schema=wanted, preserve_index=False)

        return converted(names, convert)

    def batches() -> Iterator[Any]:
        rows = _rows_of_part(frame.head(1000).memory_usage(deep=True, index=False).sum(), min(len(frame), 1000))
        for begin in range(0, len(frame), rows):
            piece = frame.iloc[begin : begin + rows]
            yield from table(piece).to_batches()

    return Source("parquet", _parquet_parts(schema, batches))


def _pandas_rows(frame: Any, names: list[str]) -> Iterator[Mapping[str, Any]]:
    for begin in range(0, len(frame), SLICE_ROWS):
        piece = frame.iloc[begin : begin + SLICE_ROWS]
        columns = [piece.iloc[:, at].tolist() for at in range(len(names))]
        for row in zip(*columns):
            yield dict(zip(names, row))


def _polars(frame: Any) -> Source:
    if type(frame).__name__ == "LazyFrame":
        frame = frame.collect()
    check_polars(frame)

    def written(piece: Any, at: Optional[int]) -> bytes:
        file = io.BytesIO()
        (piece if at is None else piece[:, [at]]).write_parquet(file, compression="zstd")
        return file.getvalue()

    def parts() -> Iterator[bytes]:
        rows = _rows_of_part(frame.estimated_size(), frame.height)
        for begin in range(0, frame.height, rows):
            piece = frame.slice(begin, rows)
            yield converted(frame.columns, lambda at, piece=piece: written(piece, at))  # type: ignore[misc]

    return Source("parquet", parts())


def _arrow(data: Any) -> Source:
    pyarrow = _pyarrow()
    if pyarrow is None:
        raise InvalidArgument("Arrow data is pushed as Parquet, which takes PyArrow: `pip install pyarrow`")
    if isinstance(data, pyarrow.RecordBatch):
        data = pyarrow.Table.from_batches([data])
    elif not isinstance(data, (pyarrow.Table, pyarrow.RecordBatchReader)):
        data = pyarrow.RecordBatchReader.from_stream(data)
    # Bytes go as base64, and as they are if they are the key: whoever has Arrow data has them on purpose.
    check_schema(data.schema, True)
    batches: Callable[[], Iterable[Any]] = data.to_batches if isinstance(data, pyarrow.Table) else lambda: data
    return Source("parquet", _parquet_parts(data.schema, batches))


def _parquet_parts(schema: Any, batches: Callable[[], Iterable[Any]]) -> Iterator[bytes]:
    """Batches gathered into Parquet files of `PART_BYTES` before they are compressed."""
    import pyarrow.parquet

    gathered: list[Any] = []
    size = 0
    for batch in batches():
        for piece in _pieces(batch):
            gathered.append(piece)
            size += piece.nbytes
            if size >= PART_BYTES:
                yield _parquet_file(pyarrow, schema, gathered)
                gathered, size = [], 0
    if gathered:
        yield _parquet_file(pyarrow, schema, gathered)


def _pieces(batch: Any) -> Iterator[Any]:
    if batch.num_rows == 0:
        return
    rows = _rows_of_part(batch.nbytes, batch.num_rows)
    for begin in range(0, batch.num_rows, rows):
        yield batch.slice(begin, rows)


def _parquet_file(pyarrow: Any, schema: Any, batches: list[Any]) -> bytes:
    def convert(at: Optional[int]) -> bytes:
        table = pyarrow.Table.from_batches(batches, schema)
        if at is not None:
            table = table.select([at])
        file = io.BytesIO()
        with pyarrow.parquet.ParquetWriter(file, table.schema, compression="zstd") as writer:
            writer.write_table(table)
        return file.getvalue()

    whole: bytes = converted(schema.names, convert)
    return whole


def _rows_of_part(size: int, rows: int) -> int:
    """How many rows make a part, if so many have this size."""
    each = max(int(size) // max(rows, 1), 1)
    return max(PART_BYTES // each, 1)


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        return None
    return pyarrow
