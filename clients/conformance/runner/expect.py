"""What was expected, held against what came: every difference in words."""

from __future__ import annotations

import json
import re
from typing import Any

from .proxy import Proxy, Seen

# Clocks tick in steps: a wait may look shorter by this much (seconds).
TICK = 0.005


def same(expected: Any, got: Any) -> bool:
    """Equality of JSON: true is not 1, 1.0 is 1, and the order of fields means nothing."""
    if isinstance(expected, bool) or isinstance(got, bool):
        return expected is got
    if isinstance(expected, dict) and isinstance(got, dict):
        return expected.keys() == got.keys() and all(same(expected[name], got[name]) for name in expected)
    if isinstance(expected, list) and isinstance(got, list):
        return len(expected) == len(got) and all(map(same, expected, got))
    if isinstance(expected, (int, float)) != isinstance(got, (int, float)):
        return False
    return bool(expected == got)


def shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= 300 else f"{text[:200]} … ({len(text)} characters)"


def matches(expected: Any, got: Any) -> bool:
    """A text in slashes is a pattern; all else must be the same."""
    if isinstance(expected, str) and len(expected) > 2 and expected[0] == expected[-1] == "/":
        return isinstance(got, str) and re.search(expected[1:-1], got) is not None
    return same(expected, got)


def answer(expected: dict[str, Any], got: dict[str, Any], seen: list[Seen]) -> list[str]:
    """What is wrong with an answer."""
    if "error" in got and "error" not in expected:
        return [f"expected {shown(expected)}, but it was the error {shown(got['error'])}"]
    if "error" in expected:
        if not isinstance(got.get("error"), dict):
            return [f"expected the error {shown(expected['error'])}, but it was {shown(got)}"]
        return error(expected["error"], got["error"], seen)
    wrong = []
    for name, value in expected.items():
        if name == "answers":
            wrong += answers(value, got.get("answers"))
        elif name not in got or not matches(value, got[name]):
            wrong.append(f"expected {name} {shown(value)}, but it was {shown(got.get(name)) if name in got else 'not there'}")
    return wrong


def answers(expected: list[dict[str, Any]], got: Any) -> list[str]:
    """Of each dataset, the fields that are named."""
    if not isinstance(got, list) or len(got) != len(expected):
        return [f"expected answers {shown(expected)}, but they were {shown(got)}"]
    wrong = []
    for want, one in zip(expected, got):
        if "error" in want:
            found = one.get("error") if isinstance(one, dict) else None
            fits = isinstance(found, dict) and all(same(value, found.get(name)) for name, value in want["error"].items())
        else:
            fits = isinstance(one, dict) and "error" not in one and all(name in one and same(value, one[name]) for name, value in want.items())
        if not fits:
            wrong.append(f"expected of {want['dataset']} {shown(want)}, but it was {shown(one)}")
    return wrong


def error(expected: dict[str, Any], got: dict[str, Any], seen: list[Seen]) -> list[str]:
    wrong = []
    for name, value in expected.items():
        if value == "$seen":
            value = seen[-1].answered.get("x-request-id") if seen else None
        allowed = value if isinstance(value, list) else [value]
        if not any(matches(one, got.get(name)) for one in allowed):
            wrong.append(f"expected an error whose {name} is {shown(value)}, but it was {shown(got)}")
    return wrong


def requests(expected: dict[str, Any], proxy: Proxy) -> list[str]:
    """What is wrong with what came to the proxy."""
    seen, wrong = proxy.seen, []
    for name, count in (("count", len(seen)), ("connections", len({one.connection for one in seen}))):
        if name not in expected:
            continue
        least, most = expected[name] if isinstance(expected[name], list) else (expected[name], expected[name])
        if not least <= count <= most:
            what = "requests" if name == "count" else "connections"
            wrong.append(f"expected {least if least == most else f'{least} to {most}'} {what}, but there were {count}: {shown([one.target for one in seen])}")
    for at, want in enumerate(expected.get("each", [])):
        if at < len(seen):
            wrong += request(want, seen[at], seen[at - 1] if at else None, proxy)
        elif want:
            wrong.append(f"request {at + 1} never came")
    if "every" in expected:
        for at, one in enumerate(seen):
            wrong += request(expected["every"], one, seen[at - 1] if at else None, proxy)
    if "waited_in_all" in expected:
        waited = sum(later.arrived - (earlier.ended or later.arrived) for earlier, later in zip(seen, seen[1:]) if earlier.status in (429, 502, 503, 504))
        if waited < expected["waited_in_all"]:
            wrong.append(f"expected waits of {expected['waited_in_all']} s in all, but they were {waited:.3f} s")
    return wrong


def request(expected: dict[str, Any], one: Seen, before: Seen | None, proxy: Proxy) -> list[str]:
    """What is wrong with one request."""
    wrong = []
    facts = {"method": one.method, "target": one.target, "answered": one.status}
    wrong += [f"expected request {one.number} with {name} {shown(expected[name])}, but it was {shown(fact)}"
              for name, fact in facts.items() if name in expected and not matches(expected[name], fact)]
    if expected.get("target_has", "") not in one.target:
        wrong.append(f"expected request {one.number} with {expected['target_has']} in its target, but it was {one.target}")
    for name, value in expected.get("headers", {}).items():
        value = (before.answered.get("etag") if before else None) if value == "$etag" else value and proxy.filled_in(value)
        if not matches(value, one.headers.get(name)):
            wrong.append(f"expected request {one.number} with {name}: {value}, but it was {one.headers.get(name)}")
    for name, value in expected.get("json", {}).items():
        body = one.json()
        if not isinstance(body, dict) or not same(value, body.get(name)):
            wrong.append(f"expected request {one.number} with {name} {shown(value)}, but it was {shown(body)}")
    return wrong + spacing(expected, one, before)


def spacing(expected: dict[str, Any], one: Seen, before: Seen | None) -> list[str]:
    """Whether it came no earlier than it was told to."""
    if "after" not in expected:
        return []
    if before is None or before.ended is None:
        return [f"request {one.number} came before anything was answered"]
    if expected["after"] == "$date":
        assert before.not_before is not None, "the case tells no date"
        early = before.not_before - one.arrived_wall
    else:
        early = before.ended + expected["after"] - one.arrived
    return [f"request {one.number} came {early:.3f} s too early"] if early > TICK else []
