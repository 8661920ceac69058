"""What the columns of DataFrames and Arrow tables may be, found out before anything is sent.

Names are texts, each once. What has no value of its own in JSON (a duration, a period, a complex number) is refused by its
column and type: Parquet would make a bare number or bytes of it. What pandas holds is looked at here, and not by PyArrow, so that a
frame goes, or is refused, the same with PyArrow and without.
"""

from __future__ import annotations

import datetime
import decimal
import math
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Callable, Optional

from .errors import InvalidArgument

TEXT = "`.astype(str)` makes texts of it"
SECONDS = "`.dt.total_seconds()` makes numbers of it"
INFINITE = "an infinity is no JSON; with nan='null' it becomes null"
NO_BYTES = "bytes are no JSON: decode them, or write them as text"

_OF_PANDAS = {
    "PeriodDtype": TEXT,
    "IntervalDtype": TEXT,
    "SparseDtype": "`.sparse.to_dense()` makes a plain column of it",
}
_OF_NUMPY = {
    "m": SECONDS,
    "c": "make two columns of it, `.real` and `.imag`",
    "S": NO_BYTES,
    "V": "make a column of each of its fields",
}
_OF_POLARS = {
    "Duration": "`.dt.total_microseconds()` makes numbers of it",
    "Object": "objects of Python are no JSON",
    "Int128": "whole numbers have up to 64 bits: cast it to a Decimal, or to String",
    "UInt128": "whole numbers have up to 64 bits: cast it to a Decimal, or to String",
}
_WELL_KNOWN = (datetime.date, datetime.time, uuid.UUID)


def check_names(names: Iterable[Any]) -> None:
    """The names of columns: texts, each once."""
    seen: set[str] = set()
    for number, name in enumerate(names, 1):
        if isinstance(name, tuple):
            raise InvalidArgument(
                f"column {number} has the name {name!r}, of several levels: make one text of them, "
                "say frame.columns = ['_'.join(map(str, name)) for name in frame.columns]"
            )
        if not isinstance(name, str):
            raise InvalidArgument(
                f"column {number} has the name {name!r}, which is no text: rename it, say frame.columns = [...], "
                "or frame.columns.map(str)"
            )
        if name in seen:
            raise InvalidArgument(f"two columns have the same name {name!r}: rename one, or leave it out")
        seen.add(name)


def check_pandas(frame: Any, infinities: bool) -> None:
    """Names, types and cells of a DataFrame. NaN is null; infinities only if they are to become null."""
    check_names(frame.columns)
    for at, name in enumerate(frame.columns):
        column = frame.iloc[:, at]
        _check_type(name, column.dtype)
        if type(column.dtype).__name__ == "CategoricalDtype":
            kind = column.dtype.categories.dtype
            if kind.kind not in "fO":
                continue
            column = column.astype(kind)
        _check_cells(name, column, infinities)


def _check_type(name: str, kind: Any) -> None:
    library = type(kind).__name__
    if library == "CategoricalDtype":
        return _check_type(name, kind.categories.dtype)
    if library == "ArrowDtype":
        return _check_arrow(name, kind.pyarrow_dtype, False)
    why = _OF_PANDAS.get(library) or _of_numpy(kind)
    if why is not None:
        raise _refused(name, kind, why)
    return None


def _of_numpy(kind: Any) -> Optional[str]:
    if kind.kind == "f" and getattr(kind, "itemsize", 8) > 8:
        return "fractions have 64 bits: `.astype('float64')` rounds it"
    return _OF_NUMPY.get(kind.kind)


def _refused(name: str, kind: Any, why: str) -> InvalidArgument:
    return InvalidArgument(f"column {name!r} is of type {kind}, which has no value in JSON: {why}")


def _check_cells(name: str, column: Any, infinities: bool) -> None:
    kind = column.dtype
    if kind.kind == "f":
        if not infinities:
            found = abs(column.to_numpy(dtype="float64", na_value=math.nan)) == math.inf
            if found.any():
                raise InvalidArgument(f"column {name!r}, row {int(found.argmax()) + 1}: {INFINITE}")
        return
    library = type(kind).__name__
    nested = library != "ArrowDtype" or kind.pyarrow_dtype.num_fields > 0
    if kind.kind != "O" or library == "StringDtype" or not nested:
        return
    for row, cell in enumerate(column.tolist(), 1):
        if type(cell) is not str:
            why = _why_not(cell, infinities)
            if why is not None:
                raise InvalidArgument(f"column {name!r}, row {row}: {why}")


