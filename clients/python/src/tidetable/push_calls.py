"""The steps of a push in parts, as calls: begin, put parts, commit, settle, abort."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Callable, Optional, Union
from urllib.parse import quote

from .arguments import text
from .calls import JSON, Call, Core, Pause, ask, compact, idempotency_key, json_answer
from .errors import (
    ActivationFailed,
    ApiError,
    BrokenConnection,
    Conflict,
    DeadlineExceeded,
    GateRefused,
    InvalidArgument,
    PushRefused,
    ServerError,
)
from .http1 import Body, Buffer, Request, Response
from .paths import dataset_path, version_path
from .push_options import PushOptions
from .resources import Part, Version

PartData = Union[bytes, bytearray, memoryview, "os.PathLike[str]", Iterable[bytes], Callable[[], Iterable[bytes]]]

READ_BYTES = 256 * 1024
# How long the server is asked to wait with one answer.
WAIT_SECONDS = 20
# A version that is ready may be activated in the next moment: so often it is asked about again.
LAST_WORDS = 5


def begin(
    core: Core, dataset: str, options: PushOptions, key: Optional[str], deadline: Optional[float]
) -> Call[Version]:
    """Begins a push, or finds the one that was begun with this idempotency key."""
    headers = (JSON, ("Idempotency-Key", idempotency_key(key)))
    request = Request("POST", f"{dataset_path(dataset)}/versions", compact(options.body()), headers, deadline=deadline)
    answer = yield from ask_in_progress(core, request)
    return Version.of(answer)


def ask_in_progress(core: Core, request: Request) -> Call[dict[str, object]]:
    """Asks; while the first request with this idempotency key still runs, asks again."""
    tried = 0
    while True:
        try:
            answer: dict[str, object] = yield from ask(core, request, json_answer(core), core.changes)
            return answer
        except Conflict as error:
            tried += 1
            pause = core.changes.pause(tried, core.draw)
            late = request.deadline is not None and core.clock() + pause >= request.deadline
            if error.code != "in_progress" or late:
                raise
            yield Pause(pause)


def put_part(
    core: Core, dataset: str, version: int, name: str, data: PartData, digest: Optional[str], deadline: Optional[float]
) -> Call[Part]:
    """Sends one part. It is on the server's disk when this is done, and its digest was compared."""
    source = _Source(data, digest)
    headers: tuple[tuple[str, bytes], ...] = (("Content-Type", b"application/octet-stream"),)
    if source.announced is not None:
        headers += (("Content-Digest", source.announced.encode("ascii")),)
    path = f"{version_path(dataset, version)}/parts/{quote(text('name', name), safe='')}"
    # The server answers once the part is fsynced.
    request = Request("PUT", path, source.body, headers, deadline=deadline, patience=120.0)
    read_answer = json_answer(core)

    def read(response: Response) -> Part:
        part = Part.of(read_answer(response))
        if part.digest != source.sent_digest():
            raise BrokenConnection(f"part {name} arrived as {part.digest}, and was sent as {source.sent_digest()}")
        return Part.of(dict(part.raw, name=part.raw.get("name", part.raw.get("part", name))))

    return (yield from ask(core, request, read, core.changes))


class _Source:
    """The bytes of a part: what they are sent from, and the digest of what was sent."""

    def __init__(self, data: PartData, digest: Optional[str]) -> None:
        self.announced = _content_digest(digest)
        self._sha: Optional[str] = None
        self.body: Union[bytes, Body]
        if isinstance(data, (bytes, bytearray, memoryview)):
            whole = memoryview(data).cast("B")
            self._sha = _sha256(hashlib.sha256(whole).digest())
            if self.announced is None:
                self.announced = self._sha
            self.body = Body(lambda: _pieces(whole), len(whole), True)
        elif isinstance(data, str):
            raise InvalidArgument("the data of a part is bytes, a pathlib.Path, or an iterable of bytes; a str is none")
        elif isinstance(data, os.PathLike):
            path = data
            self.body = Body(lambda: self._digested(_file(path)), os.stat(path).st_size, True)
        elif callable(data):
            again = data
            self.body = Body(lambda: self._digested(again()), None, True)
        elif not isinstance(data, Iterable):
            raise InvalidArgument(f"the data of a part is bytes, a pathlib.Path, or an iterable of bytes, not {data!r}")
        else:
            once = data
            self.body = Body(lambda: self._digested(once), None, False)

    def _digested(self, chunks: Iterable[Buffer]) -> Iterator[Buffer]:
        digest = hashlib.sha256()
        for chunk in chunks:
            digest.update(chunk)
            yield chunk
        self._sha = _sha256(digest.digest())

    def sent_digest(self) -> Optional[str]:
        if self._sha is not None:
            return self._sha
        return self.announced


def _pieces(whole: memoryview) -> Iterator[memoryview]:
    """Between two of them it is looked whether the server has answered already."""
    for begin in range(0, len(whole), READ_BYTES):
        yield whole[begin : begin + READ_BYTES]


