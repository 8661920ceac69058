"""A connection of Airflow as a client of Tidetable."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Dict, Iterator, Optional, Tuple

from tidetable import Client, Version, errors

from .compat import AirflowException, AirflowFailException, BaseHook, aget_connection

# What the server says of the request itself, and would say again.
DEFINITE = (
    errors.InvalidRequest, errors.Unauthorized, errors.Forbidden, errors.NotFound, errors.Conflict, errors.PushRefused,
    errors.InvalidArgument,
)
# Of these, a version that is still being built can be activated later.
PASSING = ("wrong_state",)


class TidetableHook(BaseHook):  # type: ignore[misc]
    """The server that a connection of type `tidetable` names.

    Host and port are the server's, the schema is `http` (unless said) or `https`, the password is
    the token: without one none is sent, whatever the worker's own `TIDETABLE_TOKEN` is. The extra may
    have `connect_timeout` and `total_timeout` (seconds), and `ca_file`.
    """

    conn_name_attr = "tidetable_conn_id"
    default_conn_name = "tidetable_default"
    conn_type = "tidetable"
    hook_name = "Tidetable"

    def __init__(self, tidetable_conn_id: str = default_conn_name, connection: Any = None) -> None:
        super().__init__()
        self.tidetable_conn_id = tidetable_conn_id
        self._connection = connection
        self._client: Optional[Client] = None

    @classmethod
    async def in_trigger(cls, tidetable_conn_id: str) -> TidetableHook:
        """One that asks Airflow for nothing more, for a trigger."""
        return cls(tidetable_conn_id, await aget_connection(tidetable_conn_id))

    @classmethod
    def get_ui_field_behaviour(cls) -> Dict[str, Any]:
        return {
            "hidden_fields": ["login"],
            "relabeling": {"password": "Token", "schema": "Scheme (http or https)"},
            "placeholders": {
                "port": "7070", "schema": "http",
                "extra": '{"total_timeout": 30, "ca_file": "/etc/ssl/tidetable-ca.pem"}',
            },
        }

    def get_conn(self) -> Client:
        """The client; one for the life of the hook."""
        if self._client is None:
            connection = self._connection or self.get_connection(self.tidetable_conn_id)
            self._client = Client(**client_settings(connection))
        return self._client

    def test_connection(self) -> Tuple[bool, str]:
        """For the button of the connection's page."""
        try:
            self.get_conn().datasets()
        except Exception as error:  # whatever it is, the page shows it
            return False, str(error)
        return True, "the server answers"


def client_settings(connection: Any) -> Dict[str, Any]:
    """What the client is made with, of a connection of Airflow."""
    host = connection.host or "127.0.0.1"
    scheme = connection.schema or "http"
    if "://" in host:
        scheme, host = host.split("://", 1)
    if scheme not in ("http", "https"):
        raise ValueError(f"the schema of the connection is {scheme!r}: it is http or https")
    extra = dict(connection.extra_dejson)
    known = ("connect_timeout", "total_timeout", "ca_file")
    unknown = sorted(set(extra) - set(known))
    if unknown:
        raise ValueError(f"the extra of the connection has {unknown[0]!r}; it takes {', '.join(known)}")
    settings: Dict[str, Any] = {"total_timeout": 60.0, **extra}
    settings["base_url"] = f"{scheme}://{host}:{connection.port or 7070}"
    # None would be the token of the worker's environment, which may be another server's.
    settings["token"] = connection.password or ""
    return settings


def told(version: Version) -> Dict[str, Any]:
    """What goes to XCom of a version."""
    kept = ("dataset", "version", "state", "current", "held", "label", "as_of", "records", "content_digest")
    return {field: getattr(version, field) for field in kept}


@contextmanager
def failures() -> Iterator[None]:
    """Errors of the client as what Airflow makes of them: those that the same request could only get
    again fail the task without further tries. Refused data stays refused, and each retry would only
    make one more version to look at.
    """
    try:
        yield
    except DEFINITE as error:
        if getattr(error, "retryable", False) or getattr(error, "code", None) in PASSING:
            raise AirflowException(str(error)) from error
        raise AirflowFailException(str(error)) from error
    except errors.TidetableError as error:
        raise AirflowException(str(error)) from error
