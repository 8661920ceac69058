"""A range of keys, page by page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Optional, Union
from urllib.parse import quote

from .arguments import text, whole, whole_or_none
from .batches import decoded, version_number
from .calls import Call, Core, ask, json_answer
from .errors import BrokenConnection, InvalidArgument
from .found import Record
from .http1 import Request, Response
from .keys import base64url, from_base64url
from .paths import Fields, dataset_path, field_names, fields_parameter, unit_headers

PAGE_RECORDS = 1000


class Page(NamedTuple):
    """One page of a scan."""

    records: list[Record]
    version: int
    next: Optional[str]


class Asked(NamedTuple):
    """What is scanned."""

    dataset: str
    prefix: Union[str, bytes]
    fields: Optional[tuple[str, ...]]
    version: Optional[int]
    unit: Optional[str]


def asked(
    core: Core,
    dataset: str,
    prefix: Union[str, bytes],
    limit: Optional[int],
    fields: Fields,
    version: Optional[int],
    unit: Optional[str],
    page_size: int,
) -> Asked:
    """What a scan was called with, refused at once if it cannot be: not with the first record that is taken."""
    dataset_path(dataset)
    if not isinstance(prefix, bytes):
        text("prefix", prefix)
    whole_or_none("limit", limit, 0)
    whole("page_size", page_size, 1)
    names = field_names(fields)
    if names is not None:
        fields_parameter(names)
    unit_headers(core, unit)
    return Asked(dataset, prefix, names, whole_or_none("version", version, 1), unit)


def scan_page(
    core: Core,
    dataset: str,
    prefix: Union[str, bytes],
    limit: int,
    fields: Fields,
    version: Optional[int],
    unit: Optional[str],
    cursor: Optional[str],
) -> Call[Page]:
    """The next records in the order of keys. A cursor carries version and prefix."""
    names = field_names(fields)
    query = [f"limit={limit}"]
    if cursor is not None:
        query.append(f"cursor={quote(cursor, safe='')}")
    else:
        if version is not None:
            query.append(f"version={whole('version', version, 1)}")
        if prefix:
            told = base64url(prefix) if isinstance(prefix, bytes) else quote(_text(prefix), safe="")
            query.append(f"prefix={told}")
    as_bytes = isinstance(prefix, bytes)
    if as_bytes:
        query.append("key_encoding=base64url")
    if names is not None:
        query.append(fields_parameter(names))
    path = f"{dataset_path(dataset)}/scan?{'&'.join(query)}"
    read_answer = json_answer(core)

    def read(response: Response) -> Page:
        answer = read_answer(response)
        try:
            records = [Record(_record_key(one, as_bytes), decoded(one)) for one in answer["records"]]
            following = answer["next"]
            if following is not None and not isinstance(following, str):
                raise BrokenConnection("the answer is no page of a scan: its cursor is no text")
            return Page(records, version_number(answer["version"]), following)
        except (KeyError, TypeError, ValueError) as error:
            raise BrokenConnection(f"the answer is no page of a scan: {error!r}") from error

    began = core.clock()
    page = yield from ask(core, Request("GET", path, None, unit_headers(core, unit), True, core.deadline()), read)
    if version is None and cursor is None and core.cache is not None:
        core.cache.saw(dataset, page.version, began, core.clock())
    return page


def _text(prefix: str) -> bytes:
    try:
        return prefix.encode("utf-8")
    except UnicodeError:
        raise InvalidArgument("the prefix is no text: it has half of a surrogate pair") from None


def _record_key(record: Mapping[str, Any], as_bytes: bool) -> Union[str, bytes]:
    key = record["key"]
    if not isinstance(key, str):
        raise BrokenConnection("a key of the answer is no text")
    if as_bytes or record.get("key_encoding") == "base64url":
        return from_base64url(key)
    return key


def page_size(wanted: int, left: Optional[int]) -> int:
    """No more records than are needed, nor than the server gives on one page."""
    size = min(max(wanted, 1), PAGE_RECORDS)
    return size if left is None else min(size, left)


def same_version(before: Optional[int], page: Page) -> None:
    """All pages of a scan are of one version."""
    if before is not None and page.version != before:
        raise BrokenConnection(f"a scan of version {before} was answered from version {page.version}")
