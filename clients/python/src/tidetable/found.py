"""What reading calls give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Optional, Union

from .errors import ApiError
from .keys import Key


class Entry(NamedTuple):
    """A value and what is known of it. `etag` is None where the server told none (a batch)."""

    value: Any
    version: int
    etag: Optional[str]
    as_of: Optional[str]


class Record(NamedTuple):
    """One record of a scan. A key that is no UTF-8 is bytes."""

    key: Union[str, bytes]
    value: Any


class Found(dict[Key, Any]):
    """A dict of the keys that were found, in the order asked, all of `version`.

    `version` is None if there was nothing to ask.
    """

    def __init__(self, version: Optional[int], values: Optional[Mapping[Key, Any]] = None) -> None:
        super().__init__(values or {})
        self.version = version


class Answers(Mapping[str, Found]):
    """What was found in each of several datasets. One that failed raises its error when it is looked at;
    `errors` has them all."""

    def __init__(self, found: Mapping[str, Found]) -> None:
        self._found: dict[str, Found] = dict(found)
        self.errors: dict[str, ApiError] = {}

    def put(self, dataset: str, found: Found) -> None:
        self._found[dataset] = found

    def fail(self, dataset: str, error: ApiError) -> None:
        self.errors[dataset] = error

    def __getitem__(self, dataset: str) -> Found:
        error = self.errors.get(dataset)
        if error is not None:
            raise error
        return self._found[dataset]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __repr__(self) -> str:
        return f"Answers({self._found!r}, errors={self.errors!r})"