def _file(path: "os.PathLike[str]") -> Iterator[bytes]:
    with open(path, "rb") as file:
        while True:
            piece = file.read(READ_BYTES)
            if not piece:
                return
            yield piece


def _sha256(digest: bytes) -> str:
    return f"sha-256=:{base64.b64encode(digest).decode('ascii')}:"


def _content_digest(digest: Optional[str]) -> Optional[str]:
    """`sha-256=:…:` as it is, or made of 64 hexadecimal digits."""
    if digest is None or text("digest", digest).startswith("sha-256=:"):
        return digest
    try:
        raw = bytes.fromhex(digest)
    except ValueError:
        raw = b""
    if len(raw) != 32:
        raise InvalidArgument("a digest is 64 hexadecimal digits of SHA-256, or `sha-256=:BASE64:`")
    return _sha256(raw)


def commit(
    core: Core,
    dataset: str,
    version: int,
    parts: Optional[Sequence[str]],
    activate: Optional[bool],
    deadline: Optional[float],
) -> Call[Version]:
    """Closes the push. The same commit again is harmless, so it needs no key."""
    body: dict[str, object] = {}
    if parts is not None:
        if isinstance(parts, str):
            raise InvalidArgument("parts is a list of names, not one name")
        body["parts"] = list(parts)
    if activate is not None:
        body["activate"] = activate
    request = Request("POST", f"{version_path(dataset, version)}/commit", compact(body), (JSON,), deadline=deadline)
    answer = yield from ask_in_progress(core, request)
    return Version.of(answer)


def abort(core: Core, dataset: str, version: int, deadline: Optional[float]) -> Call[None]:
    """Gives the push up. One that is given up already, or was never begun, is as it should be."""
    request = Request("DELETE", version_path(dataset, version), deadline=deadline)
    try:
        yield from ask(core, request, json_answer(core), core.changes)
    except ApiError as error:
        if error.code not in ("version_deleted", "version_not_found"):
            raise


def parts(core: Core, dataset: str, version: int, deadline: Optional[float]) -> Call[list[Part]]:
    """What has arrived, or what the commit named."""
    found: list[Part] = []
    cursor = ""
    while True:
        path = f"{version_path(dataset, version)}/parts?limit=1000{cursor}"
        answer = yield from ask(core, Request("GET", path, deadline=deadline), json_answer(core), core.changes)
        found += [Part.of(one) for one in answer["parts"]]
        if answer.get("next") is None:
            return found
        cursor = f"&cursor={quote(answer['next'], safe='')}"


def version_resource(core: Core, dataset: str, version: int, deadline: Optional[float], wait: int = 0) -> Call[Version]:
    path = version_path(dataset, version) + (f"?wait={wait}" if wait else "")
    request = Request("GET", path, deadline=deadline, patience=wait + 30.0)
    answer = yield from ask(core, request, json_answer(core), core.changes)
    return Version.of(answer)


def settle(core: Core, dataset: str, version: int, deadline: Optional[float]) -> Call[Version]:
    """Waits until the server is through with a committed version; raises why it is of no use."""
    asked = 0
    while True:
        wait = WAIT_SECONDS
        if deadline is not None:
            left = deadline - core.clock()
            if left <= 0:
                raise DeadlineExceeded(
                    f"the server was not through with version {version} of {dataset} in time; it goes on by itself"
                )
            wait = max(1, min(wait, int(left)))
        try:
            found = yield from version_resource(core, dataset, version, deadline, wait)
        except DeadlineExceeded:
            continue
        if found.state not in ("receiving", "building", "verifying") and found.progress is None:
            waits = found.state == "ready" and found.activate and not found.held
            if not waits or found.detail or found.reason or asked >= LAST_WORDS:
                return checked(found)
            asked += 1
        yield Pause(0.1)


def checked(version: Version) -> Version:
    """The version, if it serves or may serve; else the error that says why it does not."""
    why = version.detail or version.reason or "the server does not say why"
    name = f"version {version.version} of {version.dataset}"
    told = dict(version.raw, problems=version.problems, retryable=False)
    if version.state in ("active", "retired") or (version.state == "ready" and version.code is None):
        return version
    if version.state == "ready":
        raise ActivationFailed(
            503, version.code or "version_unusable", f"{name} is ready, and not current: {why}", None, told
        )
    if version.state == "rejected":
        raise GateRefused(422, version.code or "gate_refused", f"{name} was rejected: {why}", None, told)
    if version.state == "failed":
        code = version.code or "failed"
        refused = code in (
            "no_rows",
            "bad_rows",
            "duplicate_keys",
            "value_too_large",
            "build_limit",
            "snapshot_refused",
            "decompression_limit",
        )
        if refused:
            raise PushRefused(422, code, f"{name} failed: {why}", None, told)
        raise ServerError(507 if code.startswith("disk_") else 500, code, f"{name} failed: {why}", None, told)
    if version.state == "bad":
        raise Conflict(409, "rolled_back", f"{name} was rolled back from: {why}", None, told)
    raise Conflict(409, "version_deleted", f"{name} is {version.state}", None, told)
