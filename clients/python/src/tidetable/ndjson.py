"""Rows as NDJSON, written as the server would write the same values from Parquet.

Instants become RFC 3339 in UTC (one without a zone is taken as UTC), dates and times ISO, decimals
numbers with all their digits; what numpy and pandas wrap is unwrapped. A row that is no JSON is refused by its number.
"""

from __future__ import annotations

import datetime
import decimal
import json
import math
import re
import secrets
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .errors import InvalidArgument
from .numerals import with_server_exponents

PART_BYTES = 8 * 1024 * 1024

# `json` cannot be told to write a number as it stands: it is marked, and the quotes are taken off afterwards.
_MARK = secrets.token_hex(8)
_MARKED = re.compile(rf'"{_MARK}:([-+0-9.eE]+)"')


def ndjson_parts(rows: Iterable[Any], nan_is_null: bool) -> Iterator[bytes]:
    """Whole lines, about `PART_BYTES` at a time."""
    lines: list[bytes] = []
    size = 0
    for number, row in enumerate(rows, 1):
        line = _line(row, number, nan_is_null)
        lines.append(line)
        size += len(line) + 1
        if size >= PART_BYTES:
            yield b"\n".join(lines) + b"\n"
            lines, size = [], 0
    if lines:
        yield b"\n".join(lines) + b"\n"


def _line(row: Any, number: int, nan_is_null: bool) -> bytes:
    if not isinstance(row, Mapping):
        raise InvalidArgument(f"row {number} is a {type(row).__name__}: a dict is expected")
    try:
        return _encoded(row)
    except _UNWRITABLE as error:
        failure: Exception = error
    if nan_is_null and isinstance(failure, ValueError):
        try:
            row = _without_nan(row)
            return _encoded(row)
        except _UNWRITABLE as error:
            failure = error
    raise InvalidArgument(f"row {number}{_field(row)}: {_why(failure)}") from None


def _encoded(row: Mapping[Any, Any]) -> bytes:
    return _text(row if type(row) is dict else dict(row)).encode("utf-8")


def _field(row: Mapping[Any, Any]) -> str:
    """Which field of a row it is that cannot be written, if it is one."""
    for name, value in row.items():
        try:
            _encoded({name: value})
        except _UNWRITABLE:
            return f", field {name!r}"
    return ""


def _why(error: Exception) -> str:
    text = str(error)
    if "Out of range float" in text:
        return "NaN and infinities are no JSON; nan='null' makes them null"
    return text if isinstance(error, InvalidArgument) else f"it is no JSON: {text}"


def _text(row: Any) -> str:
    text = with_server_exponents(_ENCODER.encode(row))
    return _MARKED.sub(r"\1", text) if _MARK in text else text


def _plain(value: Any) -> Any:
    """What `json` does not know, as something that it does."""
    if isinstance(value, datetime.datetime):
        return None if value != value else moment_text(value)
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, datetime.time):
        return value.isoformat() if not value.microsecond else _digits(value.isoformat())
    if isinstance(value, decimal.Decimal):
        if not value.is_finite():
            raise ValueError("Out of range float")
        return f"{_MARK}:{value:f}"
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    library = type(value).__module__.split(".", 1)[0]
    if library == "numpy":
        return _of_numpy(value)
    # NaT and NA are equal to nothing, or to nothing known.
    if library == "pandas" and type(value).__name__ in ("NaTType", "NAType"):
        return None
    if isinstance(value, (bytes, bytearray, memoryview)):
        raise InvalidArgument("bytes are no JSON: decode them, or write them as text")
    raise InvalidArgument(f"a {type(value).__name__} is no JSON")


def _of_numpy(value: Any) -> Any:
    """A number or an array of numpy. What it would give as bare numbers, instants and durations, is no number."""
    kind = getattr(getattr(value, "dtype", None), "kind", "V")
    if kind in "mM" and value.ndim > 0:
        return list(value)
    if kind == "M":
        text = str(value)
        if text == "NaT":
            return None
        if "T" in text:
            return _nine_digits(text)
    plain = value if kind in "mV" else value.tolist()
    if type(plain) is type(value) or (kind == "M" and isinstance(plain, int)):
        raise InvalidArgument(f"a {type(value).__name__} is no JSON")
    return plain


def _nine_digits(text: str) -> str:
    """An instant of numpy, in no zone, as RFC 3339."""
    whole, _, digits = text.partition(".")
    whole += ":00" * (2 - whole.count(":"))
    digits = digits.rstrip("0")
    if len(digits) > 9:
        raise InvalidArgument(f"the instant {text} is finer than a nanosecond")
    return f"{whole}.{digits.ljust(-(-len(digits) // 3) * 3, '0')}Z" if digits else f"{whole}Z"


def moment_text(moment: Any) -> str:
    """RFC 3339 in UTC, with no, three, six or nine digits of the second."""
    nanoseconds = moment.microsecond * 1000 + getattr(moment, "nanosecond", 0)
    if moment.tzinfo is not None:
        moment = moment.astimezone(datetime.timezone.utc)
    text = f"{moment.year:04}-{moment.month:02}-{moment.day:02}T{moment.hour:02}:{moment.minute:02}:{moment.second:02}"
    if nanoseconds % 1_000_000 == 0:
        fraction = f".{nanoseconds // 1_000_000:03}" if nanoseconds else ""
    elif nanoseconds % 1000 == 0:
        fraction = f".{nanoseconds // 1000:06}"
    else:
        fraction = f".{nanoseconds:09}"
    return f"{text}{fraction}Z"


def _digits(text: str) -> str:
    """Three digits of a second where three are enough."""
    return text[:-3] if text.endswith("000") else text


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _without_nan(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(one) for one in value]
    if isinstance(value, decimal.Decimal):
        return value if value.is_finite() else None
    if type(value).__module__.split(".", 1)[0] == "numpy":
        return _without_nan(value.tolist())
    return value


_UNWRITABLE = (ValueError, TypeError, RecursionError)
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)
