"""What can go wrong, as classes: one `except TidetableError` catches all of it.

    TidetableError
    ├── ApiError            the server answered, and not with success: code, status, detail, request_id
    │   ├── InvalidRequest      400, 413, 414, 415: what was asked cannot be
    │   ├── Unauthorized        401: no token, or one that is not good
    │   ├── Forbidden           403: the token is not for this
    │   ├── NotFound            404, 410: no such dataset or version, or not any more. Never an absent key
    │   ├── Erased              410: the key was erased, and who asks may know it
    │   ├── Conflict            409: nothing was done; `code` says why. Also `idempotency_key_reused`, which is a 422
    │   ├── PushRefused         422: the data cannot be a version; `problems` names rows
    │   │   └── GateRefused         a gate refused the version; `gates` names them
    │   ├── ActivationFailed    the version is ready, and could not be made current
    │   ├── Unavailable         429, 502, 503, 504: later, perhaps
    │   └── ServerError         500, 507 and what else there is
    ├── TransportError      no whole answer came
    │   ├── ConnectError        there was no connection: nothing was asked
    │   └── BrokenConnection    it broke, or what came is no whole answer
    ├── DeadlineExceeded    the total timeout is over (a TimeoutError, too)
    ├── ClientClosed        the client was used after `close`
    └── InvalidArgument     refused before anything was asked (a ValueError, too)

No text of an error has a token in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional


class TidetableError(Exception):
    """All that this package raises."""


class InvalidArgument(TidetableError, ValueError):
    """What was given cannot be asked; nothing was sent."""


class ClientClosed(TidetableError):
    """The client was closed before."""


class DeadlineExceeded(TidetableError, TimeoutError):
    """The total timeout of a call is over."""


class TransportError(TidetableError):
    """No whole answer came."""


class ConnectError(TransportError):
    """No connection could be made; nothing was asked."""


class BrokenConnection(TransportError):
    """The connection broke before the whole answer, or what came is no answer of a Tidetable server."""


class ApiError(TidetableError):
    """The server said no.

    `code` is stable and for programs, None if the answer had no problem document; `detail` is for
    people. `problem` has all members of the problem document.
    """

    def __init__(
        self,
        status: int,
        code: Optional[str],
        detail: str,
        request_id: Optional[str] = None,
        problem: Optional[Mapping[str, Any]] = None,
    ) -> None:
        super().__init__(status, code, detail, request_id)
        self.status = status
        self.code = code
        self.detail = detail
        self.request_id = request_id
        self.problem: dict[str, Any] = dict(problem or {})

    def __str__(self) -> str:
        told = f" (request {self.request_id})" if self.request_id else ""
        code = f" {self.code}" if self.code else ""
        return f"{self.status}{code}: {self.detail}{told}"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.status, self.code, self.detail, self.request_id, self.problem)

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later, as it is."""
        return bool(self.problem.get("retryable", False))

    @property
    def version(self) -> Optional[int]:
        """The version that the error is about, if it names one."""
        version = self.problem.get("version")
        return version if isinstance(version, int) else None

    @property
    def problems(self) -> list[str]:
        """What is wrong with the rows of a push, one text each."""
        found = self.problem.get("problems")
        return [str(text) for text in found] if isinstance(found, list) else []

    @property
    def gates(self) -> list[dict[str, Any]]:
        """The gates that did not pass: `gate`, `limit`, `observed`, `detail`."""
        found = self.problem.get("gates")
        gates = found if isinstance(found, list) else []
        return [dict(gate) for gate in gates if isinstance(gate, dict) and not gate.get("passed")]


class InvalidRequest(ApiError):
    """What was asked cannot be: a name, a key, an option, a size."""


class Unauthorized(ApiError):
    """No token, or one that is not good."""


class Forbidden(ApiError):
    """The token is good, and not for this."""


class NotFound(ApiError):
    """No such dataset or version (404), or not any more (410)."""


class Erased(ApiError):
    """The key was erased: no version gives it."""


class Conflict(ApiError):
    """Nothing was done, because of how things stand."""


class PushRefused(ApiError):
    """The data cannot be a version."""


class GateRefused(PushRefused):
    """A gate refused the version: it is kept as `rejected`, and what served before serves on."""


class ActivationFailed(ApiError):
    """The version is ready, and could not be made current."""


class Unavailable(ApiError):
    """The server, or what stands before it, cannot answer now."""


class ServerError(ApiError):
    """The server failed."""


_BY_CODE: dict[str, type[ApiError]] = {
    "gate_refused": GateRefused,
    "erased": Erased,
    # A 422, but nothing is wrong with the data: the key stands for another request.
    "idempotency_key_reused": Conflict,
}
_BY_STATUS: dict[int, type[ApiError]] = {
    400: InvalidRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: NotFound,
    413: InvalidRequest,
    414: InvalidRequest,
    415: InvalidRequest,
    422: PushRefused,
    429: Unavailable,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def api_error(problem: Mapping[str, Any], status: int, request_id: Optional[str] = None) -> ApiError:
    """The error that a problem document is."""
    code = problem.get("code")
    code = code if isinstance(code, str) else None
    detail = problem.get("detail") or problem.get("title") or "the answer does not say why"
    kind = _BY_CODE.get(code or "") or _BY_STATUS.get(status, ServerError)
    told = problem.get("request_id")
    return kind(status, code, str(detail), told if isinstance(told, str) else request_id, problem)
