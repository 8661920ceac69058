"""How rows become keys and values, and what is to be done with the version they make."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timezone
from typing import Any, Optional, Union

from .arguments import mapping, one_of, text, texts, whole
from .errors import InvalidArgument

# How every instant of RFC 3339 begins; the rest is for the server to say.
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}")

Names = Union[str, Sequence[str]]


@dataclass(frozen=True)
class PushOptions:
    """The row options of a push (docs/http-api.md, Row options), its label and its instant.

    `more` are options that this client does not know by name, as the server wants them.
    """

    key: Optional[Names] = None
    format: Optional[str] = None
    key_separator: Optional[str] = None
    fields: Optional[Names] = None
    value: Optional[str] = None
    collect: bool = False
    order_by: Optional[Names] = None
    limit: Optional[int] = None
    on_duplicate: Optional[str] = None
    types: Union[None, Names, Mapping[str, str]] = None
    null: Optional[Names] = None
    nan: Optional[str] = None
    delimiter: Optional[str] = None
    columns: Optional[Names] = None
    label: Optional[str] = None
    as_of: Union[None, str, datetime] = None
    activate: bool = True
    more: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("key", "fields", "order_by", "null", "columns"):
            if getattr(self, name) is not None:
                # Looked at once: it may be an iterator.
                object.__setattr__(self, name, texts(name, getattr(self, name)))
        for name in ("format", "key_separator", "value", "delimiter", "label"):
            if getattr(self, name) is not None:
                text(name, getattr(self, name))
        # As texts they are read by the server, which has one form of each everywhere.
        for name in ("collect", "activate"):
            if not isinstance(getattr(self, name), (bool, str)):
                raise InvalidArgument(f"{name} is {getattr(self, name)!r}: True or False is expected")
        if self.limit is not None and not isinstance(self.limit, str):
            whole("limit", self.limit, 1)
        if self.types is not None and not isinstance(self.types, Mapping):
            object.__setattr__(self, "types", texts("types", self.types))
        if self.on_duplicate is not None:
            one_of("on_duplicate", self.on_duplicate, ("fail", "first", "last"))
        if self.nan is not None:
            one_of("nan", self.nan, ("fail", "null"))
        if self.as_of is not None:
            instant(self.as_of)
        mapping("more", self.more, "a dict of options")

    @classmethod
    def given(cls, options: Optional[PushOptions], key: Optional[Names], more: Mapping[str, Any]) -> PushOptions:
        """The options, with those that were named one by one in their place."""
        known = {one.name for one in fields(cls)} - {"more"}
        unknown = sorted(set(more) - known)
        if unknown:
            names = ", ".join(sorted(known))
            raise InvalidArgument(f"there is no option {unknown[0]!r} of a push; there are {names}")
        if options is not None and not isinstance(options, PushOptions):
            raise InvalidArgument(f"options is a PushOptions, not a {type(options).__name__}")
        changed = dict(more)
        if key is not None:
            changed["key"] = key
        return replace(options or cls(), **changed)

    def body(self) -> dict[str, Any]:
        """The body of `POST …/versions`."""
        body: dict[str, Any] = {}
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name == "more" or value is None or value is False and one.name == "collect":
                continue
            if one.name == "as_of":
                value = instant(value)
            elif isinstance(value, Mapping):
                value = dict(value)
            elif not isinstance(value, (str, int)):
                value = [str(item) for item in value]
            body[one.name] = value
        body.update(self.more)
        return body

    def key_fields(self) -> Sequence[str]:
        """The names of the fields that make the key."""
        if self.key is None:
            return []
        return self.key.split(",") if isinstance(self.key, str) else list(self.key)


def instant(moment: Union[str, datetime]) -> str:
    """RFC 3339."""
    if isinstance(moment, str):
        if _DATE.match(moment) is None:
            raise InvalidArgument(f"as_of is {moment!r}: an instant such as 2026-11-26T00:00:00Z is expected")
        return moment
    if not isinstance(moment, datetime):
        raise InvalidArgument(
            f"as_of is {moment!r}, a {type(moment).__name__}: a datetime with a time zone is expected"
        )
    if moment.tzinfo is None:
        raise InvalidArgument("as_of is a datetime without a time zone: the instant is not certain")
    return moment.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")
