"""What is asked of the server by readers, and what is written down of each answer."""

from __future__ import annotations

import json
import urllib.parse
from dataclasses import dataclass, field
from typing import Any

from client import Reply
from history import KeyToken, Read
from values import Contents, claimed, digest_of, key_of

# How much of a wrong value the history keeps.
WRONG_BYTES = 600
WRONG_KEYS = 3


def key_text(token: KeyToken) -> str:
    return key_of(token) if isinstance(token, int) else token


@dataclass(slots=True)
class Ask:
    """One read to be sent."""

    dataset: str
    kind: str
    asked: list[Any]
    pinned: int | None = None
    cursor: str | None = None
    method: str = field(init=False, default="GET")
    path: str = field(init=False)
    body: bytes | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        base = f"/v1/datasets/{self.dataset}"
        if self.kind == "get":
            key = urllib.parse.quote(key_text(self.asked[0]), safe="")
            version = f"?version={self.pinned}" if self.pinned else ""
            self.path = f"{base}/keys/{key}{version}"
        elif self.kind == "batch":
            self.method, self.path = "POST", f"{base}/batch-get"
            wanted: dict[str, Any] = {"keys": [key_text(token) for token in self.asked]}
            if self.pinned:
                wanted["version"] = self.pinned
            self.body = json.dumps(wanted).encode()
        else:
            prefix, _, limit = self.asked
            query = {"limit": str(limit)}
            if prefix:
                query["prefix"] = prefix
            if self.cursor:
                query["cursor"] = self.cursor
            elif self.pinned:
                query["version"] = str(self.pinned)
            self.path = f"{base}/scan?{urllib.parse.urlencode(query)}"


def answered(ask: Ask, reply: Reply, connection: str, contents: Contents) -> tuple[Read, Any]:
    """The line of an answer, and the JSON that was in it, if any."""
    found: list[bytes | None] = []
    keys: list[str] = [key_text(token) for token in ask.asked] if ask.kind != "scan" else []
    version, answer, code = reply.version(), None, None
    outcome, ended = "error", False
    if reply.status == 200 and ask.kind == "get":
        outcome, found = "ok", [reply.body]
    elif reply.status == 200:
        answer = reply.json()
        outcome, keys, found, ended = _listed(ask, answer, keys)
        if isinstance(answer, dict) and answer.get("version") != version:
            outcome = "error"
            code = f"header and body disagree on the version: {version}, {answer.get('version')}"
    else:
        code = reply.code()
        if reply.status == 404 and code == "key_not_found":
            outcome, found = "absent", [None]
    claims = {claim for value in found if value is not None and (claim := claimed(value))}
    numbers = sorted({number for dataset, number in claims if dataset == ask.dataset})
    wrong = _wrong(ask.dataset, keys, found, numbers, contents)
    if any(dataset != ask.dataset for dataset, _ in claims):
        wrong.append(["of another dataset", sorted(dataset for dataset, _ in claims)])
    if ask.kind == "scan":
        found = [part for key, value in zip(keys, found) for part in (key.encode(), value)]
    read = Read(
        reply.start, reply.end, connection, ask.dataset, ask.kind, ask.asked, ask.pinned,
        outcome, reply.status, code, version, numbers, digest_of(found), ended, wrong,
    )
    return read, answer


def unanswered(ask: Ask, start: float, end: float, connection: str, sent: bool, why: str) -> Read:
    """The line of a read without an answer; `start` is when its connection was last known to be whole."""
    outcome = "unknown" if sent else "error"
    return Read(
        start, end, connection, ask.dataset, ask.kind, ask.asked, ask.pinned,
        outcome, 0, why[:200], None, [], "", False, [],
    )


def _listed(
    ask: Ask, answer: Any, keys: list[str]
) -> tuple[str, list[str], list[bytes | None], bool]:
    """Outcome, keys and values of a batch or a page."""
    try:
        if ask.kind == "scan":
            records = answer["records"]
            values = [_stored(record["value"]) for record in records]
            return "ok", [record["key"] for record in records], values, answer["next"] is None
        results = answer["results"]
        if [result["key"] for result in results] != keys:
            return "error", keys, [], False
        return "ok", keys, [_stored(r["value"]) if r["found"] else None for r in results], False
    except (KeyError, TypeError):
        return "error", keys, [], False


def _stored(value: Any) -> bytes:
    """The stored bytes of a value that stood in a JSON answer: ours are texts without escapes."""
    return f'"{value}"'.encode() if isinstance(value, str) else json.dumps(value).encode()


def _wrong(
    dataset: str,
    keys: list[str],
    found: list[bytes | None],
    numbers: list[int],
    contents: Contents,
) -> list[Any]:
    """What does not fit what the values claim."""
    if not numbers:
        return []
    content = contents.of(dataset, numbers[0])
    wrong: list[Any] = []
    for key, value in zip(keys, found):
        if len(wrong) < WRONG_KEYS and value != content.expected(key):
            seen = None if value is None else value[:WRONG_BYTES].decode("latin-1")
            wrong.append([key, seen])
    return wrong
