"""The client for threads."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Optional, TypeVar, Union

from . import batches, lookups, operations, push_calls
from .calls import Call, Core, Pause
from .found import Answers, Entry, Found
from .http1 import Request
from .keys import Key
from .paths import Fields
from .publish import RowData, publish_call
from .push import PushSession, ends
from .push_options import PushOptions
from .resources import Dataset, Diff, Event, Held, Moved, Released, Version
from .scans import PAGE_RECORDS
from .settings import CachePolicy, Loads, Settings
from .transport import SocketTransport
from .views import Scan, Snapshot

T = TypeVar("T")


class Client:
    """Reads, pushes and operates datasets over HTTP. Any number of threads may share one.

        with Client("http://tidetable:7070") as client:
            recs = client.get("course-recs", learner_id)

    `base_url` and `token` are those of the environment (TIDETABLE_SERVER, TIDETABLE_TOKEN) unless given; with
    `token=""` none is sent. A read takes no longer than `total_timeout` seconds, all tries and pauses included. Connections are made
    as they are needed, up to `pool_size`, and shared. After a fork the child may go on using it.

    `unit` is whom canaries go by; `cache` keeps values on this side; `loads` decodes JSON (`orjson.loads` is
    faster than Python's own, but gives numbers beyond 64 bits as fractions).
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
    def of(cls, settings: Settings) -> Client:
        """A client with these settings."""
        client = cls.__new__(cls)
        client._open(settings)
        return client

    def _open(self, settings: Settings) -> None:
        self._core = Core(settings)
        self._transport = SocketTransport(self._core.address, self._core.settings, self._core.common)

    @property
    def settings(self) -> Settings:
        return self._core.settings

    def close(self) -> None:
        """Closes the connections. Again is harmless."""
        self._transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self._core.settings.base_url!r})"

    def __reduce__(self) -> Any:
        return Client.of, (self._core.settings,)

    def _run(self, call: Call[T]) -> T:
        """Does what a call wants done, until it is through."""
        send = self._transport.send
        try:
            effect = next(call)
            while True:
                try:
                    if isinstance(effect, Request):
                        result: Any = send(effect)
                    elif isinstance(effect, Pause):
                        time.sleep(effect.seconds)
                        result = None
                    else:
                        result = effect.function()
                except BaseException as failure:
                    effect = call.throw(failure)
                else:
                    effect = call.send(result)
        except StopIteration as done:
            answer: T = done.value
            return answer

    # Reads

    def get(
        self,
        dataset: str,
        key: Key,
        fields: Fields = None,
        version: Optional[int] = None,
        *,
        unit: Optional[str] = None,
        raw: bool = False,
    ) -> Any:
        """The value of a key, decoded; None if the key is not there.

        (A stored JSON null is None too: `get_entry` tells them apart.) `fields`, a list or a text with commas, keeps these fields of an
        object, or of the objects in an array; `version` reads a kept version; `raw` gives the stored bytes, undecoded.
        """
        entry = self._run(lookups.get_entry(self._core, dataset, key, fields, version, unit, raw))
        return None if entry is None else entry.value

    def get_entry(
        self,
        dataset: str,
        key: Key,
        fields: Fields = None,
        version: Optional[int] = None,
        *,
        unit: Optional[str] = None,
        raw: bool = False,
    ) -> Optional[Entry]:
        """The value with its version, ETag and the instant it describes; None if the key is not there."""
        return self._run(lookups.get_entry(self._core, dataset, key, fields, version, unit, raw))

    def get_many(
        self,
        dataset: str,
        keys: Iterable[Key],
        fields: Fields = None,
        version: Optional[int] = None,
        *,
        unit: Optional[str] = None,
        raw: bool = False,
    ) -> Found:
        """A dict of the keys that are there, all of one version (`.version`), however many they are."""
        return self._run(batches.get_many(self._core, dataset, keys, fields, version, unit, raw))

    def multi(
        self,
        requests: Mapping[str, Iterable[Key]],
        fields: Optional[Mapping[str, Fields]] = None,
        versions: Optional[Mapping[str, int]] = None,
        *,
        unit: Optional[str] = None,
    ) -> Answers:
        """Keys of several datasets as they stood at one instant: `answers["recs"]["42"]`. At most 1,000 keys in all.

        One dataset that fails does not fail the others: its error is raised when it is looked at, and is in `answers.errors`.
        """
        return self._run(batches.multi(self._core, requests, fields or {}, versions or {}, unit))

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
    ) -> Scan:
        """The records whose keys begin with `prefix`, in the order of their keys, all of one version.

        Pages are asked for as they are needed; the total timeout is of each page.
        """
        return Scan(self, dataset, prefix, limit, fields, version, unit, page_size)

    def snapshot(self, dataset: str, version: Optional[int] = None) -> Snapshot:
        """Reads of one version, whatever becomes current: of the one given, or of the one that is current now."""
        if version is None:
            version = operations.current_of(self.dataset(dataset))
        return Snapshot(self, dataset, version)

    def clear_cache(self) -> None:
        """Forgets every value that is kept on this side."""
        if self._core.cache is not None:
            self._core.cache.clear()

    # Pushes

    def publish(
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
        """Pushes data as the next version of a dataset, and gives the version.

        `data`: a DataFrame of pandas or Polars, an Arrow table, batch or reader, an iterable of dicts, or a path. `key` names
        the field, or fields, that rows are looked up by. `row_options` are the fields of `PushOptions`: `collect`, `order_by`,
        `fields`, `value`, `label`, `as_of`, `activate`… It is sent in parts, as much at a time as fits a few MB.

        Returns when the version is current; or ready, if it is held or was not to be activated. Raises `GateRefused`
        if a gate refuses it, `PushRefused` if its rows cannot be a version. Whatever fails, what served before serves on.
        Without `idempotency_key` each call makes a version, and retries within the call make no second one. A job that may be run again
        names its run with it: the second run gets the version of the first.
        """
        chosen = PushOptions.given(options, key, row_options)
        call = publish_call(self._core, data, dataset, chosen, idempotency_key, wait, ends(timeout))
        return self._run(call)

    def begin(
        self,
        dataset: str,
        options: Optional[PushOptions] = None,
        *,
        idempotency_key: Optional[str] = None,
        timeout: Optional[float] = 60.0,
        **row_options: Any,
    ) -> PushSession:
        """Begins a push in parts, from this process or many; see `push.py`."""
        chosen = PushOptions.given(options, None, row_options)
        begun = self._run(push_calls.begin(self._core, dataset, chosen, idempotency_key, ends(timeout)))
        return PushSession(self, begun)

    def resume(self, dataset: str, version: int) -> PushSession:
        """The session of a push that was begun elsewhere."""
        return PushSession(self, self.version(dataset, version))

    # Operations

    def datasets(self) -> list[Dataset]:
        """All datasets, by name."""
        return self._run(operations.datasets(self._core))

    def dataset(self, dataset: str) -> Dataset:
        """One dataset as it stands."""
        return self._run(operations.dataset(self._core, dataset))

    def versions(self, dataset: str, limit: Optional[int] = None) -> list[Version]:
        """The versions of a dataset, newest first."""
        return self._run(operations.versions(self._core, dataset, limit))

    def version(self, dataset: str, version: int) -> Version:
        """One version as it stands."""
        return self._run(push_calls.version_resource(self._core, dataset, version, self._core.deadline()))

    def wait_for(self, dataset: str, version: int, timeout: Optional[float] = None) -> Version:
        """Waits until the push of a version has ended, and raises why if it is of no use."""
        return self._run(push_calls.settle(self._core, dataset, version, ends(timeout)))

    def activate(
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
        """Makes a version current. With `expect_current` only if that one is current (None: if none is)."""
        return self._run(
            operations.activate(
                self._core, dataset, version, force, reason, expect_current, idempotency_key, ends(timeout)
            )
        )

    def activate_together(
        self,
        versions: Mapping[str, int],
        *,
        force: bool = False,
        reason: Optional[str] = None,
        idempotency_key: Optional[str] = None,
        timeout: Optional[float] = 600.0,
    ) -> list[Moved]:
        """Makes versions of several datasets current at one instant: all of them or none."""
        return self._run(
            operations.activate_together(self._core, versions, force, reason, idempotency_key, ends(timeout))
        )

    def rollback(
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
        """Makes the version before current again, marks the one left behind as bad, and holds the dataset.

        Give `expect_current`, so that nobody rolls back twice.
        """
        return self._run(
            operations.rollback(self._core, dataset, to, reason, hold, expect_current, idempotency_key, ends(timeout))
        )

    def hold(self, dataset: str, *, reason: Optional[str] = None, idempotency_key: Optional[str] = None) -> Held:
        """Pushes become ready, and none is activated by itself."""
        return self._run(operations.hold(self._core, dataset, reason, idempotency_key))

    def release(
        self,
        dataset: str,
        *,
        reason: Optional[str] = None,
        idempotency_key: Optional[str] = None,
        timeout: Optional[float] = 600.0,
    ) -> Released:
        """Ends a hold, and activates the newest ready version whose push asked for it."""
        return self._run(operations.release(self._core, dataset, reason, idempotency_key, ends(timeout)))

    def diff(
        self, dataset: str, from_version: int, to_version: int, *, samples: int = 5, timeout: Optional[float] = 600.0
    ) -> Diff:
        """How two kept versions differ. Both are read whole."""
        return self._run(operations.diff(self._core, dataset, from_version, to_version, samples, ends(timeout)))

    def history(self, dataset: str, limit: Optional[int] = None) -> list[Event]:
        """What happened to a dataset, newest first."""
        return self._run(operations.history(self._core, dataset, limit))

    def config(self, dataset: str) -> Mapping[str, Any]:
        """The settings of a dataset."""
        return self.dataset(dataset).config

    def configure(self, dataset: str, **settings: Any) -> Dataset:
        """Makes the dataset, or changes these settings of it and leaves the others: `retain`, `gates`, `owner`…"""
        return self._run(operations.configure(self._core, dataset, settings))

    def delete_version(self, dataset: str, version: int) -> None:
        """Aborts a push, or deletes a version that nobody serves."""
        self._run(operations.delete(self._core, dataset, version))

    def delete_dataset(self, dataset: str) -> None:
        """Deletes a dataset with all its versions."""
        self._run(operations.delete(self._core, dataset, None))
