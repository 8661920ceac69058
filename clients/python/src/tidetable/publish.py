"""`publish`: data of any kind becomes a version.

It goes in parts, whatever its size: begin, one part after the other, commit with exactly these names,
wait. Each part is a few MB and is sent again by itself if its connection breaks. The first part is made before
anything begins: data without rows, or that fails at once, leaves neither a dataset nor a version.

Parts have names of this attempt alone. So when a job runs twice with one idempotency key, even at the same
time, both put their parts beside each other's, the first commit decides, and the other gets the version that
it made.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any, Optional

from . import push_calls
from .calls import Call, Core, Work
from .errors import ApiError, Conflict, PushRefused, TidetableError
from .push_options import PushOptions
from .resources import Version
from .rows import RowData, Source, source_of

__all__ = ["RowData", "publish_call"]

# How long a push that failed may take to be given up.
ABORT_SECONDS = 10.0


def publish_call(
    core: Core,
    data: RowData,
    dataset: str,
    options: PushOptions,
    key: Optional[str],
    wait: bool,
    deadline: Optional[float],
) -> Call[Version]:
    source: Source = yield Work(lambda: source_of(data, options))
    if source.format is not None and options.format is None:
        options = replace(options, format=source.format)
    if not (yield Work(source.has_parts)):
        raise PushRefused(422, "no_rows", "the data has no rows: nothing was pushed")
    begun = yield from push_calls.begin(core, dataset, options, key, deadline)
    number = begun.version
    if begun.state == "receiving":
        try:
            names = yield from _put_parts(core, dataset, number, source, deadline)
            begun = yield from push_calls.commit(core, dataset, number, names, None, deadline)
        except Conflict as error:
            # Another run with this key was faster: its version is ours.
            if key is None or error.code != "wrong_state":
                yield from _give_up(core, dataset, number)
                raise
        except BaseException as error:
            # What a run with the same key may go on with is left to it: 24 hours, then the server gives it up.
            resumable = key is not None and isinstance(error, TidetableError) and not isinstance(error, PushRefused)
            if not resumable:
                yield from _give_up(core, dataset, number)
            raise
    if not wait:
        return begun
    return (yield from push_calls.settle(core, dataset, number, deadline))


def _put_parts(core: Core, dataset: str, number: int, source: Source, deadline: Optional[float]) -> Call[list[str]]:
    attempt = secrets.token_hex(4)
    names: list[str] = []
    while True:
        part: Any = yield Work(source.next_part)
        if part is None:
            break
        name = f"{attempt}-{len(names):06}"
        yield from push_calls.put_part(core, dataset, number, name, part, None, deadline)
        names.append(name)
    return names


def _give_up(core: Core, dataset: str, number: int) -> Call[None]:
    """Aborts the push. That this fails, too, is of less interest than why it was needed."""
    try:
        yield from push_calls.abort(core, dataset, number, core.clock() + ABORT_SECONDS)
    except (TidetableError, ApiError):
        pass
