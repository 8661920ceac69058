"""The server under test, and what it serves: over HTTP, with nothing of the client's code."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
from pathlib import Path
from typing import Any, Iterator


class Server:
    """`tidetable serve` on a free port of loopback."""

    def __init__(self, binary: str, home: Path) -> None:
        self.binary = binary
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("TIDETABLE_")}
        self.log = home / "server.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [binary, "serve", "--data", home / "data", "--listen", "127.0.0.1:0"],
                stdout=subprocess.PIPE, stderr=log, env=self.env, text=True,
            )
        line = self.process.stdout.readline().strip()
        assert " listening on http://" in line, f"{line!r}\n{self.log.read_text()}"
        self.url = line.rpartition(" listening on ")[2]
        self.address = self.url.partition("://")[2]
        self.connection = http.client.HTTPConnection(self.address, timeout=120)

    def ask(self, path: str, method: str = "GET", body: Any = None) -> tuple[int, Any]:
        sent = None if body is None else json.dumps(body)
        try:
            self.connection.request(method, path, sent)
            answer = self.connection.getresponse()
        except (http.client.RemoteDisconnected, ConnectionError):
            # It was idle for so long that the server has closed it.
            self.connection.close()
            self.connection.request(method, path, sent)
            answer = self.connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text else None

    def version(self, dataset: str, number: int) -> dict[str, Any]:
        return self.ask(f"/v1/datasets/{dataset}/versions/{number}")[1]

    def versions(self, dataset: str) -> list[dict[str, Any]]:
        """All there are, oldest first; none of a dataset that is not there."""
        return self.ask(f"/v1/datasets/{dataset}/versions")[1].get("versions", [])[::-1]

    def parts(self, dataset: str, number: int) -> list[str]:
        return [p["name"] for p in self.ask(f"/v1/datasets/{dataset}/versions/{number}/parts")[1]["parts"]]

    def scan(self, dataset: str) -> Iterator[tuple[str, Any]]:
        """Every record of the current version."""
        cursor = ""
        while cursor is not None:
            status, page = self.ask(f"/v1/datasets/{dataset}/scan?limit=1000{cursor and '&cursor=' + cursor}")
            assert status == 200, page
            for record in page["records"]:
                yield record["key"], record["value"]
            cursor = page["next"]

    def push(self, dataset: str, *arguments: Any, env: dict[str, str] | None = None) -> None:
        self.run("--server", self.url, "push", dataset, *arguments, env=env)

    def run(self, *arguments: Any, env: dict[str, str] | None = None) -> None:
        subprocess.run([self.binary, *map(str, arguments)], env=env or self.env, check=True)

    def stop(self) -> None:
        self.process.terminate()
        assert self.process.wait(timeout=60) == 0, "the server stops cleanly"
