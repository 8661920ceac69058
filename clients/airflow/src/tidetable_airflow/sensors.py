"""A sensor that waits until a dataset serves a version that is wanted."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any, Dict, Mapping, Optional, Sequence, Union

from tidetable import Version, errors

from .compat import BaseSensorOperator, deferrable_by_default
from .hook import TidetableHook, failures, told
from .triggers import TidetableServesTrigger

# What says that the dataset serves nothing yet, rather than that something is wrong.
NOT_YET = ("dataset_not_found", "no_current_version")


class TidetableVersionSensor(BaseSensorOperator):  # type: ignore[misc]
    """Waits until the current version of a dataset is the one that is wanted. All that is said must hold.

    :param version_label: its label: that of the run that pushed it
    :param min_version: its number, or a later one
    :param as_of: its data is of this instant (RFC 3339) or later

    Nothing said: any version will do. The version goes to XCom.
    """

    template_fields: Sequence[str] = ("dataset", "version_label", "min_version", "as_of", "tidetable_conn_id")
    ui_color = "#cfe8ef"

    def __init__(
        self,
        *,
        dataset: str,
        version_label: Optional[str] = None,
        min_version: Union[int, str, None] = None,
        as_of: Optional[str] = None,
        tidetable_conn_id: str = TidetableHook.default_conn_name,
        deferrable: Optional[bool] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset = dataset
        self.version_label = version_label
        self.min_version = min_version
        self.as_of = as_of
        self.tidetable_conn_id = tidetable_conn_id
        self.deferrable = deferrable_by_default() if deferrable is None else deferrable

    def execute(self, context: Mapping[str, Any]) -> Any:
        wanted = self._wanted()
        if not self.deferrable:
            self._found: Optional[Dict[str, Any]] = None
            super().execute(context)
            return self._found
        found = self._look(wanted)
        if found is None:
            self.defer(
                trigger=TidetableServesTrigger(
                    self.tidetable_conn_id, self.dataset, wanted, self.poke_interval
                ),
                method_name="execute_complete",
                timeout=timedelta(seconds=self.timeout),
            )
        return found

    def poke(self, context: Mapping[str, Any]) -> bool:
        self._found = self._look(self._wanted())
        return self._found is not None

    def execute_complete(self, context: Mapping[str, Any], event: Dict[str, Any]) -> Dict[str, Any]:
        return event

    def _wanted(self) -> Dict[str, Any]:
        wanted = {
            "label": self.version_label,
            "min_version": None if self.min_version is None else int(self.min_version),
            "as_of": None if self.as_of is None else instant(self.as_of).isoformat(),
        }
        return {name: value for name, value in wanted.items() if value is not None}

    def _look(self, wanted: Mapping[str, Any]) -> Optional[Dict[str, Any]]:
        with failures():
            return serving(TidetableHook(self.tidetable_conn_id), self.dataset, wanted)


def serving(hook: TidetableHook, dataset: str, wanted: Mapping[str, Any]) -> Optional[Dict[str, Any]]:
    """The current version, if it is as wanted."""
    client = hook.get_conn()
    try:
        current = client.dataset(dataset).current
        version = None if current is None else client.version(dataset, current)
    except errors.NotFound as error:
        # `version_deleted`: another has taken its place in between.
        if error.code in (*NOT_YET, "version_deleted"):
            return None
        raise
    if version is None or not is_wanted(version, wanted):
        return None
    return told(version)


def is_wanted(version: Version, wanted: Mapping[str, Any]) -> bool:
    if "label" in wanted and version.label != wanted["label"]:
        return False
    if "min_version" in wanted and version.version < wanted["min_version"]:
        return False
    if "as_of" in wanted:
        return version.as_of is not None and instant(version.as_of) >= instant(wanted["as_of"])
    return True


def instant(text: str) -> datetime:
    """An instant of RFC 3339. Without a zone it is in UTC, as Airflow's dates are."""
    try:
        value = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError:
        raise ValueError(f"as_of is {text!r}: an instant such as 2026-11-26T00:00:00Z is expected") from None
    return value if value.tzinfo else value.replace(tzinfo=timezone.utc)
