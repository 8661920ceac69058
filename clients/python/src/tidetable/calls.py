"""What both clients have in common: a call is a generator that yields what it wants done.

It yields a `Request` and gets the `Response`, or the failure is thrown into it; it yields a `Pause`, or
some `Work` that blocks. Who drives it (`client.py` with threads, `aio.py` with asyncio) does that and nothing else, so that what
is asked, retried, cut and kept is the same code for both, and can be tested without either.
"""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Generator
from typing import Any, Callable, NamedTuple, Optional, TypeVar, Union

from .cache import Cache
from .errors import ApiError, BrokenConnection, ConnectError, InvalidArgument, TransportError, api_error
from .http1 import Body, Buffer, Request, Response
from .retries import RETRIED_STATUS, Budget, Patience, retry_after
from .settings import USER_AGENT, Address, Settings, header_value

T = TypeVar("T")


class Pause(NamedTuple):
    """Wait so many seconds."""

    seconds: float


class Work(NamedTuple):
    """Something that blocks or computes for long: its result is sent back."""

    function: Callable[[], Any]


Effect = Union[Request, Pause, Work]
Call = Generator[Effect, Any, T]

# Of a push without a timeout: more than so many seconds are not waited.
LONGEST_RETRY_AFTER = 600.0

_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
JSON: tuple[str, bytes] = ("Content-Type", b"application/json")


class Core:
    """What the calls of one client share."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings.resolved()
        self.address = Address.parse(self.settings.base_url)
        self.common = _common_headers(self.address, self.settings)
        self.reads = Patience(self.settings.max_tries)
        tries = self.settings.max_tries
        # A push outlives the restart of a server; a page that waits for a lookup does not.
        self.changes = Patience(max(tries, 6) if tries > 1 else 1, 0.3, 10.0)
        self.budget = Budget()
        self.cache = Cache(self.settings.cache) if self.settings.cache is not None else None
        self._loads = self.settings.loads
        self.clock: Callable[[], float] = time.monotonic
        self.draw: Callable[[], float] = random.random

    def deadline(self) -> float:
        """When a read that begins now has to be done."""
        return self.clock() + self.settings.total_timeout

    def loads(self, text: Buffer) -> Any:
        """JSON that came from the server; cut off it is a broken connection, never a value."""
        try:
            if self._loads is not None:
                return self._loads(bytes(text))
            return json.loads(str(text, "utf-8"))
        except ValueError as error:
            raise BrokenConnection(f"the answer is no whole JSON: {error}") from error


def _common_headers(address: Address, settings: Settings) -> bytes:
    lines = [b"Host: " + address.authority.encode("ascii")]
    lines.append(b"User-Agent: " + USER_AGENT.encode())
    if settings.token:
        lines.append(b"Authorization: Bearer " + header_value("token", settings.token))
    return b"\r\n".join(lines) + b"\r\n"


def ask(
    core: Core,
    request: Request,
    read: Callable[[Response], T],
    patience: Optional[Patience] = None,
    unsure: Optional[list[Exception]] = None,
) -> Call[T]:
    """Asks, again where that may help, and gives what `read` makes of the answer.

    `read` raises `BrokenConnection` for what is no whole answer, and `ApiError` for a refusal. `unsure` gets the failures
    after which nobody knows whether the request was done.
    """
    policy = core.reads if patience is None else patience
    if patience is None:
        core.budget.called()
    tried = 0
    while True:
        tried += 1
        failure: Exception
        after = 0.0
        try:
            response = yield request
            if response.status not in RETRIED_STATUS:
                return read(response)
            failure = refusal(response)
            after = retry_after(response.headers.get("retry-after"))
            if not request.idempotent and response.status != 429:
                raise failure
        except TransportError as error:
            if not isinstance(error, ConnectError) and not request.idempotent:
                raise
            failure = error
        if unsure is not None and not isinstance(failure, ConnectError) and getattr(failure, "status", 0) != 429:
            unsure.append(failure)
        body = request.body
        if isinstance(body, Body) and not body.again:
            raise failure
        pause = after + policy.pause(tried, core.draw)
        if request.deadline is None:
            late = after > LONGEST_RETRY_AFTER
        else:
            late = core.clock() + pause >= request.deadline
        # What is not made takes nothing from the budget.
        if late or tried >= policy.tries or (patience is None and not core.budget.take()):
            raise failure
        yield Pause(pause)


def refusal(response: Response) -> ApiError:
    """The error that an answer is which is no success."""
    problem: Any = None
    if response.headers.get("content-type", "").startswith(("application/problem+json", "application/json")):
        try:
            problem = json.loads(response.body)
        except ValueError:
            problem = None
    if not isinstance(problem, dict):
        problem = {"detail": f"{_said(response)}, and no problem document"}
    return api_error(problem, response.status, response.headers.get("x-request-id"))


def _said(response: Response) -> str:
    where = response.headers.get("location")
    if 300 <= response.status < 400 and where:
        return f"a redirect to {where[:200]!r}, which is not followed"
    return f"{response.status} came"


def json_answer(core: Core) -> Callable[[Response], Any]:
    """Reads a success as JSON."""

    def read(response: Response) -> Any:
        if not 200 <= response.status < 300:
            raise refusal(response)
        answer = core.loads(response.body)
        if not isinstance(answer, dict):
            raise BrokenConnection("the answer is no JSON object")
        return answer

    return read


def compact(value: Any) -> bytes:
    """JSON to send."""
    try:
        return _ENCODER.encode(value).encode("utf-8")
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"what is to be sent cannot be written as JSON: {error}") from error


def idempotency_key(given: Optional[str]) -> bytes:
    """As a header: the caller's own, or one of this call alone."""
    return header_value("idempotency_key", given if given is not None else f"py-{uuid.uuid4().hex}")
