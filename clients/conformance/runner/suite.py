"""Runs cases with one adapter: its own server, and for each case a proxy of its own."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import expect
from .adapter import Adapter, Lost
from .cases import Case, fixtures
from .proxy import Proxy, Silent, refused_port
from .server import Server, Wrong

# Pushes that are under way ahead of the cases that need them.
PUSHES_AT_ONCE = 2
OPTIONS = {"total_timeout": 10.0, "connect_timeout": 2.0, "token": "$reader", "cache": None, "max_tries": 3, "unit": None}


@dataclass
class Result:
    """What came of a case: passed, failed with what was wrong, or skipped with what the adapter cannot do."""

    case: Case
    wrong: list[str] = field(default_factory=list)
    lacks: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def state(self) -> str:
        return "skipped" if self.lacks else "failed" if self.wrong else "passed"


class Ground:
    """A server with the fixtures on it, and a port that says nothing. What single cases need is pushed ahead of them."""

    def __init__(self, binary: Path, home: Path, cases: list[Case]) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.server, self.silent = Server(binary, home), Silent()
        self.pushing = ThreadPoolExecutor(PUSHES_AT_ONCE)
        try:
            list(self.pushing.map(lambda one: self.push(dict([one])), fixtures().items()))
        except BaseException:
            self.stop()
            raise
        self.ready = {case.name: self.pushing.submit(self.push, case.get("datasets", {})) for case in cases}

    def push(self, datasets: dict[str, list[dict[str, Any]]]) -> None:
        for name, versions in datasets.items():
            for version in versions:
                self.server.push(name, version)

    def prepare(self, case: Case) -> None:
        """Waits until what the case needs is there."""
        self.ready[case.name].result()

    def stop(self) -> None:
        self.pushing.shutdown(cancel_futures=True)
        self.server.stop()
        self.silent.close()


class Suite:
    """An adapter on its ground."""

    def __init__(self, ground: Ground, adapter: Adapter) -> None:
        self.ground, self.server, self.silent, self.adapter = ground, ground.server, ground.silent, adapter

    def run(self, case: Case) -> Result:
        lacks = sorted(set(case.get("needs", [])) - self.adapter.needs)
        if lacks:
            return Result(case, lacks=lacks)
        self.ground.prepare(case)
        started = time.monotonic()
        attempt = Attempt(self, case)
        try:
            wrong = attempt.run()
        finally:
            attempt.proxy.close()
        return Result(case, [*wrong, *attempt.proxy.trouble], seconds=time.monotonic() - started)


class Attempt:
    """One case with one adapter."""

    def __init__(self, suite: Suite, case: Case) -> None:
        self.suite, self.case = suite, case
        self.proxy = Proxy(suite.server.port, suite.server.operate)
        self.proxy.open(case.get("faults", []))
        # Whether the client refused to be opened; then there is none to call.
        self.refused = False
        self.base_url, self.options = case.get("base_url", "$proxy"), {**OPTIONS, **case.get("options", {})}

    def run(self) -> list[str]:
        already = len(self.suite.adapter.lines)
        wrong: list[str] = []
        try:
            opened = self.open({})
            if "error" in opened and not (self.case.get("may_refuse", False) and opened["error"].get("kind") == "usage"):
                return [f"open: {expect.shown(opened)}"]
            for at, step in enumerate(self.case.given["steps"]):
                found = self.step(step)
                wrong += [f"step {at + 1}, {step.get('call')} {step.get('dataset', '')} {expect.shown(step.get('key', ''))}: {what}" for what in found]
                if len(wrong) > 4:
                    break
            if not wrong:
                wrong += expect.requests(self.case.get("requests", {}), self.proxy)
        except Lost as lost:
            wrong.append(f"{lost}\n{self.suite.adapter.complaints()}")
        except Wrong as trouble:
            wrong.append(f"the server was not as the case needs it: {trouble}")
        return wrong + self.told(self.suite.adapter.lines[already:])

    def open(self, step: dict[str, Any]) -> dict[str, Any]:
        self.options = {**self.options, **step.get("options", {})}
        tokens = self.suite.server.tokens
        token = tokens.get(self.options["token"], self.options["token"])
        self.proxy.token = token
        url = step.get("base_url", self.base_url)
        for name, port in (("$proxy", self.proxy.port), ("$silent", self.suite.silent.port)):
            url = url.replace(name, f"http://127.0.0.1:{port}")
        if "$refused" in url:
            url = url.replace("$refused", f"http://127.0.0.1:{refused_port()}")
        opened = self.suite.adapter.call({"call": "open", "base_url": url, "options": {**self.options, "token": token}})
        self.refused = "error" in opened
        return opened

    def step(self, step: dict[str, Any]) -> list[str]:
        """Does one step, and says what is wrong with what came of it."""
        if "pause" in step:
            time.sleep(step["pause"])  # For what is on its way to the client to arrive; nothing depends on how much of it has.
        elif "proxy" in step:
            self.proxy.close_idle()
        elif "call" not in step:
            self.suite.server.operate(step)
        elif step["call"] == "open" or not self.refused:
            asked = {name: value for name, value in step.items() if name not in ("expect", "expect_any")}
            got = self.open(step) if step["call"] == "open" else self.suite.adapter.call(asked)
            choices = step.get("expect_any") or [step["expect"]]
            found = [expect.answer(one, got, self.proxy.seen) for one in choices]
            return [] if any(not one for one in found) else found[0]
        return []

    def told(self, lines: list[str]) -> list[str]:
        """Whether the adapter told a token."""
        secrets = [*self.suite.server.tokens.values(), *([self.proxy.token] if self.proxy.token else [])]
        log = self.suite.adapter.log.read_text(errors="replace")
        for secret in secrets:
            # The part after tt_ and the id, which is no secret. It may have a _ itself.
            hidden = secret.split("_", 2)[-1].split("\r")[0]
            if len(hidden) > 8 and (hidden in log or any(hidden in line for line in lines)):
                return ["a text that the client made has the token in it"]
        return []
