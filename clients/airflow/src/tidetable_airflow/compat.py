"""Where Airflow 3 and Airflow 2 keep what is needed here: the only file that knows of both."""

from __future__ import annotations

from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

try:  # Airflow 3
    from airflow.sdk import BaseHook, BaseOperator, BaseSensorOperator
except ImportError:  # Airflow 2
    from airflow.hooks.base import BaseHook
    from airflow.models import BaseOperator
    from airflow.sensors.base import BaseSensorOperator

try:
    from airflow.sdk.exceptions import AirflowException, AirflowFailException
except ImportError:
    from airflow.exceptions import AirflowException, AirflowFailException

try:
    from airflow.sdk.configuration import conf
except ImportError:
    from airflow.configuration import conf

__all__ = [
    "AirflowException", "AirflowFailException", "BaseHook", "BaseOperator", "BaseSensorOperator",
    "BaseTrigger", "TriggerEvent", "aget_connection", "deferrable_by_default",
]


def deferrable_by_default() -> bool:
    """What the installation wants of operators that can be deferred."""
    return bool(conf.getboolean("operators", "default_deferrable", fallback=False))


async def aget_connection(conn_id: str) -> Any:
    """A connection, in a trigger: its event loop must not be blocked."""
    asked = getattr(BaseHook, "aget_connection", None)
    if asked is not None:
        return await asked(conn_id)
    from asgiref.sync import sync_to_async

    return await sync_to_async(BaseHook.get_connection)(conn_id)
