"""Paths of datasets and versions, and what reads have in common: fields, unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional, Union
from urllib.parse import quote

from .calls import Core
from .errors import InvalidArgument
from .settings import header_value

Fields = Union[None, str, Sequence[str]]


def dataset_path(dataset: str) -> str:
    """The server says what a name may be; here it only has to stay one segment."""
    return f"/v1/datasets/{quote(dataset, safe='')}"


def version_path(dataset: str, version: int) -> str:
    return f"{dataset_path(dataset)}/versions/{int(version)}"


def field_names(fields: Fields) -> Optional[tuple[str, ...]]:
    """Names of fields; one text is one name."""
    if fields is None:
        return None
    names = (fields,) if isinstance(fields, str) else tuple(fields)
    if not names or not all(isinstance(name, str) and name for name in names):
        raise InvalidArgument("fields is a list of names, at least one")
    return names


def unit_headers(core: Core, unit: Optional[str]) -> tuple[tuple[str, bytes], ...]:
    unit = core.settings.unit if unit is None else unit
    return () if unit is None else (("Tidetable-Unit", header_value("unit", unit)),)


def fields_parameter(names: Sequence[str]) -> str:
    """The names in a query, where a comma stands between two of them: encoded or not, it cannot be part of one."""
    for name in names:
        if "," in name:
            raise InvalidArgument(f"the field {name!r} has a comma, which a scan cannot ask for: get_many can")
    return "fields=" + ",".join(quote(name, safe="") for name in names)
