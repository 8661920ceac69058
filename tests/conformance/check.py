"""Starts servers with a little data, and lets schemathesis ask them everything that /openapi.json declares.

Callers are a token of each role, and nobody. For an admin there are two passes: one in which dataset, version and key
are anything at all, one in which they are there, so that the answers of success are seen as well. The others have the
second, and what they are refused must be declared, too. Each pass has a server of its own, since it deletes and rolls back as
it likes.

A pass fails if schemathesis finds a failure, if the server says that it failed or panicked, or if so few
requests were made that nothing was proved.
"""

import argparse
import http.client
import json
import subprocess
import sys
import tempfile
import time
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
]
# Beyond these, what a caller may not have says nothing of what it sent.
CHECKS_OF_AN_ADMIN = ["unsupported_method"]
CHECKS_OF_ANYTHING = ["negative_data_rejection"]
DATASET = "grades"
# The version that is there; 3 and 4 are pushes whose parts are being sent.
SERVED = 2
ROWS = b'{"k":"ada","n":1,"course":"ml"}\n{"k":"bob","n":2,"course":"db"}\n'
LEAST_REQUESTS = 300
ROLES = ["admin", "operator", "pusher", "reader", "monitor"]
# It finds the tokens that are listed, and revokes its own.
LEFT_OUT = "revokeToken"
# Beside those of an admin: whoever may do less is answered alike, whatever is sent.
EXAMPLES_OF_OTHERS = 5
LEAST_REQUESTS_OF_OTHERS = 100
# Their success takes a state that requests which are made up do not lead to; tests/it sees it.
NOT_REACHED = {"/v1/activate", "/v1/datasets/{dataset}/import", "/v1/datasets/{dataset}/canary/promote", "/v1/erase/lift", "/v1/tokens/{id}"}
# What is sent besides what is made up.
EXAMPLES = {"ActivateRequest": {"version": SERVED}}
# What is about a push that is open: its version instead of one that is there.
OF_A_PUSH = {"putPart": 3, "listParts": 3, "commitVersion": 4}


class Wrong(Exception):
    """What was to hold does not."""


@dataclass(frozen=True)
class Caller:
    name: str
    token: str | None

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}


@dataclass(frozen=True)
class Pass:
    """What the requests are about."""

    name: str
    # Parameters that always have this value.
    fixed: dict[str, str]


PASSES = [
    Pass("anything", {}),
    Pass(
        "what is there",
        {
            "path.dataset": DATASET, "path.version": str(SERVED), "path.key": "ada", "path.part": "1",
            "path.file": "manifest.json",
        },
    ),
]


@dataclass(frozen=True)
class Seen:
    """What came of one pass."""

    requests: int
    # Routes that gave a success, and all that are declared.
    good: set[str]
    declared: set[str]


class Server:
    """A server on a directory of its own, with two versions of one dataset and two pushes that are open."""

    def __init__(self, binary: Path, directory: Path, data: Path) -> None:
        subprocess.run(["cp", "-a", data, directory / "data"], check=True)
        command = [binary, "serve", "--listen", "127.0.0.1:0", "--data", directory / "data"]
        self.log = directory / "stderr"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
        assert self.process.stdout
        line = self.process.stdout.readline().decode()
        if "listening on " not in line:
            raise Wrong(f"the server did not start: {self.log.read_text()}")
        self.url = line.rsplit(" ", 1)[1].strip()
        self.address = urllib.parse.urlsplit(self.url).netloc

    def ask(self, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self.address, timeout=60)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()

    def fill(self, headers: dict[str, str]) -> None:
        for _ in range(60_000):
            if self.ask("GET", "/readyz", headers)[0] == 200:
                break
            time.sleep(0.01)
        path = f"/v1/datasets/{DATASET}"
        for method, tail, body in [
            ("POST", "/push?key=k&format=ndjson", ROWS),
            ("POST", "/push?key=k&format=ndjson&label=second", ROWS.replace(b"ml", b"os")),
            ("POST", "/versions", b'{"format":"ndjson","key":["k"]}'),
            ("POST", "/versions", b'{"format":"ndjson","key":["k"]}'),
            ("PUT", "/versions/4/parts/1", ROWS),
        ]:
            status, said = self.ask(method, path + tail, headers, body)
            if status not in (200, 201):
                raise Wrong(f"{method} {path + tail} answered {status}: {said.decode()}")

    def requests(self, headers: dict[str, str]) -> tuple[int, set[str], list[str]]:
        """How many were answered, routes that gave a success, and counters that tell of a 5xx or a panic."""
        page = self.ask("GET", "/metrics", headers)[1].decode()
        total, good, bad = 0, set(), []
        for line in page.splitlines():
            if line.startswith("tidetable_requests_total"):
                total += int(float(line.rsplit(" ", 1)[1]))
                if 'status="2' in line:
                    good.add(line.split('route="', 1)[1].split('"', 1)[0])
                # Not an answer of the server's own failing: it was full, or stopping.
                if 'status="5' in line and 'status="503"' not in line and 'status="507"' not in line:
                    bad.append(line)
            if line.startswith("tidetable_panics_total") and not line.endswith(" 0"):
                bad.append(line)
        return total, good, bad

    def stop(self) -> None:
        self.process.terminate()
        if self.process.wait(60) != 0:
            raise Wrong(f"the server ended with {self.process.returncode}: {self.log.read_text()[-4000:]}")


