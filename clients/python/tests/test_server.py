"""Both clients against a real server."""

import asyncio
import contextlib
import datetime
import http.client
import io
import json
import pathlib
import pickle
import socket
import tempfile
import threading
import unittest
from typing import Any
from unittest import mock

from tidetable import (
    AsyncClient,
    Client,
    Conflict,
    ConnectError,
    GateRefused,
    InvalidArgument,
    InvalidRequest,
    NotFound,
    PushOptions,
    PushRefused,
    Record,
    ndjson,
)

from .harness import Scripted, Server, answer, certificate, client_of, reset, server, stop_server


def setUpModule() -> None:
    server()


def tearDownModule() -> None:
    stop_server()


def people(edition: int, count: int = 5) -> list[dict[str, Any]]:
    return [{"id": n, "name": f"n{n}", "edition": edition} for n in range(count)]


class WithServer(unittest.TestCase):
    def setUp(self) -> None:
        self.client = client_of(server().url)
        self.addCleanup(self.client.close)
        # Every test has datasets of its own.
        self.name = self.id().rsplit(".", 1)[1].replace("_", "-")[-60:].strip("-")

    def publish(self, data: Any, **options: Any) -> Any:
        return self.client.publish(data, self.name, key="id", **options)


class Reads(WithServer):
    def test_one_key(self) -> None:
        self.publish(people(1), as_of=datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc))
        self.assertEqual(self.client.get(self.name, 3), {"id": 3, "name": "n3", "edition": 1})
        self.assertEqual(self.client.get(self.name, "3", fields=["name"]), {"name": "n3"})
        self.assertEqual(self.client.get(self.name, b"3", fields="name"), {"name": "n3"})
        self.assertEqual(json.loads(self.client.get(self.name, 3, raw=True)), self.client.get(self.name, 3))
        self.assertIsNone(self.client.get(self.name, "nobody"))
        entry = self.client.get_entry(self.name, 3)
        assert entry is not None
        self.assertEqual((entry.version, entry.as_of), (1, "2026-01-02T00:00:00Z"))
        self.assertIsNone(self.client.get_entry(self.name, "nobody"))

    def test_what_is_not_there(self) -> None:
        with self.assertRaises(NotFound) as raised:
            self.client.get("no-such-dataset", "k")
        self.assertEqual((raised.exception.code, raised.exception.status), ("dataset_not_found", 404))
        self.assertTrue(raised.exception.request_id)
        self.publish(people(1), activate=False)
        with self.assertRaises(NotFound) as raised:
            self.client.get(self.name, 1)
        self.assertEqual(raised.exception.code, "no_current_version")
        with self.assertRaises(NotFound) as raised:
            self.client.snapshot(self.name)
        self.assertEqual(raised.exception.code, "no_current_version")
        with self.assertRaises(NotFound):
            self.client.get_many(self.name, [1], version=7)
        with self.assertRaises(InvalidRequest):
            self.client.get("Not-A-Name", "k")

    def test_odd_keys_come_back_as_they_were_asked_for(self) -> None:
        keys = [".", "..", "a/b", "a b+c%25?#", "ü", "日本", "\x00\n", '"\\', "{", "x" * 20_000, "ü" * 4000]
        self.publish([{"id": key, "n": n} for n, key in enumerate(keys)])
        found = self.client.get_many(self.name, keys, fields=["n"])
        self.assertEqual(list(found), keys)
        raw = self.client.get_many(self.name, [key.encode() for key in keys], raw=True)
        for n, key in enumerate(keys):
            self.assertEqual(self.client.get(self.name, key, fields=["n"]), {"n": n}, key[:20])
            self.assertEqual(found[key], {"n": n})
            self.assertEqual(json.loads(raw[key.encode()]), {"id": key, "n": n})
            self.assertEqual(json.loads(self.client.get_many(self.name, [key, "no"], raw=True)[key])["n"], n)

    def test_big_batches_and_pinned_versions(self) -> None:
        self.publish(people(1, 3500))
        self.publish(people(2, 3500))
        wanted = [*range(2990, 3600), "nobody", *range(2500)]
        found = self.client.get_many(self.name, wanted)
        self.assertEqual((len(found), found.version), (510 + 2500, 2))
        self.assertEqual({value["edition"] for value in found.values()}, {2})
        self.assertNotIn("nobody", found)
        snapshot = self.client.snapshot(self.name, 1)
        self.assertEqual(snapshot.get(5)["edition"], 1)
        self.assertEqual({value["edition"] for value in snapshot.get_many(range(2000)).values()}, {1})
        self.assertEqual(self.client.snapshot(self.name).version, 2)
        raw = self.client.get_many(self.name, wanted, raw=True)
        self.assertEqual({key: json.loads(value) for key, value in raw.items()}, found)

    def test_several_datasets_at_one_instant(self) -> None:
        self.publish(people(1, 900))
        other = f"{self.name}-b"
        self.client.publish(people(7, 20), other, key="id")
        answers = self.client.multi(
            {self.name: range(950), other: [1, 2, 99], "absent": [1]}, fields={other: ["edition"]}
        )
        self.assertEqual(len(answers[self.name]), 900)
        self.assertEqual(answers[other], {1: {"edition": 7}, 2: {"edition": 7}})
        self.assertEqual(answers.errors["absent"].code, "dataset_not_found")

    def test_a_scan_goes_over_pages_of_one_version(self) -> None:
        self.publish([{"id": f"{letter}:{n:04}", "n": n} for letter in "ab" for n in range(1200)])
        scan = self.client.scan(self.name, "b:", fields="n")
        records = list(scan)
        self.assertEqual(([record.key for record in records], scan.version), ([f"b:{n:04}" for n in range(1200)], 1))
        self.assertEqual(records[7].value, {"n": 7})
        paged = self.client.scan(self.name, b"a:", limit=25, page_size=10)
        self.assertEqual([key for key, _ in paged], [b"a:%04d" % n for n in range(25)])
        self.assertEqual(list(self.client.scan(self.name, "zzz")), [])
        first = next(self.client.scan(self.name))
        self.assertIsInstance(first, Record)
        going = self.client.scan(self.name, page_size=500)
        keys = [next(going).key for _ in range(10)]
        self.client.configure(self.name, gates={"max_keys_removed_percent": None})
        self.assertTrue(self.publish([{"id": f"{n}", "n": n} for n in range(3000)]).current)
        keys += [record.key for record in going]
        self.assertEqual((len(keys), going.version), (2400, 1))

    def test_values_that_are_no_json(self) -> None:
        self.client.configure(self.name, content_type="text/plain", retain=2)
        self.publish([{"id": "a", "t": "x"}], value="t")
        self.assertEqual(self.client.get(self.name, "a"), b'"x"')
        self.assertEqual(self.client.get_many(self.name, ["a", "b"]), {"a": b'"x"'})
        self.assertEqual(self.client.get_many(self.name, ["a", "b"], raw=True), {"a": b'"x"'})
        self.assertEqual(list(self.client.scan(self.name)), [("a", b'"x"')])

    def test_threads_see_whole_versions_while_they_are_swapped(self) -> None:
        self.publish(people(1, 1200))
        wrong: list[Any] = []
        seen = {edition: threading.Event() for edition in range(1, 5)}
        stop = threading.Event()

        def look() -> None:
            found = self.client.get_many(self.name, range(1200))
            editions = {value["edition"] for value in found.values()}
            if found.version is None or editions != {found.version} or len(found) != 1200:
                wrong.append((editions, found.version))
            else:
                seen[found.version].set()

        def reader() -> None:
            try:
                while not stop.is_set():
                    look()
            except Exception as error:
                # Nobody else would hear of it, and nobody is to wait for what it would have seen.
                wrong.append(error)
                for event in seen.values():
                    event.set()

        threads = [threading.Thread(target=reader) for _ in range(3)]
        for thread in threads:
            thread.start()
        unseen = []
        try:
            for edition, event in seen.items():
                if edition > 1:
                    self.publish(people(edition, 1200))
                if not event.wait(30):
                    unseen.append(edition)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self.assertEqual((wrong, unseen), ([], []))


