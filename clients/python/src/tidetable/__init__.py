"""Tidetable for Python: look up what batch jobs pushed, and push it.

from tidetable import Client

with Client("http://tidetable:7070") as client:
    client.publish(rows, "course-recs", key="learner_id", collect=True)
    recs = client.get("course-recs", 42)
"""

from .aio import AsyncClient
from .client import Client
from .errors import (
    ActivationFailed,
    ApiError,
    BrokenConnection,
    ClientClosed,
    Conflict,
    ConnectError,
    DeadlineExceeded,
    Erased,
    Forbidden,
    GateRefused,
    InvalidArgument,
    InvalidRequest,
    NotFound,
    PushRefused,
    ServerError,
    TidetableError,
    TransportError,
    Unauthorized,
    Unavailable,
)
from .found import Answers, Entry, Found, Record
from .keys import Key
from .push import AsyncPushSession, PushSession
from .push_options import PushOptions
from .resources import Dataset, Diff, Event, Held, Moved, Part, Released, Version
from .settings import CachePolicy, Settings
from .views import AsyncScan, AsyncSnapshot, Scan, Snapshot

__version__ = "0.1.0"

__all__ = [
    "ActivationFailed",
    "Answers",
    "ApiError",
    "AsyncClient",
    "AsyncPushSession",
    "AsyncScan",
    "AsyncSnapshot",
    "BrokenConnection",
    "CachePolicy",
    "Client",
    "ClientClosed",
    "Conflict",
    "ConnectError",
    "Dataset",
    "DeadlineExceeded",
    "Diff",
    "Entry",
    "Erased",
    "Event",
    "Forbidden",
    "Found",
    "GateRefused",
    "Held",
    "InvalidArgument",
    "InvalidRequest",
    "Key",
    "Moved",
    "NotFound",
    "Part",
    "PushOptions",
    "PushRefused",
    "PushSession",
    "Record",
    "Released",
    "Scan",
    "ServerError",
    "Settings",
    "Snapshot",
    "TidetableError",
    "TransportError",
    "Unauthorized",
    "Unavailable",
    "Version",
]
