"""What callers give is refused by its name, at once and unasked, if it cannot be meant."""

import datetime
import math
import unittest
from typing import Any, Callable

from tidetable import AsyncClient, CachePolicy, Client, InvalidArgument, PushOptions, PushSession, Version, lookups
from tidetable.calls import Core
from tidetable.http1 import Request
from tidetable.settings import Settings


class Arguments(unittest.TestCase):
    def refused(self, name: str, call: Callable[[], Any]) -> None:
        with self.subTest(name=name), self.assertRaises(InvalidArgument) as raised:
            call()
        self.assertIn(name, str(raised.exception))

    def setUp(self) -> None:
        # Nobody listens there: what was asked would end in a ConnectError.
        self.client: Any = Client("http://127.0.0.1:1", max_tries=1)
        self.addCleanup(self.client.close)

    def test_a_scan_is_refused_when_it_is_made(self) -> None:
        given: list[tuple[str, list[Any]]] = [
            ("dataset", [None, 7, "", "\ud800"]),
            ("prefix", [None, 7, ["a"], "\ud800"]),
            ("limit", [-1, 1.5, "5", True, math.nan]),
            ("page_size", [0, None, "5", True]),
            ("fields", ["", [], [7], 7, ["a,b"], b"a"]),
            ("version", [0, "1", 1.0, True]),
            ("unit", [7, "a\r\n"]),
        ]
        for name, wrong in given:
            for value in wrong:
                for client in (self.client, AsyncClient("http://127.0.0.1:1")):
                    asked = {"dataset": "d", name: value}
                    self.refused(name, lambda client=client, asked=asked: client.scan(**asked))  # type: ignore[misc]
        self.assertEqual(list(self.client.scan("d", limit=0)), [])

    def test_reads(self) -> None:
        client = self.client
        for wrong in ("1", 1.0, True, 0, -1):
            self.refused("version", lambda wrong=wrong: client.get("d", "k", version=wrong))  # type: ignore[misc]
            self.refused("version", lambda wrong=wrong: client.get_many("d", ["k"], version=wrong))  # type: ignore[misc]
            self.refused("version", lambda wrong=wrong: client.multi({"d": ["k"]}, versions={"d": wrong}))  # type: ignore[misc]
        self.refused("dataset", lambda: client.get(None, "k"))
        self.refused("keys", lambda: client.get_many("d", 7))
        self.refused("a key", lambda: client.get_many("d", [["k"]]))
        self.refused("requests", lambda: client.multi(["d"]))
        self.refused("fields", lambda: client.multi({"d": ["k"]}, fields="v"))
        self.refused("versions", lambda: client.multi({"d": ["k"]}, versions=[1]))
        self.refused("unit", lambda: client.get("d", "k", unit=7))

    def test_a_version_that_a_call_gave_stands_for_its_number(self) -> None:
        call = lookups.get_entry(Core(Settings()), "d", "k", None, Version(version=3), None, False)  # type: ignore[arg-type]
        request = next(call)
        assert isinstance(request, Request)
        self.assertEqual(request.path, "/v1/datasets/d/keys/k?version=3")

    def test_operations(self) -> None:
        client = self.client
        self.refused("version", lambda: client.activate("d", "1"))
        self.refused("expect_current", lambda: client.activate("d", 1, expect_current="1"))
        self.refused("reason", lambda: client.activate("d", 1, reason=7))
        self.refused("timeout", lambda: client.activate("d", 1, timeout="5"))
        self.refused("idempotency_key", lambda: client.activate("d", 1, idempotency_key=7))
        self.refused("to is", lambda: client.rollback("d", to=1.5))
        self.refused("versions", lambda: client.activate_together([("d", 1)]))
        self.refused("from_version", lambda: client.diff("d", None, 2))
        self.refused("samples", lambda: client.diff("d", 1, 2, samples=-1))
        self.refused("limit", lambda: client.versions("d", limit="5"))
        self.refused("JSON", lambda: client.configure("d", retain=object()))
        for wrong in (-1, math.inf, math.nan, "5", True):
            self.refused("timeout", lambda wrong=wrong: client.wait_for("d", 1, timeout=wrong))  # type: ignore[misc]

    def test_options_of_a_push(self) -> None:
        given: list[tuple[str, list[Any]]] = [
            ("key", [7, {"a": 1}, [7], b"k"]),
            ("fields", [7, [None]]),
            ("order_by", [7]),
            ("collect", [None, 1]),
            ("activate", [None]),
            ("limit", [0, 1.5, True]),
            ("on_duplicate", ["best", 7]),
            ("nan", ["nul", True]),
            ("types", [7, [7]]),
            ("label", [7]),
            ("as_of", ["yesterday", "2026-11-26", 7, datetime.date(2026, 1, 1), datetime.datetime(2026, 1, 1)]),
            ("more", [7]),
        ]
        for name, wrong in given:
            for value in wrong:
                self.refused(name, lambda name=name, value=value: PushOptions(**{name: value}))  # type: ignore[misc]
        self.refused("options", lambda: self.client.publish([], "d", options={"key": "k"}))
        options = PushOptions(key=(name for name in "ab"), limit=3)  # type: ignore[arg-type]
        self.assertEqual([options.body(), options.body()], [{"key": ["a", "b"], "limit": 3, "activate": True}] * 2)
        self.assertEqual(list(options.key_fields()), ["a", "b"])

    def test_parts_of_a_push(self) -> None:
        session = PushSession(self.client, Version(dataset="d", version=1))
        wrong: Any = 7
        self.refused("data of a part", lambda: session.put_part("a", wrong))
        self.refused("name", lambda: session.put_part(wrong, b""))
        self.refused("digest", lambda: session.put_part("a", b"", wrong))
        self.refused("parts", lambda: session.commit("a"))

    def test_settings_of_a_client(self) -> None:
        given: list[tuple[str, list[Any]]] = [
            ("connect_timeout", [0, -1, "1", None, math.inf, math.nan, True]),
            ("total_timeout", [0, "5", None, math.inf]),
            ("pool_size", [0, 1.5, "1", True]),
            ("max_tries", [0, None]),
            ("cache", [True, {"ttl": 1}]),
            ("loads", ["json"]),
            ("token", [7]),
            ("unit", [7, "a\n"]),
            ("base_url", [7]),
        ]
        for name, wrong in given:
            for value in wrong:
                asked = {"base_url": "http://h:1", name: value}
                self.refused(name, lambda asked=asked: Client(**asked))  # type: ignore[misc]
        for token in ("tt_secret\ud800", b"tt_secret"):
            with self.assertRaises(InvalidArgument) as raised:
                Client("http://h:1", token=token)  # type: ignore[arg-type]
            self.assertNotIn("secret", str(raised.exception))
        self.refused("ca_file", lambda: Client("https://h:1", ca_file="/nowhere/at/all.pem"))

    def test_a_policy_of_a_cache(self) -> None:
        given: list[tuple[str, list[Any]]] = [
            ("ttl", [-1, "1", None, math.nan, True]),
            ("mode", ["versions", None, []]),
            ("max_entries", [-1, 1.5, "1"]),
            ("max_bytes", [-1, None]),
        ]
        for name, wrong in given:
            for value in wrong:
                self.refused(name, lambda name=name, value=value: CachePolicy(**{name: value}))  # type: ignore[misc]
        self.assertEqual([CachePolicy(ttl=ttl).ttl for ttl in (0, 0.5, math.inf)], [0, 0.5, math.inf])


if __name__ == "__main__":
    unittest.main()
