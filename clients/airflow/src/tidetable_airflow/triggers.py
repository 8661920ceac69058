"""What waits in Airflow's triggerer while a version is built, or until one serves."""

from __future__ import annotations

import asyncio
from typing import Any, AsyncIterator, Dict, Optional, Tuple

from tidetable import Version, errors

from .compat import BaseTrigger, TriggerEvent
from .hook import TidetableHook


class TidetableSettledTrigger(BaseTrigger):  # type: ignore[misc]
    """Fires once nothing happens to a version by itself any more. The operator asks what came of it."""

    def __init__(
        self, tidetable_conn_id: str, dataset: str, version: int, poll_interval: float = 5.0
    ) -> None:
        super().__init__()
        self.tidetable_conn_id = tidetable_conn_id
        self.dataset = dataset
        self.version = version
        self.poll_interval = poll_interval

    def serialize(self) -> Tuple[str, Dict[str, Any]]:
        # The connection by name: no token is kept in Airflow's database on its account.
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "tidetable_conn_id": self.tidetable_conn_id,
            "dataset": self.dataset,
            "version": self.version,
            "poll_interval": self.poll_interval,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        hook = await TidetableHook.in_trigger(self.tidetable_conn_id)
        while True:
            version = await _patiently(self, hook.get_conn().version, self.dataset, self.version)
            if version is not None and not is_under_way(version):
                yield TriggerEvent({"dataset": self.dataset, "version": self.version})
                return
            await asyncio.sleep(self.poll_interval)


class TidetableServesTrigger(BaseTrigger):  # type: ignore[misc]
    """Fires once a dataset serves a version that is wanted."""

    def __init__(
        self, tidetable_conn_id: str, dataset: str, wanted: Dict[str, Any], poll_interval: float
    ) -> None:
        super().__init__()
        self.tidetable_conn_id = tidetable_conn_id
        self.dataset = dataset
        self.wanted = wanted
        self.poll_interval = poll_interval

    def serialize(self) -> Tuple[str, Dict[str, Any]]:
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "tidetable_conn_id": self.tidetable_conn_id,
            "dataset": self.dataset,
            "wanted": self.wanted,
            "poll_interval": self.poll_interval,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        from .sensors import serving

        hook = await TidetableHook.in_trigger(self.tidetable_conn_id)
        while True:
            found = await _patiently(self, serving, hook, self.dataset, self.wanted)
            if found is not None:
                yield TriggerEvent(found)
                return
            await asyncio.sleep(self.poll_interval)


def is_under_way(version: Version) -> bool:
    """Whether something will happen to it by itself."""
    return version.progress is not None or version.state in ("receiving", "building", "verifying")


async def _patiently(trigger: Any, ask: Any, *arguments: Any) -> Optional[Any]:
    """One question, off the event loop. A server that is away is asked again; what is definite is raised."""
    try:
        return await asyncio.to_thread(ask, *arguments)
    except (errors.TransportError, errors.DeadlineExceeded, errors.Unavailable) as error:
        trigger.log.warning("%s; asked again in %s s", error, trigger.poll_interval)
        return None
