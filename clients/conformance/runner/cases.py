"""The cases: read from their files, held against what a case may have, and written out in full."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .server import HERE, made, records

FIELDS = {"name", "guarantee", "needs", "breaks_with", "datasets", "options", "base_url", "may_refuse", "faults", "steps", "requests"}
FAULT_FIELDS = {"request", "path", "first", "status", "headers", "body", "problem", "cut", "delay", "drip", "stall", "head", "chunked", "close_after"}
STEP_FIELDS = {"call", "dataset", "key", "key_base64", "keys", "keys_base64", "fields", "version", "prefix", "limit", "unit", "requests", "options", "base_url",
               "repeat", "each", "expect", "expect_any"}
OTHER_STEPS = [{"ask", "json", "status"}, {"push", "version"}, {"proxy"}, {"pause"}]
REQUESTS_FIELDS = {"count", "connections", "each", "every", "waited_in_all"}
REQUEST_FIELDS = {"method", "target", "target_has", "headers", "json", "after", "answered"}


class Malformed(Exception):
    """A case that means nothing."""


@dataclass
class Case:
    theme: str
    given: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.given["name"])

    def get(self, field: str, otherwise: Any) -> Any:
        return self.given.get(field, otherwise)


def fixtures() -> dict[str, list[dict[str, Any]]]:
    return dict(json.loads((HERE / "fixtures.json").read_text()))


def load() -> list[Case]:
    """All cases; a field nobody knows, a name used twice, a way to be wrong that is none: all are refused."""
    shared = fixtures()
    cases, names, datasets = [], set(), set(shared)
    known = set(re.findall(r'wrong\("([a-z0-9_]+)"\)', "".join(path.read_text() for path in (HERE / "reference").glob("*.py"))))
    for path in sorted((HERE / "cases").glob("*.json")):
        for given in json.loads(path.read_text()):
            where = f"{path.name}: {given.get('name')}"
            check(where, given, FIELDS, {"name", "guarantee", "breaks_with", "steps"})
            if given["name"] in names or not given["name"].startswith(path.stem + ": "):
                raise Malformed(f"{where}: its name is there already, or does not begin with the name of its file")
            if given["breaks_with"] not in known:
                raise Malformed(f"{where}: the reference client cannot be told {given['breaks_with']}")
            for name in given.get("datasets", {}):
                if name in datasets:
                    raise Malformed(f"{where}: the dataset {name} is another case's")
                datasets.add(name)
            names.add(given["name"])
            check_parts(where, given)
            everything = {**shared, **given.get("datasets", {})}
            cases.append(Case(path.stem, {**given, "steps": [full for step in given["steps"] for full in written_out(step, everything)]}))
    return cases


def check(where: str, given: dict[str, Any], allowed: set[str], needed: set[str] = frozenset()) -> None:  # type: ignore[assignment]
    if unknown := set(given) - allowed:
        raise Malformed(f"{where}: nobody knows {', '.join(sorted(unknown))}")
    if absent := needed - set(given):
        raise Malformed(f"{where}: it lacks {', '.join(sorted(absent))}")


def check_parts(where: str, given: dict[str, Any]) -> None:
    for fault in given.get("faults", []):
        check(where, fault, FAULT_FIELDS)
    for step in given["steps"]:
        if "call" in step:
            check(where, step, STEP_FIELDS)
            if ("expect" in step) == ("expect_any" in step):
                raise Malformed(f"{where}: a call needs either expect or expect_any")
        elif not any(set(step) <= kind for kind in OTHER_STEPS):
            raise Malformed(f"{where}: what is the step {step}?")
    requests = given.get("requests", {})
    check(where, requests, REQUESTS_FIELDS)
    for one in [*requests.get("each", []), *([requests["every"]] if "every" in requests else [])]:
        check(where, one, REQUEST_FIELDS)


def written_out(step: dict[str, Any], datasets: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """A step with its keys and values instead of what stands for them: once, `repeat` times, or for `each` key."""
    if "call" not in step:
        return [step]
    step = dict(step)
    if step.pop("each", False):
        return [{**step, "key": key, "expect": {**step["expect"], "value": value}} for key, value in records(datasets[step["dataset"]][-1])]
    repeat = step.pop("repeat", 1)
    if isinstance(step.get("key"), dict):
        step["key"] = repeated(step["key"])
    if "keys" in step:
        step["keys"] = keys(step["keys"], datasets)
    if "requests" in step:
        step["requests"] = [{**one, "keys": keys(one["keys"], datasets)} for one in step["requests"]]
    for field in ("values", "records"):
        stands_for = step.get("expect", {}).get(field)
        if isinstance(stands_for, dict):
            found = made(stands_for["made"]) if "made" in stands_for else records(datasets[stands_for["of"]][-1])
            step["expect"] = {**step["expect"], field: [list(record) for record in found]}
    return [step] * repeat


def keys(given: Any, datasets: dict[str, list[dict[str, Any]]]) -> list[str]:
    if isinstance(given, list):
        return given
    if "repeated" in given:
        return [f"{number:03d}{repeated(given)}" for number in range(given["count"])]
    found = made(given["made"]) if "made" in given else records(datasets[given["of"]][-1])
    return [key for key, _ in found]


def repeated(given: dict[str, Any]) -> str:
    """A long key, which nobody wants to read in a file."""
    return str(given["repeated"]) * int(given["times"])
