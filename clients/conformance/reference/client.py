"""A small client that keeps every guarantee of the suite, unless it is told not to.

It is here to try the suite with, and to be wrong on purpose: `wrong("…")` is asked wherever a client could go
wrong. For work there are the clients of the languages.
"""

from __future__ import annotations

import base64
import json
import math
import unicodedata
import urllib.parse
from dataclasses import dataclass
from typing import Any, Iterable

import cache as caching
from errors import Broken, Refused, Usage, refused
from retries import OF_THE_PROGRAM, Answer, Budget, tried
from wire import Deadline, Pool
from wrongs import wrong

CHUNK = 999 if wrong("chunk_of_999") else 1000
CHUNK_BYTES = 2 << 20
PAGE = 1000
# Of a key in a path, in characters: what stands before the server may take no more.
LONGEST_SEGMENT = 6000
GONE = {"version_deleted", "version_not_found"}

@dataclass
class Entry:
    """What a lookup found."""

    found: bool
    value: Any = None
    version: int | None = None


class Client:
    def __init__(self, base_url: str, total_timeout: float = 10, connect_timeout: float = 2, token: str | None = None,
                 cache: dict[str, Any] | None = None, max_tries: int = 3, unit: str | None = None) -> None:
        url = urllib.parse.urlsplit(base_url)
        if (url.scheme != "http" or not url.hostname) and not wrong("any_base_url"):
            raise Usage(f"the base URL is none: {base_url!r}")
        if token is not None and not (token.isascii() and token.isprintable()) and not wrong("header_values_unchecked"):
            raise Usage("the token is no value of a header")
        self.host = url.netloc
        self.prefix = url.path if wrong("base_url_joined") else url.path.rstrip("/")
        self.total_timeout = min(total_timeout, 0.3) if wrong("impatient") else total_timeout
        self.token, self.unit, self.unit_of_call, self.max_tries = token, checked_unit(unit), None, max_tries
        self.pool = Pool((url.hostname or "127.0.0.1", url.port or 80), connect_timeout)
        self.budget = OF_THE_PROGRAM if wrong("budget_of_the_program") else Budget()
        cache = {"ttl": 600} if wrong("cache_always_on") else cache
        self.cache = caching.Cache(cache["ttl"], cache.get("mode", "ttl")) if cache else None

    def __repr__(self) -> str:
        return f"Client(http://{self.host}{self.prefix})" + (f" with {self.token}" if wrong("token_in_errors") else "")

    def read_for(self, unit: str | None) -> None:
        """Says for whom the next call reads, if not for whom all do."""
        self.unit_of_call = None if wrong("unit_of_call_ignored") else checked_unit(unit)

    # One key.

    def get(self, dataset: str, key: str | bytes, fields: list[str] | None = None, version: int | None = None) -> Entry:
        target, raw, as_base64 = key_target(dataset, key)
        if len(target.rpartition("/")[2]) > LONGEST_SEGMENT and not wrong("long_keys_in_the_path"):
            values, read_from = self.get_many(dataset, [key], fields, version)
            return Entry(True, values[0][1], read_from) if values else Entry(False)
        deadline = self.begin()
        query = {**({"key_encoding": "base64url"} if as_base64 else {}), **read_query(fields, version)}
        entry = self.cache.entries.get(self.name(dataset, raw, fields, version)) if self.cache else None
        if self.cache and entry and self.cache.fresh(entry, version is not None):
            return Entry(entry.found, entry.value, entry.version)
        etag = {} if not entry or entry.etag is None or wrong("cache_without_etag") else {"If-None-Match": entry.etag}
        try:
            answer = self.ask("GET", target + encoded(query), None, deadline, etag, check=is_value)
        except Refused as fault:
            return self.not_got(fault, dataset, raw, fields, version, entry)
        return self.got(answer, dataset, raw, fields, version, entry)

    def got(self, answer: Answer, dataset: str, raw: bytes, fields: list[str] | None, version: int | None, entry: caching.Entry | None) -> Entry:
        """The value of a 200 or a 304."""
        status, headers, body = answer
        read_from = int(headers["tidetable-version"]) if "tidetable-version" in headers else None
        if status == 304 and entry is not None:
            found = caching.Entry(entry.value, entry.version if wrong("version_of_the_cache") else read_from, entry.etag)
        else:
            found = caching.Entry(parsed(body), read_from, headers.get("etag"))
        if self.cache:
            self.cache.saw(dataset, read_from, version is not None)
            self.cache.keep(self.name(dataset, raw, fields, version), found)
        if found.value is None and wrong("null_is_absent"):
            return Entry(False)
        value = (found.value or None) if wrong("falsy_is_null") else found.value
        return Entry(True, value, None if wrong("version_not_told") else found.version)

    def not_got(self, fault: Refused, dataset: str, raw: bytes, fields: list[str] | None, version: int | None, entry: caching.Entry | None) -> Entry:
        """An absent key is no error; all else is."""
        if fault.code == "key_not_found" and fault.status == 404:
            if entry and wrong("cache_keeps_what_is_gone"):
                return Entry(True, entry.value, entry.version)
            if self.cache:
                self.cache.saw(dataset, fault.version, version is not None)
                self.cache.entries.pop(self.name(dataset, raw, fields, version), None)
                if wrong("absence_is_cached"):
                    self.cache.keep(self.name(dataset, raw, fields, version), caching.Entry(None, None, None, found=False))
            if wrong("absent_is_error"):
                raise fault
            return Entry(False)
        if (fault.status == 404 and wrong("any_404_is_absent")) or (fault.status == 410 and wrong("gone_is_absent")):
            return Entry(False)
        if entry and wrong("stale_on_error"):
            return Entry(True, entry.value, entry.version)
        raise fault

    # Many keys.

    def get_many(self, dataset: str, keys: Iterable[str | bytes], fields: list[str] | None = None,
                 version: int | None = None) -> tuple[dict[Any, Any] | list[Any], int | None]:
        keys = list(keys)
        if not wrong("duplicates_answered"):
            keys = list(dict.fromkeys(keys))
        if not keys and not wrong("empty_batch_is_asked"):
            return [], None
        deadline = self.begin()
        again = True
        while True:
            try:
                return self.all_chunks(dataset, keys, fields, version, deadline)
            except Refused as fault:
                pinned = version is not None and not wrong("pinned_begins_anew")
                if fault.status == 404 and wrong("any_404_is_absent"):
                    return [], None
                gone = fault.code in GONE and not (fault.status == 404 and wrong("only_410_begins_anew"))
                gone = gone or (fault.status == 404 and wrong("any_404_begins_anew"))
                if not gone or pinned or not again or wrong("no_new_beginning") or len(cut(keys)) == 1:
                    raise
                again = wrong("begins_anew_for_ever")

    def all_chunks(self, dataset: str, keys: list[Any], fields: list[str] | None, version: int | None,
                   deadline: Deadline) -> tuple[list[Any], int | None]:
        found: list[Any] = []
        pinned = version
        for keys_of_chunk in cut(keys):
            values, read_from = self.chunk(dataset, keys_of_chunk, fields, pinned, deadline)
            found += values
            pinned = version if wrong("chunks_not_pinned") else read_from
        if self.cache:
            self.cache.saw(dataset, read_from, version is not None)
        return found, read_from

    def chunk(self, dataset: str, keys: list[Any], fields: list[str] | None, version: int | None, deadline: Deadline) -> tuple[list[Any], int]:
        """One request; two of half the keys if its answer is too large."""
        body = {**batch_body(keys), **({} if fields is None or wrong("fields_not_asked_for") else {"fields": fields}), **asked_version(version)}
        try:
            answer = self.ask("POST", f"/v1/datasets/{segment(dataset)}/batch-get", body, deadline, check=lambda answer: is_batch(answer, len(keys)))
        except Refused as fault:
            if fault.code != "answer_too_large" or wrong("no_halves") or (len(keys) < 2 and not wrong("halves_for_ever")):
                raise
            half = len(keys) // 2
            first, read_from = self.chunk(dataset, keys[:half], fields, version, deadline) if half else ([], version)
            second, last = self.chunk(dataset, keys[half:], fields, version if wrong("halves_not_pinned") else read_from, deadline)
            return first + second, last
        got = parsed(answer[2])
        return values(keys, got["results"]), got["version"]

    # Several datasets, and ranges.

    def multi(self, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if wrong("multi_one_by_one"):
            return [{"dataset": one["dataset"], **dict(zip(("values", "version"), self.get_many(one["dataset"], one["keys"])))} for one in requests]
        bodies = [{"dataset": one["dataset"], **batch_body(distinct(one["keys"]))} for one in requests]
        try:
            answer = self.ask("POST", "/v1/batch-get", {"requests": bodies}, self.begin(), check=is_answers)
        except Refused:
            if wrong("multi_error_is_empty"):
                return []
            raise
        answers = []
        for one, got in zip(requests, parsed(answer[2])["answers"]):
            if "error" in got:
                if wrong("multi_all_or_nothing"):
                    raise Refused(got["error"].get("status", 500), got["error"], None)
                answers.append({"dataset": one["dataset"], "error": got["error"]})
            else:
                answers.append({"dataset": one["dataset"], "version": got["version"], "values": values(distinct(one["keys"]), got["results"])})
        return answers

    def scan(self, dataset: str, prefix: str = "", limit: int | None = None, fields: list[str] | None = None,
             version: int | None = None) -> tuple[list[tuple[Any, Any]], int | None]:
        deadline = self.begin()
        left = math.inf if limit is None else limit
        records: list[tuple[Any, Any]] = []
        path = f"/v1/datasets/{segment(dataset)}/scan"
        cursor, read_from = None, version
        while True:
            size = PAGE if wrong("scan_asks_for_more") else min(left, PAGE)
            query = {"limit": str(int(size)), **read_query(fields, version)}
            query |= {"cursor": cursor} if cursor else {"prefix": prefix} if prefix else {}
            try:
                answer = self.ask("GET", path + encoded(query, raw=wrong("prefix_not_encoded")), None, deadline, check=is_page)
            except Refused:
                if wrong("scan_ends_early") and records:
                    return records, read_from
                raise
            page = parsed(answer[2])
            read_from, cursor = page["version"], page["next"]
            records += [(scanned(record), record["value"]) for record in page["records"]]
            left -= len(page["records"])
            if wrong("scan_goes_by_key") and cursor:
                # A page of whatever is current: what comes after the last key of the page before.
                cursor = None
                prefix = prefix + "00" + str(len(records) // 1000)
            if cursor is None or left <= 0 or wrong("scan_of_one_page"):
                break
        if self.cache:
            self.cache.saw(dataset, read_from, version is not None)
        return records[:limit], read_from

    # What all calls share.

    def name(self, dataset: str, raw: bytes, fields: list[str] | None, version: int | None) -> Any:
        """What an entry of the cache is found by."""
        return caching.name(dataset, raw, fields, version, self.unit_of_call)

    def begin(self) -> Deadline:
        self.budget.call()
        return Deadline(self.total_timeout)

    def ask(self, method: str, target: str, body: Any, deadline: Deadline, headers: dict[str, str] | None = None, check: Any = None) -> Answer:
        """A whole answer of status 200 or 304, after as many tries as it may take."""
        text = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {self.prefix}{target} HTTP/1.1", f"Host: {self.host}", f"Content-Length: {len(text)}"]
        lines += [f"{name}: {value}" for name, value in {**self.headers(method), **(headers or {})}.items()]
        request = "\r\n".join(lines).encode() + b"\r\n\r\n" + text

        def ask(deadline: Deadline) -> Answer:
            return self.pool.exchange(request, deadline)

        def checked(answer: Answer) -> Answer:
            status, named, got = answer
            if status not in (200, 304):
                fault = refused(status, named, got)
                fault.version = int(named["tidetable-version"]) if "tidetable-version" in named else None
                raise fault
            check(answer)
            return answer

        try:
            answer = tried(ask, checked, self.max_tries, self.budget, deadline, method == "GET" and "/keys/" in target)
        except Refused as fault:
            if wrong("redirects_followed") and fault.status is not None and 300 <= fault.status < 400:
                return self.ask("GET", "/v1/datasets/people/keys/bob", None, deadline, check=is_value)
            raise
        except Broken:
            if wrong("connection_is_absent") or wrong("broken_is_absent"):
                raise Refused(404, {"code": "key_not_found"}, None) from None
            raise
        return answer

    def headers(self, method: str) -> dict[str, str]:
        said = {} if wrong("no_user_agent") else {"User-Agent": "tidetable-client-reference/0.1.0"}
        if self.token is not None:
            said["Authorization"] = f"Bearer {self.token}"
        unit = self.unit if self.unit_of_call is None else self.unit_of_call
        if unit is not None and not (wrong("unit_of_get_alone") and method == "POST"):
            said["Tidetable-Unit"] = unit
        elif wrong("unit_always"):
            said["Tidetable-Unit"] = "anonymous"
        return said


def checked_unit(unit: str | None) -> str | None:
    """Any text that a header can carry."""
    refused = unit is not None and not unit.isprintable() and not wrong("header_values_unchecked")
    refused = refused or (unit is not None and " " in unit and wrong("unit_without_spaces"))
    if refused or (unit is not None and not unit.isascii() and wrong("unit_in_ascii")):
        raise Usage("the unit is no value of a header")
    return unit


def key_target(dataset: str, key: str | bytes) -> tuple[str, bytes, bool]:
    """The path of a key, its bytes, and whether it goes as base64url."""
    raw = key_bytes(key)
    if not raw:
        raise Refused(404, {"code": "key_not_found"}, None) if wrong("empty_key_is_absent") else Usage("a key is empty")
    path = f"/v1/datasets/{segment(dataset)}/keys/"
    if isinstance(key, bytes) and wrong("bytes_as_text"):
        return path + urllib.parse.quote(raw.decode(errors="replace"), safe=""), raw, False
    if isinstance(key, bytes) or (key in (".", "..") and not wrong("dots_in_the_path")):
        return path + base64.urlsafe_b64encode(raw).decode().rstrip("="), raw, True
    if wrong("keys_not_encoded"):
        return path + "".join(c if c > " " else f"%{ord(c):02X}" for c in str(key)), raw, False
    if wrong("space_is_plus"):
        return path + urllib.parse.quote_plus(raw), raw, False
    once = urllib.parse.quote(raw, safe="")
    return path + (urllib.parse.quote(once, safe="") if wrong("keys_encoded_twice") else once), raw, False


def cut(keys: list[Any]) -> list[list[Any]]:
    """Keys in chunks, each of no more keys and no more bytes than one request takes."""
    chunks: list[list[Any]] = [[]]
    size = 0
    for key in keys:
        takes = len(json.dumps(key)) if isinstance(key, str) else 2 * len(key)
        full = size + takes > CHUNK_BYTES and bool(chunks[-1]) and not wrong("chunks_by_number_alone")
        if len(chunks[-1]) == CHUNK or full:
            chunks.append([])
            size = 0
        chunks[-1].append(key)
        size += takes
    return chunks


def key_bytes(key: str | bytes) -> bytes:
    if isinstance(key, bytes):
        return key
    if wrong("keys_normalised"):
        key = unicodedata.normalize("NFC", key)
    try:
        return key.encode(errors="replace" if wrong("surrogates_replaced") else "strict")
    except UnicodeEncodeError:
        raise Usage("a key is no Unicode text") from None


def segment(dataset: str) -> str:
    return dataset if wrong("dataset_not_encoded") else urllib.parse.quote(dataset, safe="")


def distinct(keys: list[Any]) -> list[Any]:
    return keys if wrong("duplicates_answered") else list(dict.fromkeys(keys))


def asked_version(version: int | None) -> dict[str, Any]:
    return {} if version is None or wrong("version_not_asked_for") else {"version": version}


def read_query(fields: list[str] | None, version: int | None) -> dict[str, str]:
    asked = {name: str(value) for name, value in asked_version(version).items()}
    if fields is not None and not wrong("fields_not_asked_for"):
        asked["fields"] = ",".join(fields)
    return asked


def encoded(query: dict[str, str], raw: bool = False) -> str:
    if not query:
        return ""
    raw = raw or wrong("fields_not_encoded")
    return "?" + "&".join(f"{name}={value if raw else urllib.parse.quote(value, safe=',')}" for name, value in query.items()).replace(" ", "+")


def batch_body(keys: list[Any]) -> dict[str, Any]:
    if any(key in ("", b"") for key in keys) and not wrong("empty_key_is_absent"):
        raise Usage("a key is empty")
    if any(isinstance(key, bytes) for key in keys):
        if wrong("bytes_as_text"):
            return {"keys": [key_bytes(key).decode(errors="replace") for key in keys]}
        return {"keys": [base64.urlsafe_b64encode(key_bytes(key)).decode().rstrip("=") for key in keys], "key_encoding": "base64url"}
    return {"keys": [key_bytes(key).decode() for key in keys]}


def values(keys: list[Any], results: list[dict[str, Any]]) -> list[tuple[Any, Any]]:
    """Those found, under the keys that were asked for."""
    if wrong("absent_in_batch"):
        return [(key, one.get("value")) for key, one in zip(keys, results)]
    return [(key, one["value"]) for key, one in zip(keys, results) if one["found"] and not (wrong("null_is_absent") and one["value"] is None)]


def scanned(record: dict[str, Any]) -> str | bytes:
    """The key of a record: text, or bytes where it is none."""
    if record.get("key_encoding") == "base64url" and not wrong("bytes_as_text"):
        return base64.urlsafe_b64decode(record["key"] + "=" * (-len(record["key"]) % 4))
    return str(record["key"])


def parsed(body: bytes) -> Any:
    return json.loads(body, parse_int=(lambda text: int(float(text))) if wrong("numbers_are_doubles") else None)


def is_value(answer: Answer) -> None:
    """A value is JSON; anything else is a broken answer."""
    as_of = answer[1].get("tidetable-as-of")
    if as_of is not None and as_of[10:11] != "T" and wrong("as_of_in_one_form"):
        raise Broken("its as_of cannot be read")
    if answer[0] != 304:
        try:
            parsed(answer[2])
        except ValueError:
            if wrong("bad_json_not_retried"):
                raise Usage("no JSON") from None
            raise Broken("the answer is no JSON") from None


def shape(answer: Answer, fits: Any) -> None:
    is_value(answer)
    got = parsed(answer[2])
    if wrong("any_shape_is_an_answer"):
        return
    try:
        right = fits(got)
    except (KeyError, TypeError, AttributeError):
        right = False
    if not right:
        raise Broken("the answer is not of the shape that the API has")


def is_results(results: Any) -> bool:
    return all(isinstance(one["found"], bool) and (not one["found"] or "value" in one) for one in results)


def is_batch(answer: Answer, asked: int) -> None:
    shape(answer, lambda got: isinstance(got["version"], int) and len(got["results"]) == asked and is_results(got["results"]))


def is_answers(answer: Answer) -> None:
    shape(answer, lambda got: all("code" in one["error"] if "error" in one else is_results(one["results"]) for one in got["answers"]))


def is_page(answer: Answer) -> None:
    shape(answer, lambda got: isinstance(got["version"], int) and "next" in got and all("key" in one and "value" in one for one in got["records"]))
