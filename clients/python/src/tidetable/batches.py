"""Many keys of one dataset, all of one version, and keys of several datasets, as of one instant."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Callable, Optional

from .arguments import mapping, text, whole, whole_or_none
from .calls import JSON, Call, Core, ask, compact, json_answer
from .cut import cut_values
from .errors import ApiError, BrokenConnection, InvalidArgument, NotFound, api_error
from .found import Answers, Found
from .http1 import Request, Response
from .keys import BatchKeys, Key, key_bytes
from .paths import Fields, dataset_path, field_names, unit_headers

CHUNK_KEYS = 1000
# Of the 4 MiB that the server takes as the body of a batch.
CHUNK_BYTES = 3 * 1024 * 1024

# What a version is that was there a moment ago.
GONE = ("version_deleted", "version_not_found")


def get_many(
    core: Core,
    dataset: str,
    keys: Iterable[Key],
    fields: Fields,
    version: Optional[int],
    unit: Optional[str],
    raw: bool,
) -> Call[Found]:
    """The values of those keys that are there, all of one version."""
    names = field_names(fields)
    version = whole_or_none("version", version, 1)
    unique = _unique(keys)
    deadline = core.deadline()
    if not unique:
        return Found(None)
    try:
        return (yield from batch(core, dataset, unique, names, version, unit, raw, deadline))
    except _Gone:
        pass
    try:
        return (yield from batch(core, dataset, unique, names, version, unit, raw, deadline))
    except _Gone as gone:
        raise gone.error from None


def _unique(keys: Iterable[Key]) -> list[Key]:
    """Each key once, in the order asked. A text is one key, and would be taken for its letters."""
    if isinstance(keys, (str, bytes)):
        raise InvalidArgument("keys is a list of keys, not one key")
    if not isinstance(keys, Iterable):
        raise InvalidArgument(f"keys is a list of keys, not a {type(keys).__name__}")
    every = list(keys)
    try:
        return list(dict.fromkeys(every))
    except TypeError:
        # One of them is none, and cannot even be looked up: which one is said as of any other key.
        for key in every:
            key_bytes(key)
        raise


class _Gone(Exception):
    """The version that the first chunk came from went while the others were asked for."""

    def __init__(self, error: NotFound) -> None:
        super().__init__(error)
        self.error = error


def batch(
    core: Core,
    dataset: str,
    keys: list[Key],
    names: Optional[tuple[str, ...]],
    version: Optional[int],
    unit: Optional[str],
    raw: bool,
    deadline: float,
) -> Call[Found]:
    headers = (JSON,) + unit_headers(core, unit)
    path = f"{dataset_path(dataset)}/batch-get"
    pinned = version
    found = Found(None)
    # The next one is the last of these.
    waiting = [keys[begin : begin + CHUNK_KEYS] for begin in range(0, len(keys), CHUNK_KEYS)][::-1]
    while waiting:
        chunk = waiting.pop()
        sent = BatchKeys.of(chunk)
        body: dict[str, Any] = {"keys": sent.keys}
        if names is not None:
            body["fields"] = names
        if pinned is not None:
            body["version"] = pinned
        if sent.encoding != "utf8":
            body["key_encoding"] = sent.encoding
        told = compact(body)
        if len(told) > CHUNK_BYTES and len(chunk) > 1:
            waiting.extend(_halves(chunk))
            continue
        request = Request("POST", path, told, headers, True, deadline)
        first, began = pinned is None, core.clock()
        try:
            answered = yield from ask(core, request, _batch_reader(core, chunk, sent, raw))
        except NotFound as error:
            if version is None and pinned is not None and error.code in GONE:
                raise _Gone(error) from None
            raise
        except ApiError as error:
            if error.code != "answer_too_large" or len(chunk) == 1:
                raise
            waiting.extend(_halves(chunk))
            continue
        if pinned is not None and answered.version != pinned:
            raise BrokenConnection(f"version {pinned} was asked for, and version {answered.version} answered")
        pinned = answered.version
        # The others are of the version of the first, whatever is served by now.
        if first and core.cache is not None and pinned is not None:
            core.cache.saw(dataset, pinned, began, core.clock())
        if not found and not waiting:
            return answered
        found.update(answered)
        found.version = pinned
    return found


def _halves(chunk: list[Key]) -> tuple[list[Key], list[Key]]:
    """The second half, and the first, which is asked for next."""
    half = len(chunk) // 2
    return chunk[half:], chunk[:half]


def _batch_reader(core: Core, keys: Sequence[Key], sent: BatchKeys, raw: bool) -> Callable[[Response], Found]:
    read_answer = json_answer(core)

    def read(response: Response) -> Found:
        if raw and response.status == 200:
            cut = cut_values(response.body, sent.keys)
            if cut is not None:
                version, values = cut
                return Found(version, {key: value for key, value in zip(keys, values) if value is not None})
        return results(read_answer(response), keys, raw)

    return read


def results(answer: Mapping[str, Any], keys: Sequence[Key], raw: bool = False) -> Found:
    """The results of a batch, which stand in the order asked."""
    try:
        given = answer["results"]
        found = Found(version_number(answer["version"]))
        if len(given) != len(keys):
            raise BrokenConnection(f"{len(keys)} keys were asked for, and {len(given)} answered")
        found.update({key: one["value"] for key, one in zip(keys, given) if one["found"]})
        # The encoding is that of the dataset: all values have it or none.
        if "encoding" in next((one for one in given if one["found"]), ()):
            found.update({key: decoded(one) for key, one in zip(keys, given) if one["found"]})
    except (KeyError, TypeError, AttributeError) as error:
        raise BrokenConnection(f"the answer is no answer to a batch: {error!r}") from error
    if raw:
        for key, value in found.items():
            if not isinstance(value, bytes):
                found[key] = compact(value)
    return found


def version_number(version: Any) -> int:
    if not isinstance(version, int) or isinstance(version, bool):
        raise BrokenConnection("the answer does not say its version")
    return version


def decoded(record: Mapping[str, Any]) -> Any:
    """The value of a result or record: JSON, or bytes that came in base64."""
    if "encoding" not in record:
        return record["value"]
    try:
        return base64.b64decode(record["value"], validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise BrokenConnection(f"a value of the answer is no base64: {error}") from error


def multi(
    core: Core,
    requests: Mapping[str, Iterable[Key]],
    fields: Mapping[str, Fields],
    versions: Mapping[str, int],
    unit: Optional[str],
) -> Call[Answers]:
    """Keys of several datasets, as they stood at one instant: so it is one request, and no more keys than one may have."""
    mapping("requests", requests, "a dict of datasets and their keys")
    mapping("fields", fields, "a dict of datasets and their fields")
    mapping("versions", versions, "a dict of datasets and their versions")
    wanted = {text("a dataset of requests", dataset): _unique(keys) for dataset, keys in requests.items()}
    count = sum(map(len, wanted.values()))
    if count > CHUNK_KEYS:
        raise InvalidArgument(f"{count} keys of several datasets: one instant answers at most {CHUNK_KEYS}")
    answers = Answers({dataset: Found(None) for dataset in wanted})
    asked = {dataset: keys for dataset, keys in wanted.items() if keys}
    if not asked:
        return answers
    body = [_one_of_many(dataset, keys, fields.get(dataset), versions.get(dataset)) for dataset, keys in asked.items()]
    headers = (JSON,) + unit_headers(core, unit)
    request = Request("POST", "/v1/batch-get", compact({"requests": body}), headers, True, core.deadline())
    read_answer = json_answer(core)
    began = core.clock()

    def read(response: Response) -> list[Any]:
        told = read_answer(response).get("answers")
        if not isinstance(told, list) or len(told) != len(asked):
            raise BrokenConnection("the answer is no answer to a batch of several datasets")
        for (dataset, keys), one in zip(asked.items(), told):
            found = _one_answer(dataset, keys, one, versions.get(dataset), answers)
            if found is not None and versions.get(dataset) is None and core.cache is not None:
                core.cache.saw(dataset, version_number(found.version), began, core.clock())
        return told

    yield from ask(core, request, read)
    return answers


def _one_of_many(dataset: str, keys: list[Key], fields: Fields, version: Optional[int]) -> dict[str, Any]:
    sent = BatchKeys.of(keys)
    one: dict[str, Any] = {"dataset": dataset, "keys": sent.keys}
    names = field_names(fields)
    if names is not None:
        one["fields"] = names
    if version is not None:
        one["version"] = whole("version", version, 1)
    if sent.encoding != "utf8":
        one["key_encoding"] = sent.encoding
    return one


def _one_answer(dataset: str, keys: list[Key], one: Any, pinned: Optional[int], answers: Answers) -> Optional[Found]:
    """What was found in one of several datasets, put into its place; None if that is an error."""
    if not isinstance(one, dict) or one.get("dataset") != dataset:
        raise BrokenConnection("the answer is not in the order of what was asked")
    problem = one.get("error")
    if isinstance(problem, dict):
        status = problem.get("status")
        answers.fail(dataset, api_error(problem, status if isinstance(status, int) else 500))
        return None
    found = results(one, keys)
    if found.version is None or (pinned is not None and found.version != pinned):
        raise BrokenConnection(f"another version of {dataset} answered than was asked for")
    answers.put(dataset, found)
    return found
