"""A push in parts, from one process or many.

    session = client.begin("course-recs", PushOptions(key="learner_id", format="ndjson"))
    session.put_part("task-0", b'{"learner_id":42,…}\n')
    version = session.commit(["task-0"])

A session can be pickled: it takes with it where the server is, the token, and which version it is
about. On the other side it makes its own connections. So a driver begins, executors put their parts,
and the driver commits exactly those of the tasks that count; parts of tasks that were tried twice, under other names, are dropped.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Optional

from . import push_calls
from .arguments import seconds
from .push_calls import PartData
from .resources import Part, Version
from .settings import Settings

if TYPE_CHECKING:
    from .aio import AsyncClient
    from .client import Client


def ends(timeout: Optional[float]) -> Optional[float]:
    """The instant that a timeout of seconds means. None: as long as it goes on."""
    return None if timeout is None else time.monotonic() + seconds("timeout", timeout, 0.0)


class PushSession:
    """One push that was begun: `dataset` and `version` say which."""

    def __init__(self, client: Client, begun: Version) -> None:
        self.dataset = begun.dataset
        self.version = begun.version
        self.begun = begun
        self._settings: Settings = client.settings
        self._client: Optional[Client] = client
        self._own = False

    def put_part(
        self, name: str, data: PartData, digest: Optional[str] = None, *, timeout: Optional[float] = None
    ) -> Part:
        """Sends one part; the same name again takes its place. It is on the server's disk when this returns.

        `data`: bytes, a `pathlib.Path`, an iterable of bytes (sent once, so not tried again), or a function that
        gives such an iterable each time. `digest`: SHA-256 in hexadecimal digits, if it is known.
        """
        return self._opened()._run(
            push_calls.put_part(self._core(), self.dataset, self.version, name, data, digest, ends(timeout))
        )

    def parts(self) -> list[Part]:
        """What has arrived."""
        return self._opened()._run(push_calls.parts(self._core(), self.dataset, self.version, None))

    def commit(
        self,
        parts: Optional[Sequence[str]] = None,
        *,
        activate: Optional[bool] = None,
        wait: bool = True,
        timeout: Optional[float] = None,
    ) -> Version:
        """Closes the push: the version is made of exactly these parts, in this order, the others are dropped.

        Waits until it is active, or ready if it is not to be activated (held, parked); raises `GateRefused` and the like if it
        cannot be used. With `wait=False` it returns once the server has taken the commit.
        """
        deadline = ends(timeout)
        client, core = self._opened(), self._core()
        version = client._run(push_calls.commit(core, self.dataset, self.version, parts, activate, deadline))
        if not wait:
            return version
        return client._run(push_calls.settle(core, self.dataset, self.version, deadline))

    def abort(self) -> None:
        """Gives the push up. Again is harmless."""
        self._opened()._run(push_calls.abort(self._core(), self.dataset, self.version, ends(60.0)))

    def status(self) -> Version:
        """How the version stands."""
        return self._opened()._run(push_calls.version_resource(self._core(), self.dataset, self.version, ends(60.0)))

    def close(self) -> None:
        """Closes the connections of a session that came out of a pickle; those of a client are the client's."""
        if self._own and self._client is not None:
            self._client.close()
            self._client = None

    def __enter__(self) -> PushSession:
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"PushSession({self.dataset!r}, version={self.version})"

    def __getstate__(self) -> dict[str, Any]:
        return {"settings": self._settings, "begun": self.begun}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.begun = state["begun"]
        self.dataset = self.begun.dataset
        self.version = self.begun.version
        self._settings = state["settings"]
        self._client = None
        self._own = True

    def _opened(self) -> Client:
        if self._client is None:
            from .client import Client

            self._client = Client.of(self._settings)
        return self._client

    def _core(self) -> Any:
        return self._opened()._core


class AsyncPushSession:
    """The same for asyncio."""

    def __init__(self, client: AsyncClient, begun: Version) -> None:
        self.dataset = begun.dataset
        self.version = begun.version
        self.begun = begun
        self._client = client

    async def put_part(
        self, name: str, data: PartData, digest: Optional[str] = None, *, timeout: Optional[float] = None
    ) -> Part:
        core = self._client._core
        return await self._client._run(
            push_calls.put_part(core, self.dataset, self.version, name, data, digest, ends(timeout))
        )

    async def parts(self) -> list[Part]:
        return await self._client._run(push_calls.parts(self._client._core, self.dataset, self.version, None))

    async def commit(
        self,
        parts: Optional[Sequence[str]] = None,
        *,
        activate: Optional[bool] = None,
        wait: bool = True,
        timeout: Optional[float] = None,
    ) -> Version:
        deadline = ends(timeout)
        core = self._client._core
        call = push_calls.commit(core, self.dataset, self.version, parts, activate, deadline)
        version = await self._client._run(call)
        if not wait:
            return version
        return await self._client._run(push_calls.settle(core, self.dataset, self.version, deadline))

    async def abort(self) -> None:
        await self._client._run(push_calls.abort(self._client._core, self.dataset, self.version, ends(60.0)))

    async def status(self) -> Version:
        call = push_calls.version_resource(self._client._core, self.dataset, self.version, ends(60.0))
        return await self._client._run(call)

    def __repr__(self) -> str:
        return f"AsyncPushSession({self.dataset!r}, version={self.version})"
