"""The reading calls: one key, many keys, several datasets, a range."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union
from urllib.parse import quote

from .cache import Kept
from .calls import JSON, Call, Core, ask, compact, json_answer, refusal
from .cut import cut_values
from .errors import ApiError, BrokenConnection, InvalidArgument, NotFound, api_error
from .found import Answers, Entry, Found, Record
from .http1 import Request, Response
from .keys import MAX_PATH_KEY, BatchKeys, Key, base64url, from_base64url, key_bytes, path_key
from .push_calls import dataset_path
from .settings import header_value

CHUNK_KEYS = 1000
# Of the 4 MiB that the server takes as the body of a batch.
CHUNK_BYTES = 3 * 1024 * 1024
PAGE_RECORDS = 1000

Fields = Union[None, str, Sequence[str]]
GONE = ("version_deleted", "version_not_found")


def field_names(fields: Fields) -> Optional[Tuple[str, ...]]:
    """Names of fields; one text is one name."""
    if fields is None:
        return None
    names = (fields,) if isinstance(fields, str) else tuple(fields)
    if not names or not all(isinstance(name, str) and name for name in names):
        raise InvalidArgument("fields is a list of names, at least one")
    return names


def unit_headers(core: Core, unit: Optional[str]) -> Tuple[Tuple[str, bytes], ...]:
    unit = core.settings.unit if unit is None else unit
    return () if unit is None else (("Tidetable-Unit", header_value("unit", unit)),)


def get_entry(
    core: Core, dataset: str, key: Key, fields: Fields, version: Optional[int], unit: Optional[str], raw: bool
) -> Call[Optional[Entry]]:
    """The value of one key with what is known of it; None if the key is not there."""
    names = field_names(fields)
    segment, encoding = path_key(key)
    headers = unit_headers(core, unit)
    deadline = core.deadline()
    if len(segment) > MAX_PATH_KEY or (names and any("," in name for name in names)):
        return (yield from _entry_of_batch(core, dataset, key, names, version, unit, raw, deadline))
    query: List[str] = []
    if encoding:
        query.append(f"key_encoding={encoding}")
    if names:
        query.append("fields=" + ",".join(quote(name, safe="") for name in names))
    if version is not None:
        query.append(f"version={int(version)}")
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

    def read(response: Response) -> Tuple[Optional[Entry], Optional[Kept]]:
        status = response.status
        if status == 200:
            now = _kept(core, response)
        elif status == 304 and before is not None:
            now = _kept(core, response, before)
        elif status == 404 and refusal(response).code == "key_not_found":
            if cache is not None and version is None and "tidetable-version" in response.headers:
                cache.saw(dataset, _version(response))
            return None, None
        else:
            raise refusal(response)
        return _entry(core, now, raw), now

    entry, now = yield from ask(core, Request("GET", path, None, headers, True, deadline), read)
    if cache is not None:
        if now is None:
            cache.remove(place)
        else:
            if version is None:
                cache.saw(dataset, now.version)
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
    names: Optional[Tuple[str, ...]],
    version: Optional[int],
    unit: Optional[str],
    raw: bool,
    deadline: float,
) -> Call[Optional[Entry]]:
    """What no path can say: a long key, a name of a field with a comma."""
    found = yield from _batches(core, dataset, [key], names, version, unit, raw, deadline)
    return Entry(found[key], found.version or 0, None, None) if key in found else None


def get_many(
    core: Core,
    dataset: str,
    keys: Iterable[Key],
    fields: Fields,
    version: Optional[int],
    unit: Optional[str],
    raw: bool,
) -> Call[Found]:
    """The values of those keys that are there, all of one version."""
    names = field_names(fields)
    if isinstance(keys, (str, bytes)):
        raise InvalidArgument("keys is a list of keys, not one key")
    unique = list(dict.fromkeys(keys))
    deadline = core.deadline()
    if not unique:
        return Found(None)
    try:
        return (yield from _batches(core, dataset, unique, names, version, unit, raw, deadline))
    except _Gone:
        pass
    try:
        return (yield from _batches(core, dataset, unique, names, version, unit, raw, deadline))
    except _Gone as gone:
        raise gone.error from None


class _Gone(Exception):
    """The version that the first chunk came from went while the others were asked for."""

    def __init__(self, error: NotFound) -> None:
        super().__init__(error)
        self.error = error


def _batches(
    core: Core,
    dataset: str,
    keys: List[Key],
    names: Optional[Tuple[str, ...]],
    version: Optional[int],
    unit: Optional[str],
    raw: bool,
    deadline: float,
) -> Call[Found]:
    headers = (JSON,) + unit_headers(core, unit)
    path = f"{dataset_path(dataset)}/batch-get"
    pinned = version
    found = Found(None)
    waiting = chunks(keys)
    waiting.reverse()
    while waiting:
        chunk = waiting.pop()
        sent = BatchKeys.of(chunk)
        body: Dict[str, Any] = {"keys": sent.keys}
        if names is not None:
            body["fields"] = names
        if pinned is not None:
            body["version"] = pinned
        if sent.encoding != "utf8":
            body["key_encoding"] = sent.encoding
        request = Request("POST", path, compact(body), headers, True, deadline)
        try:
            answered = yield from ask(core, request, _batch_reader(core, chunk, sent, raw))
        except NotFound as error:
            if version is None and pinned is not None and error.code in GONE:
                raise _Gone(error) from None
            raise
        except ApiError as error:
            if error.code != "answer_too_large" or len(chunk) == 1:
                raise
            half = len(chunk) // 2
            waiting.append(chunk[half:])
            waiting.append(chunk[:half])
            continue
        if pinned is not None and answered.version != pinned:
            raise BrokenConnection(f"version {pinned} was asked for, and version {answered.version} answered")
        pinned = answered.version
        if version is None and core.cache is not None and pinned is not None:
            core.cache.saw(dataset, pinned)
        found.update(answered)
        found.version = pinned
    return found


def chunks(keys: List[Key]) -> List[List[Key]]:
    """At most 1,000 keys each, and no more bytes than a request may have."""
    if len(keys) <= CHUNK_KEYS and sum(map(_size, keys)) <= CHUNK_BYTES:
        return [keys]
    made: List[List[Key]] = [[]]
    room = CHUNK_BYTES
    for key in keys:
        size = _size(key)
        if len(made[-1]) == CHUNK_KEYS or (size > room and made[-1]):
            made.append([])
            room = CHUNK_BYTES
        made[-1].append(key)
        room -= size
    return made


def _size(key: Key) -> int:
    # JSON writes a control character as six bytes; others are at most four for each character.
    return len(key) * 6 + 3 if isinstance(key, (str, bytes)) else 24


def _batch_reader(core: Core, keys: Sequence[Key], sent: BatchKeys, raw: bool) -> Callable[[Response], Found]:
    read_answer = json_answer(core)

    def read(response: Response) -> Found:
        if raw and response.status == 200:
            cut = cut_values(response.body, sent.keys)
            if cut is not None:
                version, values = cut
                return Found(version, {key: value for key, value in zip(keys, values) if value is not None})
        return results(read_answer(response), keys, raw)

    return read


def results(answer: Mapping[str, Any], keys: Sequence[Key], raw: bool = False) -> Found:
    """The results of a batch, which stand in the order asked."""
    try:
        given = answer["results"]
        found = Found(_number(answer["version"]))
        if len(given) != len(keys):
            raise BrokenConnection(f"{len(keys)} keys were asked for, and {len(given)} answered")
        found.update({key: one["value"] for key, one in zip(keys, given) if one["found"]})
        # The encoding is that of the dataset: all values have it or none.
        if any("encoding" in one for one in given):
            for key, one in zip(keys, given):
                if one["found"]:
                    found[key] = decoded(one)
    except (KeyError, TypeError, AttributeError) as error:
        raise BrokenConnection(f"the answer is no answer to a batch: {error!r}") from error
    if raw:
        for key, value in found.items():
            if not isinstance(value, bytes):
                found[key] = compact(value)
    return found


def _number(version: Any) -> int:
    if not isinstance(version, int) or isinstance(version, bool):
        raise BrokenConnection("the answer does not say its version")
    return version


def decoded(record: Mapping[str, Any]) -> Any:
    """The value of a result or record: JSON, or bytes that came in base64."""
    if "encoding" not in record:
        return record["value"]
    try:
        return base64.b64decode(record["value"], validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise BrokenConnection(f"a value of the answer is no base64: {error}") from error


def multi(
    core: Core,
    requests: Mapping[str, Iterable[Key]],
    fields: Mapping[str, Fields],
    versions: Mapping[str, int],
    unit: Optional[str],
) -> Call[Answers]:
    """Keys of several datasets, as they stood at one instant."""
    wanted = {dataset: list(dict.fromkeys(keys)) for dataset, keys in requests.items()}
    answers = Answers()
    deadline = core.deadline()
    for again in (False, True):
        try:
            yield from _multi(core, wanted, fields, dict(versions), unit, deadline, answers)
            return answers
        except _Gone as gone:
            if again:
                raise gone.error from None
            answers = Answers()
    return answers


def _multi(
    core: Core,
    wanted: Mapping[str, List[Key]],
    fields: Mapping[str, Fields],
    versions: Dict[str, int],
    unit: Optional[str],
    deadline: float,
    answers: Answers,
) -> Call[None]:
    """The first request has keys of every dataset, and so says the version of each; later ones ask for these."""
    given = frozenset(versions)
    headers = (JSON,) + unit_headers(core, unit)
    room = CHUNK_KEYS
    left = {dataset: list(keys) for dataset, keys in wanted.items() if keys}
    for dataset, keys in wanted.items():
        answers.put(dataset, Found(None))
    if len(left) > CHUNK_KEYS:
        raise InvalidArgument(f"{len(left)} datasets in one call: at most {CHUNK_KEYS}")
    while left:
        share = _share(left, room)
        body = [_one_of_many(dataset, keys, fields.get(dataset), versions.get(dataset)) for dataset, keys in share.items()]
        request = Request("POST", "/v1/batch-get", compact({"requests": body}), headers, True, deadline)
        try:
            answer = yield from ask(core, request, json_answer(core))
        except ApiError as error:
            if error.code != "answer_too_large" or sum(map(len, share.values())) <= len(left):
                raise
            room = max(sum(map(len, share.values())) // 2, len(left))
            continue
        told = answer.get("answers")
        if not isinstance(told, list) or len(told) != len(share):
            raise BrokenConnection("the answer is no answer to a batch of several datasets")
        for (dataset, keys), one in zip(share.items(), told):
            _take_answer(core, dataset, keys, one, versions, given, answers)
            left[dataset] = left[dataset][len(keys) :]
        left = {dataset: keys for dataset, keys in left.items() if keys and dataset not in answers.errors}


def _share(left: Mapping[str, List[Key]], room: int) -> Dict[str, List[Key]]:
    """One key of each dataset at least, and as many of each, in order, as there is room for."""
    spare = max(room - len(left), 0)
    bytes_left = CHUNK_BYTES
    share: Dict[str, List[Key]] = {}
    for dataset, keys in left.items():
        taken = 0
        for key in keys[: spare + 1]:
            bytes_left -= _size(key)
            if taken and bytes_left < 0:
                break
            taken += 1
        share[dataset] = keys[:taken]
        spare -= taken - 1
    return share


def _one_of_many(dataset: str, keys: List[Key], fields: Fields, version: Optional[int]) -> Dict[str, Any]:
    sent = BatchKeys.of(keys)
    one: Dict[str, Any] = {"dataset": dataset, "keys": sent.keys}
    names = field_names(fields)
    if names is not None:
        one["fields"] = names
    if version is not None:
        one["version"] = int(version)
    if sent.encoding != "utf8":
        one["key_encoding"] = sent.encoding
    return one


def _take_answer(
    core: Core,
    dataset: str,
    keys: List[Key],
    one: Any,
    versions: Dict[str, int],
    given: "frozenset[str]",
    answers: Answers,
) -> None:
    if not isinstance(one, dict) or one.get("dataset") != dataset:
        raise BrokenConnection("the answer is not in the order of what was asked")
    problem = one.get("error")
    if isinstance(problem, dict):
        status = problem.get("status")
        error = api_error(problem, status if isinstance(status, int) else 500)
        if isinstance(error, NotFound) and error.code in GONE and dataset in versions and dataset not in given:
            raise _Gone(error)
        answers.fail(dataset, error)
        return
    found = results(one, keys)
    version = found.version
    if version is None or versions.get(dataset, version) != version:
        raise BrokenConnection(f"another version of {dataset} answered than was asked for")
    versions[dataset] = version
    if dataset not in given and core.cache is not None:
        core.cache.saw(dataset, version)
    answers.add(dataset, found)


class Page(NamedTuple):
    """One page of a scan."""

    records: List[Record]
    version: int
    next: Optional[str]


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
            query.append(f"version={int(version)}")
        if prefix:
            text = base64url(prefix) if isinstance(prefix, bytes) else quote(_text(prefix), safe="")
            query.append(f"prefix={text}")
    as_bytes = isinstance(prefix, bytes)
    if as_bytes:
        query.append("key_encoding=base64url")
    if names is not None:
        query.append("fields=" + ",".join(quote(name, safe="") for name in names))
    path = f"{dataset_path(dataset)}/scan?{'&'.join(query)}"
    read_answer = json_answer(core)

    def read(response: Response) -> Page:
        answer = read_answer(response)
        try:
            records = [Record(_record_key(one, as_bytes), decoded(one)) for one in answer["records"]]
            following = answer["next"]
            if following is not None and not isinstance(following, str):
                raise BrokenConnection("the answer is no page of a scan: its cursor is no text")
            return Page(records, _number(answer["version"]), following)
        except (KeyError, TypeError, ValueError) as error:
            raise BrokenConnection(f"the answer is no page of a scan: {error!r}") from error

    page = yield from ask(core, Request("GET", path, None, unit_headers(core, unit), True, core.deadline()), read)
    if version is None and cursor is None and core.cache is not None:
        core.cache.saw(dataset, page.version)
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
