"""DAGs push to a real server, in a real Airflow: `run` says what for, and installs what this needs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import traceback
import urllib.request
from pathlib import Path
from typing import Any, Callable

HERE = Path(__file__).parent
# How long a DAG run may take before the test gives up.
PATIENCE = 300


class Server:
    """`tidetable serve` on a free port of loopback, where only a token lets in."""

    def __init__(self, binary: str, home: Path) -> None:
        env = {k: v for k, v in os.environ.items() if not k.startswith("TIDETABLE_")}
        data = home / "data"
        made = subprocess.run(
            [binary, "token", "create", "airflow", "--role", "admin", "--data", data],
            env=env, check=True, capture_output=True, text=True,
        )
        self.token = made.stdout.strip()
        with open(home / "server.log", "wb") as log:
            self.process = subprocess.Popen(
                [binary, "serve", "--data", data, "--listen", "127.0.0.1:0"],
                stdout=subprocess.PIPE, stderr=log, env=env, text=True,
            )
        line = self.process.stdout.readline().strip()
        assert " listening on http://" in line, line
        self.url = line.rpartition(" listening on ")[2]

    def ask(self, path: str, body: bytes | None = None) -> Any:
        """A GET, or a POST of the body."""
        headers = {"authorization": f"Bearer {self.token}"}
        request = urllib.request.Request(self.url + path, body, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def push(self, dataset: str, row: dict[str, Any]) -> None:
        version = self.ask(f"/v1/datasets/{dataset}/push?key=id&format=ndjson", json.dumps(row).encode())
        assert version["state"] == "active", version

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=60)

    def versions(self, dataset: str) -> list[dict[str, Any]]:
        return self.ask(f"/v1/datasets/{dataset}/versions")["versions"][::-1]


class Airflow:
    """Its four processes, on a database of their own."""

    def __init__(self, home: Path, server: Server) -> None:
        self.home = home / "airflow-home"
        self.home.mkdir()
        port = free_port()
        self.env = os.environ | {
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW_CONN_TIDETABLE_DEFAULT": json.dumps({
                "conn_type": "tidetable", "host": "127.0.0.1", "port": int(server.url.rpartition(":")[2]),
                "password": server.token, "extra": {"total_timeout": 30},
            }),
            "AIRFLOW__API_AUTH__JWT_SECRET": "of-this-test-alone-and-long-enough-for-sha-512-" * 2,
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(HERE / "dags"),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": "2",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.home / 'airflow.db'}",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
            "RECOMMENDATIONS_DIR": str(home / "recommendations"),
            "TEST_FILES": str(home / "files"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        self.call("db", "migrate")
        # Without servers of logs, which would take ports of their own on all addresses.
        commands = (["api-server"], ["scheduler", "--skip-serve-logs"], ["dag-processor"], ["triggerer", "--skip-serve-logs"])
        for command in commands:
            with open(self.home / f"{command[0]}.log", "wb") as log:
                self.processes.append(subprocess.Popen(
                    ["airflow", *command], env=self.env, stdout=log, stderr=log, start_new_session=True,
                ))

    def call(self, *arguments: str) -> str:
        done = subprocess.run(["airflow", *arguments], env=self.env, capture_output=True, text=True)
        assert done.returncode == 0, f"airflow {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with sqlite3.connect(f"file:{self.home / 'airflow.db'}?mode=ro", uri=True, timeout=30) as database:
            return database.execute(sql, values).fetchall()

    def until(self, what: str, so: Callable[[], Any]) -> Any:
        """Asks until it is so; nothing is said about how soon."""
        deadline = time.monotonic() + PATIENCE
        while not (found := so()):
            for file, trace in self.query("select filename, stacktrace from import_error"):
                raise AssertionError(f"{file} is not read:\n{trace}")
            for process in self.processes:
                assert process.poll() is None, f"{process.args} has ended; see {self.home}"
            assert time.monotonic() < deadline, f"not within {PATIENCE} s: {what}"
            time.sleep(0.5)
        return found

    def known(self, dags: set[str]) -> None:
        self.until(f"the DAGs {dags} are known", lambda: dags <= {
            row[0] for row in self.query("select dag_id from serialized_dag")
        })

    def run(self, dag: str, run: str) -> str:
        """One run to its end: its state."""
        self.call("dags", "trigger", dag, "--run-id", run)
        return self.ended(dag, run)

    def ended(self, dag: str, run: str) -> str:
        ended = "select state from dag_run where dag_id = ? and run_id = ? and state in ('success', 'failed')"
        return self.until(f"{dag} ends", lambda: self.query(ended, dag, run))[0][0]

    def clear(self, dag: str, run: str, task: str | None = None) -> str:
        """The run once more, or this task of the only run of the DAG: its state at its end."""
        if task is not None:
            # Of its regular expression Airflow 3.3 makes a part of the task's name.
            self.call("tasks", "clear", dag, "--yes", "--task-regex", task)
        else:
            self.call("dags", "clear", dag, "--run-id", run, "--yes")
        return self.ended(dag, run)

    def tries(self, dag: str, run: str) -> dict[str, int]:
        rows = self.query("select task_id, try_number from task_instance where dag_id = ? and run_id = ?", dag, run)
        return dict(rows)

    def told(self, dag: str, task: str) -> Any:
        """What the task of the only run of the DAG returned."""
        [[text]] = self.query("select value from xcom where dag_id = ? and task_id = ? and key = 'return_value'", dag, task)
        told = json.loads(text)
        return json.loads(told) if isinstance(told, str) else told

    def stop(self) -> None:
        # Each with what it started: they are sessions of their own.
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                pass
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=30)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def write_files(home: Path) -> None:
    files = home / "files"
    files.mkdir()
    for name, ids in {"good-1": range(5), "good-2": range(5, 12)}.items():
        (files / f"{name}.ndjson").write_text("".join(f'{{"id":{i},"v":"{name}"}}\n' for i in ids))
    (files / "bad.ndjson").write_text('{"id":1}\n{"nothing":2}\n')


def the_provider_is_found(airflow: Airflow, server: Server) -> str:
    listed = airflow.call("providers", "list", "--output", "json")
    assert "tidetable-airflow" in listed, listed
    hooks = airflow.call("providers", "hooks", "--output", "json")
    assert "tidetable_airflow.hook.TidetableHook" in hooks, hooks
    return "the provider and its connection type are found"


def the_example_runs(airflow: Airflow, server: Server) -> str:
    assert airflow.run("example_tidetable", "night-1") == "success", airflow.tries("example_tidetable", "night-1")
    [version] = server.versions("course-recs")
    assert version["state"] == "active" and version["label"] == "night-1", version
    assert version["records"] == 100, version
    value = server.ask("/v1/datasets/course-recs/keys/42")
    assert [row["score"] for row in value] == sorted((row["score"] for row in value), reverse=True), value
    return "the example DAG: pushed, deferred, activated, seen by the sensor"


def a_connection_without_a_password_has_no_token(airflow: Airflow, server: Server) -> str:
    code = """
