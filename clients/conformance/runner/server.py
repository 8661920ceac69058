"""A real server on a free port of loopback, and the operator who changes it while clients read."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import urllib.parse
from pathlib import Path
from typing import Any

# How long the server may take for anything.
PATIENCE = 60
HERE = Path(__file__).resolve().parent.parent
# Small, so that few records make an answer too large.
SETTINGS = ("--max-answer-bytes", "256KiB", "--log-format", "json", "--pushes-give-way=false", "--builds-at-once", "2")
ROLES = {"$reader": ["reader"], "$pusher": ["pusher"], "$operator": ["reader", "operator"]}


def environment(**more: str) -> dict[str, str]:
    """That of whoever runs the suite, without what would tell server or client something about Tidetable."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TIDETABLE_")} | more


class Wrong(Exception):
    """The suite itself cannot go on: the server did not do what it was told."""


class Server:
    """`tidetable serve` on a directory of its own; requests go as an admin."""

    def __init__(self, binary: Path, home: Path) -> None:
        self.log = home / "server.log"
        command = [str(binary), "serve", "--listen", "127.0.0.1:0", "--data", str(home / "data"), *SETTINGS]
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment())
        assert self.process.stdout is not None
        said = self.process.stdout.readline().decode()
        found = re.search(r"http://127\.0\.0\.1:(\d+)", said)
        if found is None:
            raise Wrong(f"the server did not start: {said!r} {self.log.read_text()}")
        self.port = int(found.group(1))
        self.admin: str | None = None
        self.admin = self.token(["admin"])
        self.tokens = {name: self.token(roles) for name, roles in ROLES.items()}

    def ask(self, method: str, path: str, body: bytes | None = None, expected: int | None = None) -> dict[str, Any]:
        """One request on a connection of its own; anything but a 2xx, or `expected`, stops the suite."""
        headers = {"Authorization": f"Bearer {self.admin}"} if self.admin else {}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        fits = answer.status == expected if expected else 200 <= answer.status < 300
        if not fits:
            raise Wrong(f"{method} {path} was answered with {answer.status}: {text[:500].decode(errors='replace')}")
        return json.loads(text) if text else {}

    def token(self, roles: list[str]) -> str:
        """A new token, on all datasets."""
        made = self.ask("POST", "/v1/tokens", json.dumps({"name": "-".join(roles), "roles": roles}).encode())
        return str(made["token"])

    def push(self, dataset: str, version: dict[str, Any]) -> None:
        """Pushes what a case calls a version, and activates it unless it says otherwise."""
        if "file" in version:
            body, query = (HERE / "fixtures" / version["file"]).read_bytes(), version["query"]
        else:
            rows = "\n".join(json.dumps({"k": key, "v": value}) for key, value in records(version))
            body, query = rows.encode(), "format=ndjson&key=k&value=v"
        activate = "" if version.get("activate", True) else "&activate=false"
        made = self.ask("POST", f"/v1/datasets/{urllib.parse.quote(dataset)}/push?{query}{activate}", body)
        if made["state"] != ("ready" if activate else "active"):
            raise Wrong(f"a version of {dataset} is {made['state']}: {made}")

    def operate(self, step: dict[str, Any]) -> None:
        """An `ask` or a `push` of a case."""
        if "push" in step:
            self.push(step["push"], step["version"])
        else:
            method, path = step["ask"].split(" ", 1)
            body = json.dumps(step["json"]).encode() if "json" in step else None
            self.ask(method, path, body, step.get("status"))

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=PATIENCE)


def records(version: dict[str, Any]) -> list[tuple[str, Any]]:
    """Keys and values of a version, in the order of the keys' bytes."""
    if "made" in version:
        return made(version["made"])
    return sorted(version["rows"].items(), key=lambda record: record[0].encode())


def made(wanted: dict[str, Any]) -> list[tuple[str, Any]]:
    """The records that `{"made": {"count", "edition", "bytes"}}` stands for."""
    pad = {"pad": "x" * wanted["bytes"]} if "bytes" in wanted else {}
    return [(f"k{n:06}", {"n": n, "edition": wanted.get("edition", 1), **pad}) for n in range(wanted["count"])]
