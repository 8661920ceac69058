"""The client for asyncio: the calls of `Client`, awaited."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Optional, TypeVar, Union

from . import batches, lookups, operations, push_calls
from .aio_transport import AsyncTransport
from .calls import Call, Core, Pause
from .found import Answers, Entry, Found
from .http1 import Request
from .keys import Key
from .paths import Fields
from .publish import RowData, publish_call
from .push import AsyncPushSession, ends
from .push_options import PushOptions
from .resources import Dataset, Diff, Event, Held, Moved, Released, Version
from .scans import PAGE_RECORDS
from .settings import CachePolicy, Loads, Settings
from .views import AsyncScan, AsyncSnapshot

T = TypeVar("T")


class AsyncClient:
    """The same as `Client`, for one event loop: options, calls and guarantees are those documented there.

        async with AsyncClient("http://tidetable:7070") as client:
            recs = await client.get("course-recs", learner_id)

    Any number of tasks may share one. A call that is cancelled closes its connection.
    """

    def __init__(
        self,
        base_url: str = "",
        *,
        token: Optional[str] = None,
        connect_timeout: float = 1.0,
        total_timeout: float = 5.0,
        pool_size: int = 10,
        max_tries: int = 3,
        unit: Optional[str] = None,
        cache: Optional[CachePolicy] = None,
        loads: Optional[Loads] = None,
        ca_file: Optional[str] = None,
        ssl_context: Optional[ssl.SSLContext] = None,
    ) -> None:
        self._open(
            Settings(
                base_url,
                token,
                connect_timeout,
                total_timeout,
                pool_size,
                max_tries,
                unit,
                cache,
                loads,
                ca_file,
                ssl_context,
            )
        )

    @classmethod
    def of(cls, settings: Settings) -> AsyncClient:
        """A client with these settings."""
        client = cls.__new__(cls)
        client._open(settings)
        return client

    def _open(self, settings: Settings) -> None:
        self._core = Core(settings)
        self._transport = AsyncTransport(self._core.address, self._core.settings, self._core.common)

    @property
    def settings(self) -> Settings:
        return self._core.settings

    async def close(self) -> None:
        """Closes the connections. Again is harmless."""
        self._transport.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncClient({self._core.settings.base_url!r})"

    def __reduce__(self) -> Any:
        return AsyncClient.of, (self._core.settings,)

    async def _run(self, call: Call[T]) -> T:
        """Does what a call wants done, until it is through."""
        try:
            effect = next(call)
            while True:
                try:
                    if isinstance(effect, Request):
                        result: Any = await self._transport.send(effect)
                    elif isinstance(effect, Pause):
                        await asyncio.sleep(effect.seconds)
                        result = None
                    else:
                        result = await asyncio.get_running_loop().run_in_executor(None, effect.function)
                except BaseException as failure:
                    effect = call.throw(failure)
                else:
                    effect = call.send(result)
        except StopIteration as done:
            answer: T = done.value
            return answer

    # Reads

    async def get(
        self,
        dataset: str,
        key: Key,
        fields: Fields = None,
        version: Optional[int] = None,
        *,
        unit: Optional[str] = None,
        raw: bool = False,
    ) -> Any:
        entry = await self._run(lookups.get_entry(self._core, dataset, key, fields, version, unit, raw))
        return None if entry is None else entry.value

    async def get_entry(
        self,
        dataset: str,
        key: Key,
        fields: Fields = None,
        version: Optional[int] = None,
        *,
        unit: Optional[str] = None,
        raw: bool = False,
    ) -> Optional[Entry]:
        return await self._run(lookups.get_entry(self._core, dataset, key, fields, version, unit, raw))

    async def get_many(
        self,
        dataset: str,
        keys: Iterable[Key],
        fields: Fields = None,
        version: Optional[int] = None,
        *,
        unit: Optional[str] = None,
        raw: bool = False,
    ) -> Found:
        return await self._run(batches.get_many(self._core, dataset, keys, fields, version, unit, raw))

    async def multi(
        self,
        requests: Mapping[str, Iterable[Key]],
        fields: Optional[Mapping[str, Fields]] = None,
        versions: Optional[Mapping[str, int]] = None,
        *,
        unit: Optional[str] = None,
    ) -> Answers:
        return await self._run(batches.multi(self._core, requests, fields or {}, versions or {}, unit))

    def scan(
        self,
        dataset: str,
        prefix: Union[str, bytes] = "",
        limit: Optional[int] = None,
        fields: Fields = None,
        version: Optional[int] = None,
        *,
        unit: Optional[str] = None,
        page_size: int = PAGE_RECORDS,
    ) -> AsyncScan:
        """`async for key, value in client.scan(…)`."""
        return AsyncScan(self, dataset, prefix, limit, fields, version, unit, page_size)

    async def snapshot(self, dataset: str, version: Optional[int] = None) -> AsyncSnapshot:
        if version is None:
            version = operations.current_of(await self.dataset(dataset))
        return AsyncSnapshot(self, dataset, version)

    def clear_cache(self) -> None:
        if self._core.cache is not None:
            self._core.cache.clear()

    # Pushes

    async def publish(
        self,
        data: RowData,
        dataset: str,
        *,
        key: Union[None, str, Sequence[str]] = None,
        options: Optional[PushOptions] = None,
        idempotency_key: Optional[str] = None,
        wait: bool = True,
        timeout: Optional[float] = None,
        **row_options: Any,
    ) -> Version:
        """As `Client.publish`. Rows are turned into parts on a thread of the loop's executor."""
        chosen = PushOptions.given(options, key, row_options)
        call = publish_call(self._core, data, dataset, chosen, idempotency_key, wait, ends(timeout))
        return await self._run(call)

    async def begin(
        self,
        dataset: str,
        options: Optional[PushOptions] = None,
        *,
        idempotency_key: Optional[str] = None,
        timeout: Optional[float] = 60.0,
        **row_options: Any,
    ) -> AsyncPushSession:
        chosen = PushOptions.given(options, None, row_options)
        begun = await self._run(push_calls.begin(self._core, dataset, chosen, idempotency_key, ends(timeout)))
        return AsyncPushSession(self, begun)

    async def resume(self, dataset: str, version: int) -> AsyncPushSession:
        return AsyncPushSession(self, await self.version(dataset, version))

    # Operations

    async def datasets(self) -> list[Dataset]:
        return await self._run(operations.datasets(self._core))

    async def dataset(self, dataset: str) -> Dataset:
        return await self._run(operations.dataset(self._core, dataset))

    async def versions(self, dataset: str, limit: Optional[int] = None) -> list[Version]:
        return await self._run(operations.versions(self._core, dataset, limit))

    async def version(self, dataset: str, version: int) -> Version:
        return await self._run(push_calls.version_resource(self._core, dataset, version, self._core.deadline()))

    async def wait_for(self, dataset: str, version: int, timeout: Optional[float] = None) -> Version:
        return await self._run(push_calls.settle(self._core, dataset, version, ends(timeout)))

    async def activate(
        self,
        dataset: str,
        version: int,
        *,
        force: bool = False,
        reason: Optional[str] = None,
        expect_current: Union[None, int, operations.Unsaid] = operations.UNSAID,
        idempotency_key: Optional[str] = None,
        timeout: Optional[float] = 600.0,
    ) -> Moved:
        return await self._run(
            operations.activate(
                self._core, dataset, version, force, reason, expect_current, idempotency_key, ends(timeout)
            )
        )

    async def activate_together(
        self,
        versions: Mapping[str, int],
        *,
        force: bool = False,
        reason: Optional[str] = None,
        idempotency_key: Optional[str] = None,
        timeout: Optional[float] = 600.0,
    ) -> list[Moved]:
        return await self._run(
            operations.activate_together(self._core, versions, force, reason, idempotency_key, ends(timeout))
        )

    async def rollback(
        self,
        dataset: str,
        *,
        to: Optional[int] = None,
        reason: Optional[str] = None,
        hold: bool = True,
        expect_current: Union[None, int, operations.Unsaid] = operations.UNSAID,
        idempotency_key: Optional[str] = None,
        timeout: Optional[float] = 600.0,
    ) -> Moved:
        return await self._run(
            operations.rollback(self._core, dataset, to, reason, hold, expect_current, idempotency_key, ends(timeout))
        )

    async def hold(self, dataset: str, *, reason: Optional[str] = None, idempotency_key: Optional[str] = None) -> Held:
        return await self._run(operations.hold(self._core, dataset, reason, idempotency_key))

    async def release(
        self,
        dataset: str,
        *,
        reason: Optional[str] = None,
        idempotency_key: Optional[str] = None,
        timeout: Optional[float] = 600.0,
    ) -> Released:
        return await self._run(operations.release(self._core, dataset, reason, idempotency_key, ends(timeout)))

    async def diff(
        self, dataset: str, from_version: int, to_version: int, *, samples: int = 5, timeout: Optional[float] = 600.0
    ) -> Diff:
        return await self._run(operations.diff(self._core, dataset, from_version, to_version, samples, ends(timeout)))

    async def history(self, dataset: str, limit: Optional[int] = None) -> list[Event]:
        return await self._run(operations.history(self._core, dataset, limit))

    async def config(self, dataset: str) -> Mapping[str, Any]:
        return (await self.dataset(dataset)).config

    async def configure(self, dataset: str, **settings: Any) -> Dataset:
        return await self._run(operations.configure(self._core, dataset, settings))

    async def delete_version(self, dataset: str, version: int) -> None:
        await self._run(operations.delete(self._core, dataset, version))

    async def delete_dataset(self, dataset: str) -> None:
        await self._run(operations.delete(self._core, dataset, None))