class Pushes(WithServer):
    def test_rows_become_a_version(self) -> None:
        rows = [{"id": 7, "course": "a", "score": 0.1}, {"id": 7, "course": "b", "score": 0.2}]
        version = self.publish(rows, collect=True, order_by="score:desc", fields=["course"], label="run-1")
        self.assertEqual((version.version, version.state, version.records, version.label), (1, "active", 1, "run-1"))
        self.assertEqual(self.client.get(self.name, 7), [{"course": "b"}, {"course": "a"}])

    def test_files_and_generators(self) -> None:
        with tempfile.TemporaryDirectory() as home:
            path = pathlib.Path(home, "x.csv")
            path.write_text("id,n\n1,a\n2,b\n")
            self.assertEqual(self.publish(path).records, 2)
            self.assertEqual(self.publish([path, path], on_duplicate="first").records, 2)
        self.assertEqual(self.publish(b'{"id":1}\n', format="ndjson", activate=False).records, 1)
        self.assertEqual(self.publish({"id": n} for n in range(20_000)).records, 20_000)

    def test_a_gate_that_refuses_says_which(self) -> None:
        self.client.configure(self.name, gates={"min_records": 3})
        with self.assertRaises(GateRefused) as raised:
            self.publish(people(1, 2))
        self.assertEqual((raised.exception.gates[0]["gate"], raised.exception.version), ("min_records", 1))
        self.assertEqual(self.client.config(self.name)["gates"]["min_records"], 3)
        self.assertEqual(self.client.version(self.name, 1).state, "rejected")

    def test_rows_that_cannot_be_say_which_and_leave_nothing(self) -> None:
        with self.assertRaises(PushRefused) as raised:
            self.publish([{"id": 1}, {"other": 2}])
        self.assertEqual(raised.exception.code, "bad_rows")
        self.assertTrue(raised.exception.problems)
        with self.assertRaises(PushRefused):
            self.publish([])
        with self.assertRaises(InvalidArgument):
            self.publish([{"id": 1}, {"id": object()}])
        with self.assertRaises(ZeroDivisionError):
            self.publish({"id": 1 // (3 - n)} for n in range(9))
        self.assertEqual([version.state for version in self.client.versions(self.name)], ["failed"])
        with self.assertRaises(InvalidRequest):
            self.client.publish([{"id": 1}], self.name)
        with self.assertRaises(InvalidArgument):
            self.publish([{"id": 1}], colect=True)

    def test_one_idempotency_key_is_one_version(self) -> None:
        first = self.publish(people(1), idempotency_key="night-1")
        again = self.publish(people(1), idempotency_key="night-1")
        self.assertEqual((again.version, again.state), (first.version, "active"))
        other = self.publish(people(1), idempotency_key="night-2")
        self.assertEqual(other.version, 2)
        self.assertEqual(self.publish(people(1)).version, 3)

    def test_two_runs_of_one_job_at_the_same_time_are_one_version(self) -> None:
        versions: list[int] = []

        def run() -> None:
            with client_of(server().url) as client:
                version = client.publish(({"id": n} for n in range(5000)), self.name, key="id", idempotency_key="job")
                versions.append(version.version)

        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(versions, [1] * 4)
        self.assertEqual(self.client.version(self.name, 1).records, 5000)

    def test_a_run_that_was_cut_off_is_gone_on_with(self) -> None:
        options = PushOptions(key="id", format="ndjson")
        session = self.client.begin(self.name, options, idempotency_key="job")
        session.put_part("half-of-it", b'{"id":99}\n')
        version = self.publish(people(1), idempotency_key="job")
        self.assertEqual((version.version, version.records), (1, 5))

    def test_parts_of_many_processes(self) -> None:
        session = self.client.begin(self.name, PushOptions(key="id", format="ndjson"))
        carried = pickle.dumps(session)
        with pickle.loads(carried) as elsewhere:
            self.assertNotIn("token", repr(elsewhere))
            elsewhere.put_part("task-0-try-0", b'{"id":"a"}\n')
            elsewhere.put_part("task-0-try-1", b'{"id":"b"}\n')
        part = session.put_part("task-1-try-0", lambda: [b'{"id":', b'"c"}\n'])
        self.assertEqual((part.name, part.bytes), ("task-1-try-0", 11))
        session.put_part("task-2-try-0", iter([b'{"id":"d"}\n']))
        with tempfile.NamedTemporaryFile() as file:
            file.write(b'{"id":"e"}\n')
            file.flush()
            session.put_part("task-3-try-0", pathlib.Path(file.name))
        self.assertEqual(len(session.parts()), 5)
        with self.assertRaises(Conflict) as missing:
            session.commit(["task-9"])
        self.assertEqual(missing.exception.code, "parts_missing")
        names = ["task-0-try-1", "task-1-try-0", "task-2-try-0", "task-3-try-0"]
        version = session.commit(names)
        self.assertEqual((version.state, version.records), ("active", 4))
        self.assertEqual(session.commit(names).version, version.version)
        self.assertIsNone(self.client.get(self.name, "a"))
        self.assertEqual(session.status().state, "active")

    def test_a_part_whose_digest_is_another_is_refused(self) -> None:
        session = self.client.begin(self.name, PushOptions(key="id", format="ndjson"))
        with self.assertRaises(InvalidRequest) as raised:
            session.put_part("x", b"abc", digest="00" * 32)
        self.assertEqual(raised.exception.code, "digest_mismatch")
        self.assertEqual(session.parts(), [])
        session.abort()
        session.abort()
        self.assertEqual(self.client.version(self.name, session.version).state, "deleted")

    def test_a_held_push_is_ready(self) -> None:
        self.publish(people(1))
        self.assertTrue(self.client.hold(self.name, reason="exams").changed)
        version = self.publish(people(2))
        self.assertEqual((version.state, version.held), ("ready", True))
        released = self.client.release(self.name)
        self.assertEqual(released.activated, {"from": 1, "to": 2})

    def test_data_frames(self) -> None:
        try:
            import pandas
            import polars
            import pyarrow
        except ImportError:
            self.skipTest("pandas, Polars or PyArrow is not there")
        at = datetime.datetime(2026, 1, 2, 3, 4, 5, 120_000)
        rows = [{"id": n, "x": n / 4, "t": "ü", "at": at} for n in range(500)]
        datas: list[Any] = [
            rows,
            pandas.DataFrame(rows),
            polars.DataFrame(rows),
            pyarrow.Table.from_pylist(rows),
            pyarrow.Table.from_pylist(rows).to_reader(),
            pandas.DataFrame(rows).set_index("id").reset_index(),
        ]
        digests = {self.publish(data).content_digest for data in datas}
        self.assertEqual(len(digests), 1)
        self.assertEqual(
            self.client.get(self.name, 3), {"id": 3, "x": 0.75, "t": "ü", "at": "2026-01-02T03:04:05.120Z"}
        )


class Operations(WithServer):
    def test_a_day_of_an_operator(self) -> None:
        for edition in (1, 2, 3):
            self.publish(people(edition))
        self.assertEqual([version.version for version in self.client.versions(self.name)], [3, 2, 1])
        self.assertEqual([version.version for version in self.client.versions(self.name, limit=2)], [3, 2])
        diff = self.client.diff(self.name, 1, 3, samples=1)
        self.assertEqual((diff.changed, diff.equal, diff.fields), (5, 0, {"edition": 5}))
        moved = self.client.rollback(self.name, reason="wrong", expect_current=3)
        self.assertEqual((moved.from_version, moved.to_version, moved.held, moved.marked_bad), (3, 2, True, 3))
        with self.assertRaises(Conflict) as raised:
            self.client.rollback(self.name, expect_current=3)
        self.assertEqual(raised.exception.code, "current_changed")
        with self.assertRaises(Conflict) as raised:
            self.client.activate(self.name, 3)
        self.assertEqual(raised.exception.code, "needs_force")
        self.assertEqual(self.client.activate(self.name, 3, force=True, reason="right after all").to_version, 3)
        self.client.release(self.name)
        events = self.client.history(self.name)
        self.assertEqual([event.event for event in events[:4]], ["released", "activated", "held", "rolled_back"])
        self.assertEqual([event.event for event in self.client.history(self.name, limit=1)], ["released"])
        self.assertEqual(self.client.dataset(self.name).current, 3)
        self.assertIn(self.name, [dataset.dataset for dataset in self.client.datasets()])
        self.client.delete_version(self.name, 1)
        with self.assertRaises(NotFound) as gone:
            self.client.get(self.name, 1, version=1)
        self.assertEqual(gone.exception.code, "version_deleted")
        self.client.delete_dataset(self.name)
        with self.assertRaises(NotFound):
            self.client.dataset(self.name)

    def test_several_datasets_move_together(self) -> None:
        other = f"{self.name}-b"
        self.publish(people(1), activate=False)
        self.client.publish(people(1), other, key="id", activate=False)
        moved = self.client.activate_together({self.name: 1, other: 1})
        self.assertEqual([one.to_version for one in moved], [1, 1])


class Broken(WithServer):
    """A push whose connection breaks once, at each of its requests in turn."""

    def test_it_makes_one_version_of_all_rows(self) -> None:
        upstream = server()
        for lost in (False, True):
            number = 0
            while True:
                name = f"{self.name[-40:]}-{'lost' if lost else 'refused'}-{number}"
                proxy = breaking(upstream, number, lost)
                with client_of(proxy.url) as client, mock.patch.object(ndjson, "PART_BYTES", 700):
                    version = client.publish(people(1, 50), name, key="id")
                proxy.close()
                self.assertEqual((version.version, version.state, version.records), (1, "active", 50), (lost, number))
                self.assertEqual(len(self.client.versions(name)), 1)
                if len(proxy.requests) <= number:
                    break
                number += 1
            self.assertGreater(number, 5)


def breaking(upstream: Server, wrong: int, lost: bool) -> Scripted:
    """A proxy that resets the connection of one request: before the server has it, or when it has answered."""
    held: list[Scripted] = []

    def script(connection: socket.socket, number: int) -> None:
        while True:
            request = held[0].read_request(connection)
            if not request:
                return
            is_wrong = len(held[0].requests) == wrong + 1
            if not is_wrong or lost:
                answered = forwarded(upstream, request)
                if not is_wrong:
                    connection.sendall(answered)
                    continue
            reset(connection)
            return

    held.append(Scripted(script))
    return held[0]


def forwarded(upstream: Server, request: bytes) -> bytes:
    head, _, body = request.partition(b"\r\n\r\n")
    method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    asked = http.client.HTTPConnection("127.0.0.1", upstream.port, timeout=60)
    asked.request(method, target, body, headers)
    told = asked.getresponse()
    text = told.read()
    asked.close()
    return answer(told.status, text, kind=told.headers.get("Content-Type", ""))


class Secured(unittest.TestCase):
    """TLS, with a certificate of the test's own."""

    def test_both_clients_over_tls(self) -> None:
        with tempfile.TemporaryDirectory() as home:
            made, key = certificate(home)
            secured = Server("https", tls_certificate=made, tls_key=key)
            self.addCleanup(secured.stop)
            with Client(secured.url, ca_file=made) as client:
                client.publish(people(1, 2000), "d", key="id")
                self.assertEqual(client.get("d", 3, "id"), {"id": 3})
                self.assertEqual(len(client.get_many("d", range(3000))), 2000)

            async def run() -> None:
                async with AsyncClient(secured.url, ca_file=made) as client:
                    self.assertEqual(await client.get("d", 3, "id"), {"id": 3})
                    self.assertEqual(len(await client.get_many("d", range(3000))), 2000)
                    await client.publish(people(2, 2000), "d", key="id")

            asyncio.run(run())
            with Client(secured.url) as client, self.assertRaises(ConnectError):
                client.get("d", 3)


class Readme(unittest.TestCase):
    def test_the_start_does_what_it_says(self) -> None:
        text = pathlib.Path(__file__).parent.parent.joinpath("README.md").read_text(encoding="utf-8")
        code = text.split("```python\n")[1].split("```")[0]
        said = [line.split("# ")[1] for line in code.splitlines() if "# " in line]
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code.replace("http://127.0.0.1:7070", server().url), {})
        self.assertEqual(printed.getvalue().splitlines(), said)


class Tasks(WithServer):
    def test_everything_awaited(self) -> None:
        name = self.name

        async def run() -> None:
            async with AsyncClient(server().url, total_timeout=10) as client:
                version = await client.publish(people(1, 2500), name, key="id", label="x")
                self.assertEqual(version.records, 2500)
                self.assertEqual((await client.get(name, 3))["name"], "n3")
                self.assertEqual(len(await client.get_many(name, range(2400))), 2400)
                self.assertEqual(len((await client.multi({name: [1, 2]}))[name]), 2)
                self.assertEqual(len([record async for record in client.scan(name, page_size=700)]), 2500)
                snapshot = await client.snapshot(name)
                self.assertEqual((await snapshot.get(1, "edition"), snapshot.version), ({"edition": 1}, 1))
                session = await client.begin(name, key="id", format="ndjson")
                # In pieces, and more of them than are written at once.
                row = b'{"id":%d,"name":"n%d","edition":2,"pad":"' + b"x" * 500 + b'"}\n'
                await session.put_part("a", lambda: [row % (n, n) for n in range(3000)])
                self.assertEqual((await session.commit(["a"], activate=False)).records, 3000)
                self.assertEqual((await client.activate(name, 2, expect_current=1)).from_version, 1)
                self.assertEqual((await client.rollback(name, hold=False)).to_version, 1)
                aborted = await client.begin(name, key="id", format="ndjson")
                await aborted.abort()
                self.assertEqual((await client.version(name, 3)).state, "deleted")
                with self.assertRaises(GateRefused):
                    await client.configure(name, gates={"min_records": 10})
                    await client.publish([{"id": 1}], name, key="id")

        asyncio.run(run())


if __name__ == "__main__":
    unittest.main()
