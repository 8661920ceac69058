"""What operators do: look at datasets and versions, activate, roll back, hold, release, compare.

Every change is sent with an idempotency key, so that one whose answer was lost may be sent again. What deletes has none, and
needs none: what is not there any more when it is asked for again was deleted.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, Optional, TypeVar, Union
from urllib.parse import quote

from .arguments import mapping, text, whole, whole_or_none
from .calls import JSON, Call, Core, ask, compact, idempotency_key, json_answer
from .errors import NotFound
from .http1 import Request
from .paths import dataset_path, version_path
from .push_calls import ask_in_progress
from .resources import Dataset, Diff, Event, Held, Moved, Released, Resource, Version

R = TypeVar("R", bound=Resource)

# The server answers an activation once the version is opened and warmed.
CHANGE_PATIENCE = 300.0


class Unsaid(enum.Enum):
    """Not given, where None means something."""

    UNSAID = "unsaid"


UNSAID = Unsaid.UNSAID
Expected = Union[None, int, Unsaid]


def current_of(dataset: Dataset) -> int:
    """The version that is current, or the error that a read would end with."""
    if dataset.current is None:
        raise NotFound(404, "no_current_version", f"nothing of {dataset.dataset} was activated yet")
    return dataset.current


def _listed(core: Core, path: str, member: str, kind: type[R], limit: Optional[int]) -> Call[list[R]]:
    """All pages of a list, or as much as the limit says."""
    found: list[R] = []
    cursor = ""
    whole_or_none("limit", limit, 0)
    while limit is None or len(found) < limit:
        size = 1000 if limit is None else min(limit - len(found), 1000)
        request = Request("GET", f"{path}?limit={size}{cursor}", deadline=core.deadline())
        answer = yield from ask(core, request, json_answer(core))
        found += [kind.of(one) for one in answer[member]]
        if answer.get("next") is None:
            break
        cursor = f"&cursor={quote(answer['next'], safe='')}"
    return found


def datasets(core: Core) -> Call[list[Dataset]]:
    return (yield from _listed(core, "/v1/datasets", "datasets", Dataset, None))


def dataset(core: Core, name: str) -> Call[Dataset]:
    request = Request("GET", dataset_path(name), deadline=core.deadline())
    return Dataset.of((yield from ask(core, request, json_answer(core))))


def versions(core: Core, name: str, limit: Optional[int]) -> Call[list[Version]]:
    return (yield from _listed(core, f"{dataset_path(name)}/versions", "versions", Version, limit))


def history(core: Core, name: str, limit: Optional[int]) -> Call[list[Event]]:
    return (yield from _listed(core, f"{dataset_path(name)}/history", "events", Event, limit))


def _change(
    core: Core,
    path: str,
    body: Mapping[str, Any],
    key: Optional[str],
    deadline: Optional[float],
    expected: Expected = UNSAID,
) -> Call[dict[str, Any]]:
    given = {name: value for name, value in body.items() if value is not None}
    if "reason" in given:
        text("reason", given["reason"])
    if not isinstance(expected, Unsaid):
        # None is said: nothing is to be current.
        given["expect_current"] = whole_or_none("expect_current", expected, 1)
    headers: tuple[tuple[str, bytes], ...] = (JSON, ("Idempotency-Key", idempotency_key(key)))
    request = Request("POST", path, compact(given), headers, True, deadline, CHANGE_PATIENCE)
    return (yield from ask_in_progress(core, request))


def activate(
    core: Core,
    name: str,
    version: int,
    force: bool,
    reason: Optional[str],
    expected: Expected,
    key: Optional[str],
    deadline: Optional[float],
) -> Call[Moved]:
    body = {"version": whole("version", version, 1), "force": force or None, "reason": reason}
    return Moved.of((yield from _change(core, f"{dataset_path(name)}/activate", body, key, deadline, expected)))


def rollback(
    core: Core,
    name: str,
    to: Optional[int],
    reason: Optional[str],
    hold: bool,
    expected: Expected,
    key: Optional[str],
    deadline: Optional[float],
) -> Call[Moved]:
    body = {"to": whole_or_none("to", to, 1), "reason": reason, "hold": hold}
    return Moved.of((yield from _change(core, f"{dataset_path(name)}/rollback", body, key, deadline, expected)))


def activate_together(
    core: Core,
    wanted: Mapping[str, int],
    force: bool,
    reason: Optional[str],
    key: Optional[str],
    deadline: Optional[float],
) -> Call[list[Moved]]:
    mapping("versions", wanted, "a dict of datasets and their versions")
    activations = [
        {"dataset": text("a dataset of versions", name), "version": whole("version", version, 1)}
        for name, version in wanted.items()
    ]
    body = {"activations": activations, "force": force or None, "reason": reason}
    answer = yield from _change(core, "/v1/activate", body, key, deadline)
    return [Moved.of(one) for one in answer["activated"]]


def hold(core: Core, name: str, reason: Optional[str], key: Optional[str]) -> Call[Held]:
    path = f"{dataset_path(name)}/hold"
    return Held.of((yield from _change(core, path, {"reason": reason}, key, core.clock() + 60.0)))


def release(
    core: Core, name: str, reason: Optional[str], key: Optional[str], deadline: Optional[float]
) -> Call[Released]:
    path = f"{dataset_path(name)}/release"
    return Released.of((yield from _change(core, path, {"reason": reason}, key, deadline)))


def diff(
    core: Core, name: str, from_version: int, to_version: int, samples: int, deadline: Optional[float]
) -> Call[Diff]:
    first, second = whole("from_version", from_version, 1), whole("to_version", to_version, 1)
    path = f"{dataset_path(name)}/diff?from={first}&to={second}&samples={whole('samples', samples, 0)}"
    request = Request("GET", path, deadline=deadline, patience=CHANGE_PATIENCE)
    return Diff.of((yield from ask(core, request, json_answer(core), core.changes)))


def configure(core: Core, name: str, settings: Mapping[str, Any]) -> Call[Dataset]:
    request = Request("PUT", dataset_path(name), compact(settings), (JSON,), deadline=core.clock() + 60.0)
    return Dataset.of((yield from ask(core, request, json_answer(core), core.changes)))


def delete(core: Core, name: str, version: Optional[int]) -> Call[None]:
    path = dataset_path(name) if version is None else version_path(name, version)
    request = Request("DELETE", path, deadline=core.clock() + 60.0)
    done = "dataset_not_found" if version is None else "version_deleted"
    unsure: list[Exception] = []
    try:
        yield from ask(core, request, json_answer(core), core.changes, unsure)
    except NotFound as error:
        # A try whose answer was lost has deleted it. Without such a try there was nothing to delete.
        if not unsure or error.code != done:
            raise