def _why_not(value: Any, infinities: bool) -> Optional[str]:
    """Why a cell cannot go; None if it can."""
    if value is None or isinstance(value, (str, bool)):
        return None
    # Those of numpy are floats, too, and no longer than these.
    if isinstance(value, float):
        return INFINITE if math.isinf(value) and not infinities else None
    if isinstance(value, int):
        if -(2**63) <= value < 2**64:
            return None
        return f"{value} has more than 64 bits: make it a decimal.Decimal, or a text"
    if isinstance(value, decimal.Decimal):
        return INFINITE if value.is_infinite() and not infinities else None
    if isinstance(value, Mapping):
        return _first(value.values(), infinities)
    if isinstance(value, (list, tuple)):
        return _first(value, infinities)
    if type(value).__module__.split(".", 1)[0] == "numpy" and hasattr(value, "dtype"):
        return _why_no_numpy(value, infinities)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return NO_BYTES
    if isinstance(value, _WELL_KNOWN) or type(value).__name__ in ("NaTType", "NAType"):
        return None
    return f"a {type(value).__name__} has no value in JSON: make a text or a number of it"


def _why_no_numpy(value: Any, infinities: bool) -> Optional[str]:
    """Of a number or an array of numpy."""
    kind = value.dtype
    if kind.kind == "O":
        return _first(value.tolist(), infinities)
    if kind.kind == "f" and kind.itemsize <= 8:
        return INFINITE if not infinities and (abs(value) == math.inf).any() else None
    why = _of_numpy(kind)
    return why if why is None else f"the type {kind} of numpy has no value in JSON: {why}"


def _first(values: Iterable[Any], infinities: bool) -> Optional[str]:
    for value in values:
        why = _why_not(value, infinities)
        if why is not None:
            return why
    return None


def check_schema(schema: Any, binary: bool) -> None:
    """Names and types of Arrow data. `binary`: whether bytes may go, as base64."""
    check_names(schema.names)
    for field in schema:
        _check_arrow(field.name, field.type, binary)


def _check_arrow(name: str, kind: Any, binary: bool) -> None:
    why = _of_arrow(kind, binary)
    if why is not None:
        raise _refused(name, kind, why)


def _of_arrow(kind: Any, binary: bool) -> Optional[str]:
    extension = getattr(kind, "extension_name", None)
    if extension is not None:
        if extension in ("arrow.uuid", "arrow.json"):
            return None
        return TEXT if extension.startswith("pandas.") else _of_arrow(kind.storage_type, binary)
    text = str(kind)
    if text.startswith("duration["):
        return "cast it to a number, and say in the column's name of what"
    if text == "month_day_nano_interval":
        return "write it as text"
    if not binary and text.startswith(("binary", "large_binary", "fixed_size_binary")):
        return NO_BYTES
    if text.startswith("dictionary<"):
        return _of_arrow(kind.value_type, binary)
    inner = (_of_arrow(kind.field(at).type, binary) for at in range(kind.num_fields))
    return next((why for why in inner if why is not None), None)


def check_polars(frame: Any) -> None:
    """Types of a DataFrame of Polars, whose names are texts."""
    for name, kind in zip(frame.columns, frame.dtypes):
        why = _of_polars(kind)
        if why is not None:
            raise _refused(name, kind, why)


def _of_polars(kind: Any) -> Optional[str]:
    inner = [field.dtype for field in getattr(kind, "fields", ())]
    if getattr(kind, "inner", None) is not None:
        inner.append(kind.inner)
    of_inner = next((why for why in map(_of_polars, inner) if why is not None), None)
    return _OF_POLARS.get(type(kind).__name__ if not isinstance(kind, type) else kind.__name__) or of_inner


def converted(names: Sequence[str], convert: Callable[[Optional[int]], Any]) -> Any:
    """What `convert(None)` makes of all columns; if it fails, the column that it fails for is named.

    `convert(n)` converts the n-th column alone.
    """
    try:
        return convert(None)
    except InvalidArgument:
        raise
    except Exception as error:
        for at, name in enumerate(names):
            try:
                convert(at)
            except Exception as own:
                raise InvalidArgument(f"column {name!r} cannot be written as Parquet: {own}") from own
        raise InvalidArgument(f"the data cannot be written as Parquet: {error}") from error
