"""What callers give, refused by name before anything is asked if it cannot be meant."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping
from typing import Any, Optional, Union

from .errors import InvalidArgument
from .resources import Version


def whole(name: str, value: Any, least: int) -> int:
    """A whole number, also one of numpy, or a `Version` for its number."""
    if isinstance(value, Version):
        value = value.version
    if isinstance(value, bool) or not hasattr(type(value), "__index__"):
        raise InvalidArgument(f"{name} is {_shown(value)}: a whole number is expected")
    number = operator.index(value)
    if number < least:
        raise InvalidArgument(f"{name} is {number}: at least {least} is expected")
    return number


def whole_or_none(name: str, value: Any, least: int) -> Optional[int]:
    return None if value is None else whole(name, value, least)


def seconds(name: str, value: Any, least: float) -> float:
    """A finite number of seconds."""
    number = _number(name, value, "a number of seconds")
    if not math.isfinite(number) or number < least:
        raise InvalidArgument(f"{name} is {value}: a finite number of seconds, {least:g} or more, is expected")
    return number


def positive_seconds(name: str, value: Any) -> float:
    number = seconds(name, value, 0.0)
    if number == 0:
        raise InvalidArgument(f"{name} is {value}: more than 0 seconds are expected")
    return number


def _number(name: str, value: Any, expected: str) -> float:
    if isinstance(value, (bool, str, bytes)) or not hasattr(type(value), "__float__"):
        raise InvalidArgument(f"{name} is {_shown(value)}: {expected} is expected")
    return float(value)


def text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidArgument(f"{name} is {_shown(value)}: a text is expected")
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise InvalidArgument(f"{name} is {_shown(value)}: it has half of a surrogate pair") from None
    return value


def mapping(name: str, value: Any, expected: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidArgument(f"{name} is {_shown(value)}: {expected} is expected")
    return value


def one_of(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InvalidArgument(f"{name} is {_shown(value)}: {' or '.join(choices)} is expected")


def texts(name: str, value: Any) -> Union[str, list[str]]:
    """One text, or a list of texts."""
    if isinstance(value, str):
        return text(name, value)
    if isinstance(value, Iterable) and not isinstance(value, (bytes, bytearray, memoryview, Mapping)):
        return [text(f"one of {name}", one) for one in value]
    raise InvalidArgument(f"{name} is {_shown(value)}: a text or a list of texts is expected")


def _shown(value: Any) -> str:
    shown = repr(value)
    return f"{shown if len(shown) <= 60 else shown[:60] + '…'}, a {type(value).__name__}"
