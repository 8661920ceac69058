"""What the server tells of versions, datasets and changes, as types.

`raw` of each is the whole JSON object, with what newer servers tell besides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Optional, TypeVar

R = TypeVar("R", bound="Resource")


@dataclass(frozen=True)
class Resource:
    """One JSON object of the server."""

    raw: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls: type[R], raw: Mapping[str, Any]) -> R:
        """Takes the members that the class names; the others stay in `raw`."""
        known = {}
        for one in fields(cls):
            name = _NAMES.get(one.name, one.name)
            if one.name != "raw" and raw.get(name) is not None:
                known[one.name] = raw[name]
        return cls(raw=dict(raw), **known)


# `from` is a word of Python.
_NAMES = {"from_version": "from", "to_version": "to"}


@dataclass(frozen=True)
class Version(Resource):
    """One push of a dataset: `state` is one of receiving, building, verifying, ready, active, retired,
    failed, rejected, bad, deleted."""

    dataset: str = ""
    version: int = 0
    state: str = ""
    current: bool = False
    held: bool = False
    activate: bool = True
    label: Optional[str] = None
    as_of: Optional[str] = None
    records: Optional[int] = None
    bytes: Optional[int] = None
    content_digest: Optional[str] = None
    created_at: Optional[str] = None
    ready_at: Optional[str] = None
    activated_at: Optional[str] = None
    duplicates_dropped: int = 0
    code: Optional[str] = None
    reason: Optional[str] = None
    detail: Optional[str] = None
    problems: list[str] = field(default_factory=list)
    gates: list[dict[str, Any]] = field(default_factory=list)
    progress: Optional[dict[str, Any]] = None

    def __int__(self) -> int:
        return self.version


@dataclass(frozen=True)
class Part(Resource):
    """One part of a push, as it arrived. `digest` is `sha-256=:…:`, or empty where nobody asked for it."""

    name: str = ""
    bytes: int = 0
    digest: str = ""


@dataclass(frozen=True)
class Dataset(Resource):
    """A dataset as it stands. `config` are its settings; `waiting` is the version that a release would
    activate; `failed_push` the newest push that came to nothing, if no swap came after it."""

    dataset: str = ""
    current: Optional[int] = None
    state: str = ""
    held: bool = False
    stale: bool = False
    versions: int = 0
    records: Optional[int] = None
    bytes: Optional[int] = None
    last_push_at: Optional[str] = None
    activated_at: Optional[str] = None
    as_of: Optional[str] = None
    created_at: Optional[str] = None
    waiting: Optional[int] = None
    failed_push: Optional[dict[str, Any]] = None
    damaged: list[Any] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Moved(Resource):
    """An activation or a rollback: which version was current, and which is now."""

    dataset: str = ""
    from_version: Optional[int] = None
    to_version: int = 0
    held: bool = False
    marked_bad: Optional[int] = None


@dataclass(frozen=True)
class Held(Resource):
    """What a hold did. `changed` is false if the dataset was held before."""

    dataset: str = ""
    changed: bool = False
    held: bool = False
    reason: Optional[str] = None


@dataclass(frozen=True)
class Released(Resource):
    """What a release did. `activated` has `from` and `to`, or is None if nothing was to be activated."""

    dataset: str = ""
    held: bool = False
    activated: Optional[dict[str, Any]] = None
    detail: Optional[str] = None
    passed_over: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class Diff(Resource):
    """How two versions differ."""

    dataset: str = ""
    from_version: int = 0
    to_version: int = 0
    added: int = 0
    removed: int = 0
    changed: int = 0
    equal: int = 0
    fields: dict[str, Any] = field(default_factory=dict)
    fields_exact: bool = True
    samples: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Event(Resource):
    """One line of a dataset's history."""

    event: str = ""
    at: str = ""
    actor: str = ""
    version: Optional[int] = None
    from_version: Optional[int] = None
    to_version: Optional[int] = None
    reason: Optional[str] = None
    forced: bool = False
    request_id: Optional[str] = None
    seq: int = 0
