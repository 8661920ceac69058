"""What a call may end with instead of an answer."""

from __future__ import annotations

import json
from typing import Any

from wrongs import wrong


class Fault(Exception):
    kind = "usage"
    code: str | None = None
    status: int | None = None
    detail: str | None = None
    request_id: str | None = None
    # The version that an answer was read from, also one that is an error.
    version: int | None = None


class Usage(Fault):
    """Refused before anything was sent."""


class TimedOut(Fault):
    kind = "timeout"


class Broken(Fault):
    kind = "connection"


class Refused(Fault):
    """The server, or something before it, answered with an error."""

    kind = "http"

    def __init__(self, status: int, problem: dict[str, Any], request_id: str | None) -> None:
        self.status = status
        self.code = None if wrong("error_without_code") else problem.get("code")
        self.detail, self.request_id = problem.get("detail"), problem.get("request_id") or request_id
        super().__init__(f"{status} {self.code}: {self.detail} (request {self.request_id})")


def refused(status: int, headers: dict[str, str], body: bytes) -> Refused:
    """The error that an answer is."""
    try:
        problem = json.loads(body)
    except ValueError:
        if wrong("error_must_be_json"):
            raise Broken("the error is no JSON") from None
        problem = {}
    return Refused(status, problem if isinstance(problem, dict) else {}, headers.get("x-request-id"))
