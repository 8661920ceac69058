"""Paths of datasets and versions, and what reads have in common: fields, unit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Optional, Union
from urllib.parse import quote

from .arguments import text, whole
from .calls import Core
from .errors import InvalidArgument
from .settings import header_value

Fields = Union[None, str, Sequence[str]]


def dataset_path(dataset: str) -> str:
    """The server says what a name may be; here it only has to stay one segment."""
    if not text("dataset", dataset):
        raise InvalidArgument("dataset is an empty text: a name is expected")
    return f"/v1/datasets/{quote(dataset, safe='')}"


def version_path(dataset: str, version: int) -> str:
    return f"{dataset_path(dataset)}/versions/{whole('version', version, 1)}"


def field_names(fields: Fields) -> Optional[tuple[str, ...]]:
    """Names of fields; one text is split at its commas, as the server does with `fields=` in a query."""
    if fields is None:
        return None
    if isinstance(fields, str):
        names: tuple[Any, ...] = tuple(fields.split(","))
    elif isinstance(fields, Iterable) and not isinstance(fields, (bytes, bytearray, memoryview, Mapping)):
        names = tuple(fields)
    else:
        raise InvalidArgument(f"fields is a list of names, or a text with commas, not a {type(fields).__name__}")
    if not names:
        raise InvalidArgument("fields is an empty list: name at least one, or leave it out to get all")
    for name in names:
        if not isinstance(name, str) or not name:
            raise InvalidArgument(f"fields has {name!r}, which is no name of a field")
        text("one of fields", name)
    return names


def unit_headers(core: Core, unit: Optional[str]) -> tuple[tuple[str, bytes], ...]:
    unit = core.settings.unit if unit is None else unit
    return () if unit is None else (("Tidetable-Unit", header_value("unit", unit)),)


def fields_parameter(names: Sequence[str]) -> str:
    """The names in a query, where a comma stands between two of them: encoded or not, it cannot be part of one."""
    for name in names:
        if "," in name:
            raise InvalidArgument(f"fields has {name!r}, with a comma, which a scan cannot ask for: get_many can")
    return "fields=" + ",".join(quote(name, safe="") for name in names)
