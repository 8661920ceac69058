"""One key: its value, with the cache on this side."""

from __future__ import annotations

from typing import Optional

from .arguments import whole_or_none
from .batches import batch
from .cache import Kept
from .calls import Call, Core, ask, refusal
from .errors import BrokenConnection
from .found import Entry
from .http1 import Request, Response
from .keys import MAX_PATH_KEY, Key, key_bytes, path_key
from .paths import Fields, dataset_path, field_names, fields_parameter, unit_headers


def get_entry(
    core: Core, dataset: str, key: Key, fields: Fields, version: Optional[int], unit: Optional[str], raw: bool
) -> Call[Optional[Entry]]:
    """The value of one key with what is known of it; None if the key is not there."""
    names = field_names(fields)
    version = whole_or_none("version", version, 1)
    segment, encoding = path_key(key)
    headers = unit_headers(core, unit)
    deadline = core.deadline()
    if len(segment) > MAX_PATH_KEY or (names and any("," in name for name in names)):
        return (yield from _entry_of_batch(core, dataset, key, names, version, unit, raw, deadline))
    query: list[str] = []
    if encoding:
        query.append(f"key_encoding={encoding}")
    if names:
        query.append(fields_parameter(names))
    if version is not None:
        query.append(f"version={version}")
    path = f"{dataset_path(dataset)}/keys/{segment}{'?' if query else ''}{'&'.join(query)}"

    cache = core.cache
    kept: Optional[Kept] = None
    place = (dataset, version, key_bytes(key), names, unit or core.settings.unit)
    if cache is not None:
        kept, fresh = cache.get(place, core.clock())
        if kept is not None and fresh:
            return _entry(core, kept, raw)
        if kept is not None and kept.etag is not None:
            headers += (("If-None-Match", kept.etag.encode("latin-1")),)
    before = kept
    began = core.clock()

    def read(response: Response) -> tuple[Optional[Entry], Optional[Kept]]:
        status = response.status
        if status == 200:
            now = _kept(core, response)
        elif status == 304 and before is not None:
            now = _kept(core, response, before)
        elif status == 404 and refusal(response).code == "key_not_found":
            if cache is not None and version is None and "tidetable-version" in response.headers:
                cache.saw(dataset, _version(response), began, core.clock())
            return None, None
        else:
            raise refusal(response)
        return _entry(core, now, raw), now

    entry, now = yield from ask(core, Request("GET", path, None, headers, True, deadline), read)
    if cache is not None:
        if now is None:
            cache.remove(place)
        else:
            if version is not None or cache.saw(dataset, now.version, began, core.clock()):
                cache.put(place, now)
    return entry


def _version(response: Response) -> int:
    text = response.headers.get("tidetable-version", "")
    if not (text.isascii() and text.isdigit()):
        raise BrokenConnection("the answer does not say its version: it is none of a Tidetable server")
    return int(text)


def _kept(core: Core, response: Response, before: Optional[Kept] = None) -> Kept:
    headers = response.headers
    ttl = core.cache.policy.ttl if core.cache is not None else 0.0
    return Kept(
        bytes(response.body) if before is None else before.body,
        headers.get("content-type", "") if before is None else before.content_type,
        _version(response),
        headers.get("etag") or (before.etag if before is not None else None),
        headers.get("tidetable-as-of"),
        core.clock() + ttl,
    )


def _entry(core: Core, kept: Kept, raw: bool) -> Entry:
    json = not raw and is_json(kept.content_type)
    value = core.loads(kept.body) if json else kept.body
    return Entry(value, kept.version, kept.etag, kept.as_of)


def is_json(content_type: str) -> bool:
    kind = content_type.split(";", 1)[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


def _entry_of_batch(
    core: Core,
    dataset: str,
    key: Key,
    names: Optional[tuple[str, ...]],
    version: Optional[int],
    unit: Optional[str],
    raw: bool,
    deadline: float,
) -> Call[Optional[Entry]]:
    """What no path can say: a long key, a name of a field with a comma."""
    found = yield from batch(core, dataset, [key], names, version, unit, raw, deadline)
    return Entry(found[key], found.version or 0, None, None) if key in found else None