from types import SimpleNamespace
from tidetable import Client
from tidetable_airflow.hook import client_settings
connection = SimpleNamespace(host="h", port=None, schema=None, password=None, extra_dejson={})
print(Client(**client_settings(connection)).settings.token)
"""
    env = airflow.env | {"TIDETABLE_TOKEN": "tt_of_the_worker"}
    told = subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True, text=True).stdout
    assert told.splitlines()[-1] == "None", told
    return "a connection without a password: no token, and not the worker's"


def an_interrupted_run_retried_three_times_makes_one_version(airflow: Airflow, server: Server) -> str:
    assert airflow.run("interrupted", "night-1") == "success"
    assert airflow.tries("interrupted", "night-1") == {"push": 4}
    files = Path(airflow.env["TEST_FILES"])
    assert sorted(f.name for f in files.glob("try *")) == [f"try {n}" for n in range(1, 5)]
    assert (files / "active 1").exists(), "the third try was to fail after its version served"
    first, second = (set((files / f"parts {n}").read_text().split()) for n in (1, 2))
    assert len(first) == len(second) == 2 and not first & second, "a try that was given up could write into the next one's parts"
    [version] = server.versions("interrupted")
    assert version["state"] == "active" and version["records"] == 12, version
    assert airflow.run("interrupted", "night-2") == "success"
    assert len(server.versions("interrupted")) == 2, "another run makes another version"
    return "a run retried three times (killed, killed, failed): one version"


def what_is_refused_is_not_tried_again(airflow: Airflow, server: Server) -> str:
    assert airflow.run("refused", "night-1") == "failed"
    assert airflow.tries("refused", "night-1") == {"push": 1}
    [version] = server.versions("refused")
    assert version["code"] == "bad_rows", version
    assert airflow.run("late", "night-1") == "failed"
    assert airflow.tries("late", "night-1") == {"push": 4}, "a file that is late is waited for"
    return "bad rows: one try, one failed version; a missing file: all tries, no version"


def mapped_tasks_are_pushes_of_their_own(airflow: Airflow, server: Server) -> str:
    assert airflow.run("mapped", "night-1") == "success"
    for dataset in ("mapped-a", "mapped-b"):
        [version] = server.versions(dataset)
        assert version["records"] == 5, version
    return "mapped tasks: a push each"


def a_rollback_tried_twice_goes_back_once(airflow: Airflow, server: Server) -> str:
    assert airflow.run("back", "night-1") == "success"
    assert airflow.tries("back", "night-1")["undo"] == 2
    dataset = server.ask("/v1/datasets/back")
    assert dataset["current"] == 1 and dataset["held"], dataset
    events = [e["event"] for e in server.ask("/v1/datasets/back/history")["events"]]
    assert events.count("rolled_back") == 1, events
    return "a rollback tried twice: gone back once, and held"


def a_run_cleared_after_a_rollback_serves_its_corrected_data(airflow: Airflow, server: Server) -> str:
    dataset, file = "/v1/datasets/cleared", Path(airflow.env["TEST_FILES"]) / "cleared.ndjson"

    def served() -> tuple[int, Any]:
        return server.ask(dataset)["current"], server.ask(f"{dataset}/keys/1")["v"]

    server.push("cleared", {"id": 1, "v": "before"})
    file.write_text('{"id":1,"v":"wrong"}\n')
    assert airflow.run("cleared", "night-1") == "success"
    assert served() == (2, "wrong")
    server.ask(f"{dataset}/rollback", b'{"expect_current":2,"hold":false}')
    assert served() == (1, "before")
    # What is activated once more without a new push was rolled back from.
    assert airflow.clear("cleared", "night-1", "activate") == "failed"
    assert airflow.tries("cleared", "night-1")["activate"] == 2, "it is not tried again"
    file.write_text('{"id":1,"v":"right"}\n')
    assert airflow.clear("cleared", "night-1") == "success"
    assert served() == (3, "right")
    assert airflow.told("cleared", "activate")["changed"] is True
    # Another version has followed it: that one stays, and the result says so.
    server.push("cleared", {"id": 1, "v": "newer"})
    assert airflow.clear("cleared", "night-1", "activate") == "success"
    assert served() == (4, "newer")
    assert airflow.told("cleared", "activate")["changed"] is False
    return "a run cleared after a rollback: its corrected data serves; its activation alone fails, or changes nothing"


def a_rollback_cleared_after_another_push_does_not_pass_for_done(airflow: Airflow, server: Server) -> str:
    # One says which version it goes back from, the other does not.
    for dag, ends, current in (("undone", "success", 1), ("undone_blindly", "failed", 3)):
        dataset = f"/v1/datasets/{dag}"
        for n in (1, 2):
            server.push(dag, {"id": 1, "v": f"{n}"})
        assert airflow.run(dag, "night-1") == "success"
        assert server.ask(dataset)["current"] == 1
        server.push(dag, {"id": 1, "v": "3"})
        assert server.ask(dataset)["current"] == 3
        assert airflow.clear(dag, "night-1") == ends, dag
        assert server.ask(dataset)["current"] == current
        assert airflow.tries(dag, "night-1")["undo"] == 2, "it is not tried again"
    return "a rollback cleared after another push: goes back from that if it says so, and fails otherwise"


CHECKS = [
    the_provider_is_found,
    the_example_runs,
    a_connection_without_a_password_has_no_token,
    an_interrupted_run_retried_three_times_makes_one_version,
    what_is_refused_is_not_tried_again,
    mapped_tasks_are_pushes_of_their_own,
    a_rollback_tried_twice_goes_back_once,
    a_run_cleared_after_a_rollback_serves_its_corrected_data,
    a_rollback_cleared_after_another_push_does_not_pass_for_done,
]


def main() -> None:
    binary, home = sys.argv[1], Path(sys.argv[2])
    # Checks whose name contains it.
    only = sys.argv[3] if len(sys.argv) > 3 else ""
    write_files(home)
    passed = failed = 0
    with contextlib.ExitStack() as running:
        server = Server(binary, home)
        running.callback(server.stop)
        started = time.monotonic()
        airflow = Airflow(home, server)
        running.callback(airflow.stop)
        airflow.start()
        airflow.known({
            "example_tidetable", "interrupted", "refused", "late", "mapped", "back", "cleared", "undone", "undone_blindly",
        })
        print(f"Airflow is up ({time.monotonic() - started:.0f} s)", flush=True)
        for check in CHECKS:
            if only not in check.__name__:
                continue
            started = time.monotonic()
            try:
                print(f"ok      {check(airflow, server)} ({time.monotonic() - started:.1f} s)", flush=True)
                passed += 1
            except Exception:
                print(f"FAILED  {check.__name__}\n{traceback.format_exc()}", flush=True)
                failed += 1
        if failed:
            for log in sorted((airflow.home / "logs").rglob("*.log")):
                if "dag_id=" in str(log):
                    print(f"--- {log}\n{log.read_text()[-3000:]}")
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main()