def configuration(what: Pass, caller: Caller, directory: Path) -> Path:
    """A version that is still open would be waited for, for minutes."""
    lines = ["[[operations]]", 'include-operation-id = "getVersion"', "parameters = { wait = 0 }"]
    if what.fixed:
        fixed = ", ".join(f'"{name}" = {json.dumps(value)}' for name, value in what.fixed.items())
        lines = [f"parameters = {{ {fixed} }}", *lines]
        for operation, version in OF_A_PUSH.items():
            of_push = f'parameters = {{ "path.version" = "{version}" }}'
            lines += ["[[operations]]", f'include-operation-id = "{operation}"', of_push]
    path = directory / "schemathesis.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def run(
    options: argparse.Namespace, caller: Caller, admin: Caller, what: Pass, directory: Path
) -> Seen:
    server = Server(options.binary, directory, options.data)
    try:
        server.fill(admin.headers())
        # Of a parameter that is always the same, schemathesis believes that it is wrong at times.
        checks = CHECKS + (CHECKS_OF_AN_ADMIN if caller == admin else [])
        checks += CHECKS_OF_ANYTHING if caller == admin and not what.fixed else []
        examples = options.examples if caller == admin else min(options.examples, EXAMPLES_OF_OTHERS)
        phases = options.phases if caller == admin else "fuzzing"
        # Read by an admin, since not everybody may.
        status, document = server.ask("GET", "/openapi.json", admin.headers())
        if status != 200:
            raise Wrong(f"/openapi.json answered {status}: {document.decode()}")
        openapi = directory / "openapi.json"
        openapi.write_text(json.dumps(with_examples(json.loads(document))))
        command = [
            options.schemathesis, "--config-file", configuration(what, caller, directory), "run",
            openapi, "--url", server.url, "--checks", ",".join(checks), "--phases", phases,
            "--exclude-operation-id", LEFT_OUT, "--max-examples", str(examples), "--seed", str(options.seed), "--request-timeout", "60",
            "--continue-on-failure", "--warnings", "off", "--suppress-health-check", "all",
        ]
        for name, value in caller.headers().items():
            command += ["--header", f"{name}: {value}"]
        ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=directory)
        total, good, bad = server.requests(admin.headers())
        declared = set(json.loads(document)["paths"])
    finally:
        server.stop()
    said = ended.stdout.decode(errors="replace")
    if options.verbose or ended.returncode:
        print(said)
    if ended.returncode:
        raise Wrong(f"{caller.name}, {what.name}: schemathesis found what is above (seed {options.seed})")
    if bad:
        raise Wrong(f"{caller.name}, {what.name}: the server failed: {bad}\n{server.log.read_text()[-4000:]}")
    if total < (LEAST_REQUESTS if caller == admin else LEAST_REQUESTS_OF_OTHERS):
        raise Wrong(f"{caller.name}, {what.name}: only {total} requests were made\n{said}")
    return Seen(total, good, declared)


def with_examples(document: dict[str, Any]) -> dict[str, Any]:
    """The same, with bodies whose success would else be a matter of luck: of the versions that are made up, few are
    there."""
    for name, example in EXAMPLES.items():
        document["components"]["schemas"][name]["example"] = example
    return document


def callers(binary: Path, data: Path) -> list[Caller]:
    """A token of each role, the first of them an admin's, in a new data directory; and nobody."""

    def token(role: str) -> Caller:
        command = [binary, "token", "create", role, "--role", role, "--data", data]
        made = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        return Caller(role, made.stdout.decode().strip())

    return [token(role) for role in ROLES] + [Caller("nobody", None)]


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/conformance/run", description=__doc__.splitlines()[0])
    parser.add_argument("binary", type=Path)
    parser.add_argument("--schemathesis", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--examples", type=int, default=25, help="requests made up for each operation and pass")
    parser.add_argument("--phases", default="examples,coverage,fuzzing", help="those of schemathesis")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--verbose", action="store_true", help="show what schemathesis says of a pass that is good")
    options = parser.parse_args()
    wrong, unseen, succeeded = 0, set[str](), set[str]()
    home = tempfile.TemporaryDirectory(prefix="tidetable-conformance-")
    options.data = Path(home.name) / "data"
    admin, *others = callers(options.binary, options.data)
    for caller, what in [(admin, what) for what in PASSES] + [(caller, PASSES[-1]) for caller in others]:
        began = time.monotonic()
        try:
            with tempfile.TemporaryDirectory(prefix="tidetable-conformance-") as directory:
                seen = run(options, caller, admin, what, Path(directory))
            succeeded |= seen.good
            unseen |= seen.declared
            took = time.monotonic() - began
            print(f"{caller.name}, {what.name}: {seen.requests} requests in {took:.0f} s, all as declared", flush=True)
        except Wrong as error:
            wrong += 1
            print(f"WRONG: {error}", flush=True)
    for path in sorted(unseen - succeeded - NOT_REACHED):
        wrong += 1
        print(f"WRONG: no request for {path} succeeded, so that its answer was not seen")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
