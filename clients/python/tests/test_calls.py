"""What is asked, retried, cut and kept, driven by hand: no sockets, no clock."""

import hashlib
import json
import unittest
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any, Callable, Optional, Union
from unittest import mock

from tidetable import (
    ApiError,
    BrokenConnection,
    CachePolicy,
    Conflict,
    ConnectError,
    DeadlineExceeded,
    Erased,
    GateRefused,
    InvalidArgument,
    NotFound,
    PushOptions,
    PushRefused,
    Settings,
    Unavailable,
    Version,
    batches,
    lookups,
    ndjson,
    operations,
    push_calls,
    scans,
)
from tidetable.calls import Call, Core, Pause, Work
from tidetable.http1 import Request, Response
from tidetable.keys import path_key
from tidetable.publish import publish_call
from tidetable.retries import Budget, Patience, retry_after

Reply = Union[Response, Exception]


class Driven:
    """Answers the requests of a call from a list or a function, and notes what was asked. Pauses move its clock."""

    def __init__(self, replies: Union[list[Reply], Callable[[Request], Reply]], **settings: Any) -> None:
        self.core = Core(Settings("http://h:7070", **settings))
        self.now = 1000.0
        self.core.clock = lambda: self.now
        self.core.draw = lambda: 1.0
        self.asked: list[Request] = []
        self.pauses: list[float] = []
        self._replies = replies

    def run(self, call: Call[Any]) -> Any:
        try:
            effect = next(call)
            while True:
                if isinstance(effect, Pause):
                    self.pauses.append(effect.seconds)
                    self.now += effect.seconds
                    effect = call.send(None)
                elif isinstance(effect, Work):
                    effect = call.send(effect.function())
                else:
                    self.asked.append(effect)
                    reply = self._replies(effect) if callable(self._replies) else self._replies.pop(0)
                    effect = call.throw(reply) if isinstance(reply, Exception) else call.send(reply)
        except StopIteration as done:
            return done.value

    def get(self, key: Union[str, bytes, int] = "k", **more: Any) -> Any:
        given: dict[str, Any] = dict(fields=None, version=None, unit=None, raw=False)
        given.update(more)
        return self.run(lookups.get_entry(self.core, "d", key, **given))

    def get_many(self, keys: list[Any], **more: Any) -> Any:
        given: dict[str, Any] = dict(fields=None, version=None, unit=None, raw=False)
        given.update(more)
        return self.run(batches.get_many(self.core, "d", keys, **given))

    def bodies(self) -> list[dict[str, Any]]:
        return [sent(request) for request in self.asked]

    def header(self, number: int, name: str) -> Optional[bytes]:
        return dict(self.asked[number].headers).get(name)


def sent(request: Request) -> Any:
    """The JSON of a request."""
    assert isinstance(request.body, bytes)
    return json.loads(request.body)


def value(body: bytes, version: int = 1, etag: str = '"e"', status: int = 200) -> Response:
    headers = {"content-type": "application/json", "tidetable-version": str(version), "etag": etag}
    return Response(status, headers, body)


def problem(status: int, code: str, **headers: str) -> Response:
    told = {
        "content-type": "application/problem+json",
        **{name.replace("_", "-"): text for name, text in headers.items()},
    }
    return Response(
        status, told, json.dumps({"code": code, "status": status, "detail": "so", "request_id": "r"}).encode()
    )


def batch(request: Request, version: int = 1, absent: Any = ()) -> Response:
    """Every key has its own text for its value, but those that are absent."""
    keys = sent(request)["keys"]
    results = [{"key": k, "found": False} if k in absent else {"key": k, "found": True, "value": k} for k in keys]
    return Response(200, {}, json.dumps({"version": version, "results": results}).encode())


class Gets(unittest.TestCase):
    def test_a_value_with_what_is_known_of_it(self) -> None:
        driven = Driven([value(b'{"x":1}', 7)])
        entry = driven.get()
        self.assertEqual((entry.value, entry.version, entry.etag, entry.as_of), ({"x": 1}, 7, '"e"', None))
        self.assertEqual(driven.asked[0].path, "/v1/datasets/d/keys/k")

    def test_an_absent_key_is_none_and_everything_else_an_error(self) -> None:
        self.assertIsNone(Driven([problem(404, "key_not_found")]).get())
        for status, code, kind in (
            (404, "dataset_not_found", NotFound),
            (404, "no_current_version", NotFound),
            (410, "version_deleted", NotFound),
            (410, "erased", Erased),
            (422, "gate_refused", GateRefused),
            (422, "idempotency_key_reused", Conflict),
            (422, "bad_rows", PushRefused),
            (500, "data_corrupt", ApiError),
        ):
            with self.subTest(code=code), self.assertRaises(kind) as raised:
                Driven([problem(status, code)]).get()
            self.assertEqual(
                (raised.exception.status, raised.exception.code, raised.exception.request_id), (status, code, "r")
            )

    def test_an_error_without_a_problem_document_has_no_code(self) -> None:
        for body, headers in (
            (b"<h1>no</h1>", {"content-type": "text/html"}),
            (b"{", {"content-type": "application/problem+json"}),
        ):
            with self.assertRaises(ApiError) as raised:
                Driven([Response(404, headers, body)]).get()
            self.assertIsNone(raised.exception.code)
        with self.assertRaises(ApiError) as raised:
            Driven([Response(302, {"location": "http://elsewhere/"}, b"")]).get()
        self.assertIn("not followed", str(raised.exception))

    def test_json_that_is_cut_off_is_a_broken_connection_and_asked_for_again(self) -> None:
        driven = Driven([value(b'{"x":'), value(b"2")])
        self.assertEqual(driven.get().value, 2)
        with self.assertRaises(BrokenConnection):
            Driven([value(b'{"x":')] * 3).get()

    def test_what_does_not_say_its_version_is_no_answer(self) -> None:
        with self.assertRaises(BrokenConnection):
            Driven([Response(200, {"content-type": "application/json"}, b"1")] * 3).get()

    def test_any_key_has_its_path(self) -> None:
        for key, path in (
            ("a/b c", "a%2Fb%20c"),
            ("ü+?#%", "%C3%BC%2B%3F%23%25"),
            ("learner:7", "learner:7"),
            (".", "Lg?key_encoding=base64url"),
            ("..", "Li4?key_encoding=base64url"),
            ("...", "..."),
            (b"\xff\x00", "_wA?key_encoding=base64url"),
            (42, "42"),
        ):
            driven = Driven([value(b"1")])
            driven.get(key)
            self.assertEqual(driven.asked[0].path, f"/v1/datasets/d/keys/{path}")

    def test_what_is_no_key_is_refused_unasked(self) -> None:
        for key in ("", b"", "\ud800", "x" * 65_537, None, True, 1.5):
            driven = Driven([])
            with self.subTest(key=str(key)[:10].encode("utf-8", "replace")), self.assertRaises(InvalidArgument):
                driven.get(key)  # type: ignore[arg-type]
            self.assertEqual(driven.asked, [])
        with self.assertRaises(InvalidArgument):
            path_key("\udfff")

    def test_a_key_too_long_for_a_path_is_looked_up_in_a_batch(self) -> None:
        driven = Driven(lambda request: batch(request, 4))
        self.assertEqual(driven.get("ü" * 3000).version, 4)
        self.assertEqual(driven.asked[0].method, "POST")
        self.assertIsNone(Driven(lambda request: batch(request, 4, {"ü" * 3000})).get("ü" * 3000))

    def test_fields_version_and_unit(self) -> None:
        driven = Driven([value(b"1")], unit="nobody")
        driven.get(fields=["a b", "ü&"], version=3, unit="learner-7")
        self.assertEqual(driven.asked[0].path, "/v1/datasets/d/keys/k?fields=a%20b,%C3%BC%26&version=3")
        self.assertEqual(driven.header(0, "Tidetable-Unit"), b"learner-7")
        with self.assertRaises(InvalidArgument):
            Driven([]).get(unit="a\r\nEvil: 1")
        with self.assertRaises(InvalidArgument):
            Driven([]).get(fields=[])

    def test_a_field_with_a_comma_is_no_two_fields(self) -> None:
        driven = Driven(lambda request: batch(request, 4))
        driven.get(fields=["a,b"])
        self.assertEqual(driven.bodies(), [{"keys": ["k"], "fields": ["a,b"]}])
        with self.assertRaises(InvalidArgument):
            driven.run(scans.scan_page(driven.core, "d", "", 10, ["a,b"], None, None, None))

    def test_a_text_of_fields_is_split_at_its_commas(self) -> None:
        driven = Driven([value(b"1")])
        driven.get(fields="v,w")
        self.assertEqual(driven.asked[0].path, "/v1/datasets/d/keys/k?fields=v,w")
        driven = Driven(lambda request: batch(request, 4))
        driven.get_many(["k"], fields="v,w")
        self.assertEqual(driven.bodies(), [{"keys": ["k"], "fields": ["v", "w"]}])

    def test_fields_that_are_no_names_are_refused_unasked(self) -> None:
        for fields in ("", "a,,b", ["a", 1], [""], [], b"a", {"a": 1}, 7, True):
            driven = Driven([])
            with self.subTest(fields=fields), self.assertRaises(InvalidArgument) as raised:
                driven.get(fields=fields)
            self.assertIn("fields", str(raised.exception))


class Retries(unittest.TestCase):
    def test_three_tries_with_growing_pauses(self) -> None:
        driven = Driven([ConnectError("no"), problem(503, "overloaded"), value(b"1")])
        self.assertEqual(driven.get().value, 1)
        self.assertEqual(driven.pauses, [0.1, 0.2])
        with self.assertRaises(Unavailable):
            Driven([ConnectError("no"), BrokenConnection("no"), problem(503, "overloaded")]).get()

    def test_only_what_may_pass_is_tried_again(self) -> None:
        for status in (400, 401, 404, 500, 507):
            driven = Driven([problem(status, "x")])
            with self.assertRaises(ApiError):
                driven.get()
            self.assertEqual(len(driven.asked), 1)
        for status in (429, 502, 503, 504):
            self.assertEqual(Driven([problem(status, "x"), value(b"1")]).get().value, 1)
        driven = Driven([DeadlineExceeded("late")])
        with self.assertRaises(DeadlineExceeded):
            driven.get()

    def test_retry_after_is_waited_for_unless_that_would_be_too_late(self) -> None:
        driven = Driven([problem(503, "x", retry_after="2"), value(b"1")])
        self.assertEqual(driven.get().value, 1)
        self.assertEqual(driven.pauses, [2.1])
        driven = Driven([problem(503, "x", retry_after="6"), value(b"1")])
        with self.assertRaises(Unavailable):
            driven.get()
        self.assertEqual(driven.pauses, [])

    def test_a_push_without_a_timeout_does_not_wait_for_ever(self) -> None:
        for seconds, pauses in (("600", [600.3]), ("601", [])):
            driven = Driven([problem(503, "x", retry_after=seconds), problem(400, "y")])
            with self.assertRaises(ApiError):
                driven.run(push_calls.begin(driven.core, "d", PushOptions(), None, None))
            self.assertEqual(driven.pauses, pauses)

    def test_retry_after_is_seconds_or_a_date(self) -> None:
        now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
        self.assertEqual(retry_after("Fri, 02 Jan 2026 03:04:15 GMT", now), 10.0)
        self.assertEqual(retry_after("Fri, 02 Jan 2026 03:04:00 GMT", now), 0.0)
        for text in (None, "", "soon", "-3", "1.5"):
            self.assertEqual(retry_after(text, now), 0.0)

    def test_what_may_not_be_done_twice_is_not(self) -> None:
        driven = Driven([BrokenConnection("reset"), value(b"1")])
        request = Request("POST", "/x", b"", idempotent=False)
        from tidetable.calls import ask

        with self.assertRaises(BrokenConnection):
            driven.run(ask(driven.core, request, lambda response: response))
        driven = Driven([ConnectError("no"), value(b"1")])
        driven.run(ask(driven.core, request, lambda response: response))
        self.assertEqual(len(driven.asked), 2)

    def test_the_budget_ends_retries_of_all_calls(self) -> None:
        driven = Driven(lambda request: problem(503, "overloaded"))
        for _ in range(30):
            with self.assertRaises(Unavailable):
                driven.get()
        # Ten from the beginning, and a tenth for each call.
        self.assertEqual(len(driven.asked) - 30, 12)

    def test_a_retry_that_is_not_made_takes_nothing_from_the_budget(self) -> None:
        driven = Driven(lambda request: problem(503, "overloaded", retry_after="600"))
        for _ in range(30):
            with self.assertRaises(Unavailable):
                driven.get()
        self.assertEqual(len(driven.asked), 30)
        self.assertEqual(sum(driven.core.budget.take() for _ in range(100)), 10)

    def test_a_budget_is_never_more_than_ten(self) -> None:
        budget = Budget()
        for _ in range(1000):
            budget.called()
        self.assertEqual(sum(budget.take() for _ in range(100)), 10)

    def test_jitter_is_anything_up_to_the_limit(self) -> None:
        patience = Patience(9)
        self.assertEqual([patience.pause(n, lambda: 1.0) for n in (1, 2, 3, 9)], [0.1, 0.2, 0.4, 2.0])
        self.assertEqual(patience.pause(3, lambda: 0.0), 0.0)


class Batches(unittest.TestCase):
    def test_the_found_ones_in_the_order_asked(self) -> None:
        driven = Driven(lambda request: batch(request, 5, {"b"}))
        found = driven.get_many(["c", "b", "a", "c"])
        self.assertEqual((list(found.items()), found.version), ([("c", "c"), ("a", "a")], 5))
        self.assertEqual(driven.bodies(), [{"keys": ["c", "b", "a"]}])

    def test_no_keys_are_no_request(self) -> None:
        driven = Driven([])
        self.assertEqual((driven.get_many([]), driven.get_many([]).version), ({}, None))

    def test_many_keys_go_in_chunks_of_one_version(self) -> None:
        driven = Driven(lambda request: batch(request, 9))
        keys = [f"k{n}" for n in range(2500)]
        found = driven.get_many(keys, fields="x")
        self.assertEqual(list(found), keys)
        self.assertEqual([len(body["keys"]) for body in driven.bodies()], [1000, 1000, 500])
        self.assertEqual([body.get("version") for body in driven.bodies()], [None, 9, 9])
        self.assertEqual([body["fields"] for body in driven.bodies()], [["x"]] * 3)

    def test_chunks_are_of_no_more_bytes_than_a_request_may_have(self) -> None:
        driven = Driven(lambda request: batch(request, 9))
        keys = ["x" * 60_000 + str(n) for n in range(100)]
        self.assertEqual(list(driven.get_many(keys)), keys)
        self.assertGreater(len(driven.asked), 1)
        self.assertTrue(all(len(request.body) <= batches.CHUNK_BYTES for request in driven.asked))  # type: ignore[arg-type]

    def test_a_version_that_goes_meanwhile_begins_the_call_anew_once(self) -> None:
        versions = iter([1, None, 2, 2])

        def reply(request: Request) -> Reply:
            version = next(versions)
            return problem(410, "version_deleted") if version is None else batch(request, version)

        driven = Driven(reply)
        found = driven.get_many([str(n) for n in range(1500)])
        self.assertEqual((len(found), found.version), (1500, 2))
        driven = Driven(
            lambda request: batch(request) if "version" not in sent(request) else problem(404, "version_not_found")
        )
        with self.assertRaises(NotFound):
            driven.get_many([str(n) for n in range(1500)])
        self.assertEqual(len(driven.asked), 4)

    def test_a_pinned_version_never_begins_anew(self) -> None:
        driven = Driven([problem(410, "version_deleted")])
        with self.assertRaises(NotFound):
            driven.get_many([str(n) for n in range(1500)], version=3)

    def test_another_version_than_was_asked_for_is_no_answer(self) -> None:
        with self.assertRaises(BrokenConnection):
            Driven(lambda request: batch(request, 8)).get_many(["a"], version=3)

    def test_an_answer_too_large_is_asked_for_in_halves(self) -> None:
        def reply(request: Request) -> Reply:
            keys = sent(request)["keys"]
            return batch(request, 2) if len(keys) <= 3 else problem(413, "answer_too_large")

        driven = Driven(reply)
        keys = [str(n) for n in range(10)]
        self.assertEqual(list(driven.get_many(keys)), keys)
        with self.assertRaises(ApiError):
            Driven(lambda request: problem(413, "answer_too_large")).get_many(["a", "b"])

    def test_what_has_not_the_shape_of_a_batch_is_no_answer(self) -> None:
        for body in (
            b"[]",
            b"{}",
            b'{"version":1,"results":[]}',
            b'{"version":"1","results":[{"found":false}]}',
            b'{"version":1,"results":[{"found":true}]}',
            b'{"version":1,"results":[3]}',
            b'{"version":1,"results":null}',
        ):
            with self.subTest(body=body), self.assertRaises(BrokenConnection):
                Driven([Response(200, {}, body)] * 3).get_many(["a"])

    def test_bytes_keys_and_values_that_are_no_json(self) -> None:
        results = [{"key": "_w", "found": True, "value": "aGk=", "encoding": "base64"}, {"key": "YQ", "found": False}]
        driven = Driven([Response(200, {}, json.dumps({"version": 1, "results": results}).encode())])
        self.assertEqual(driven.get_many([b"\xff", "a"]), {b"\xff": b"hi"})
        self.assertEqual(driven.bodies(), [{"keys": ["_w", "YQ"], "key_encoding": "base64url"}])

    def test_one_key_in_the_place_of_a_list_is_refused(self) -> None:
        with self.assertRaises(InvalidArgument):
            Driven([]).get_many("abc")  # type: ignore[arg-type]


class Multi(unittest.TestCase):
    def multi(self, driven: Driven, requests: dict[str, list[Any]]) -> Any:
        return driven.run(batches.multi(driven.core, requests, {}, {}, None))

    def reply(self, request: Request) -> Response:
        answers: list[dict[str, Any]] = []
        for one in sent(request)["requests"]:
            if one["dataset"] == "gone":
                answers.append(
                    {"dataset": "gone", "error": {"code": "dataset_not_found", "status": 404, "detail": "no"}}
                )
            else:
                results = [{"key": key, "found": True, "value": key} for key in one["keys"]]
                answers.append({"dataset": one["dataset"], "version": 3, "results": results})
        return Response(200, {}, json.dumps({"answers": answers}).encode())

    def test_a_dataset_that_fails_does_not_fail_the_others(self) -> None:
        answers = self.multi(Driven(self.reply), {"a": ["1"], "gone": ["1"], "empty": []})
        self.assertEqual((answers["a"], answers["a"].version), ({"1": "1"}, 3))
        self.assertEqual(list(answers.errors), ["gone"])
        with self.assertRaises(NotFound):
            answers["gone"]
        self.assertEqual(answers["empty"], {})
        with self.assertRaises(KeyError):
            answers["other"]

    def test_one_key_in_the_place_of_a_list_is_refused(self) -> None:
        keys: list[Any] = ["42", b"42"]
        for key in keys:
            driven = Driven(self.reply)
            with self.assertRaises(InvalidArgument):
                self.multi(driven, {"a": key})
            self.assertEqual(driven.asked, [])

    def test_more_keys_than_one_instant_answers_are_refused(self) -> None:
        driven = Driven(self.reply)
        with self.assertRaises(InvalidArgument):
            self.multi(driven, {"a": list(range(600)), "b": list(range(600))})
        self.assertEqual((driven.asked, self.multi(driven, {"a": []})["a"]), ([], {}))


class Cached(unittest.TestCase):
    def test_fresh_is_given_unasked_and_then_validated(self) -> None:
        driven = Driven(
            [value(b"[1]", 1), value(b"", 2, status=304), value(b"[3]", 3, '"f"')], cache=CachePolicy(ttl=5)
        )
        driven.get().value.append("changed by the caller")
        self.assertEqual(driven.get().value, [1])
        driven.now += 6
        entry = driven.get()
        self.assertEqual((entry.value, entry.version, driven.header(1, "If-None-Match")), ([1], 2, b'"e"'))
        driven.now += 6
        self.assertEqual(driven.get().value, [3])

    def test_a_pinned_version_does_not_expire_and_is_no_other(self) -> None:
        driven = Driven([value(b"1", 1), value(b"2", 2)], cache=CachePolicy(ttl=0))
        self.assertEqual(driven.get(version=1).value, 1)
        driven.now += 1e6
        self.assertEqual(driven.get(version=1).value, 1)
        self.assertEqual(driven.get().value, 2)

    def test_other_fields_another_unit_and_the_key_as_bytes(self) -> None:
        driven = Driven(lambda request: value(b'"%d"' % len(driven.asked)), cache=CachePolicy(ttl=600))
        asked: list[dict[str, Any]] = [dict(), dict(fields="a"), dict(fields=["a", "b"]), dict(unit="u")]
        self.assertEqual([driven.get(**one).value for one in asked + asked], ["1", "2", "3", "4"] * 2)
        self.assertEqual(driven.get(b"k").value, "1")

    def test_absent_keys_are_not_kept(self) -> None:
        driven = Driven([problem(404, "key_not_found"), value(b"1")], cache=CachePolicy(ttl=600))
        self.assertIsNone(driven.get())
        self.assertEqual(driven.get().value, 1)

    def test_with_the_mode_version_any_answer_of_another_version_ends_what_is_kept(self) -> None:
        for answered in ("get", "get_many", "absent"):
            replies: list[Reply] = [value(b"1", 1), value(b"2", 2, '"f"')]
            other = {
                "get": value(b"9", 2),
                "get_many": Response(200, {}, b'{"version":2,"results":[{"key":"other","found":false}]}'),
                "absent": problem(404, "key_not_found", tidetable_version="2"),
            }[answered]
            driven = Driven([replies[0], other, replies[1]], cache=CachePolicy(ttl=600, mode="version"))
            driven.get()
            self.assertEqual(driven.get().value, 1)
            if answered == "get_many":
                driven.get_many(["other"])
            else:
                driven.get("other")
            self.assertEqual(driven.get().value, 2, answered)

    def test_with_the_mode_version_an_answer_that_was_overtaken_is_not_kept(self) -> None:
        driven = Driven(lambda request: value(b'"new"', 2), cache=CachePolicy(ttl=600, mode="version"))
        old = self.waiting(driven, "old")
        self.assertEqual(self.answered(driven, old, value(b'"old"', 1)), "old")
        late = self.waiting(driven, "a")
        driven.now += 1
        self.assertEqual(driven.get("b").value, "new")
        driven.now += 1
        self.assertEqual(self.answered(driven, late, value(b'"late"', 1)), "late")
        # Neither what came late nor what is as old is given; which version is served the next answer says.
        before = len(driven.asked)
        self.assertEqual([driven.get(key).value for key in ("old", "a", "b", "b")], ["new"] * 4)
        driven.now += 1
        self.assertEqual([driven.get(key).value for key in ("a", "b", "old", "a", "b", "old")], ["new"] * 6)
        self.assertEqual(len(driven.asked) - before, 6)

    def test_with_the_mode_version_requests_that_overlap_do_not_end_the_cache(self) -> None:
        driven = Driven([], cache=CachePolicy(ttl=600, mode="version"))
        under_way = [self.waiting(driven, f"k{n}") for n in range(3)]
        for n in range(100):
            # Always three at a time; after the swap one late answer of the version before.
            under_way.append(self.waiting(driven, f"k{n + 3}"))
            driven.now += 1
            version = 1 if n < 10 or n == 12 else 2
            self.answered(driven, under_way.pop(0), value(b'"%d"' % version, version))
        cache = driven.core.cache
        assert cache is not None
        seen = cache._seen["d"]
        self.assertEqual((seen.version, seen.sure), (2, True))
        self.assertTrue(cache.get(("d", None, b"k99", None, None), driven.now)[1])

    def test_with_the_mode_version_later_chunks_of_a_batch_do_not_say_what_is_served(self) -> None:
        driven = Driven([], cache=CachePolicy(ttl=600, mode="version"))
        asked = [f"k{n}" for n in range(1500)]
        many = batches.get_many(driven.core, "d", asked, None, None, None, False)
        first = next(many)
        assert isinstance(first, Request)
        driven.now += 1
        second = many.send(batch(first, 1))
        assert isinstance(second, Request)
        driven._replies = [value(b'"new"', 2)]
        driven.now += 1
        self.assertEqual(driven.get("a").value, "new")
        with self.assertRaises(StopIteration):
            many.send(batch(second, 1))
        self.assertEqual(driven.get("a").value, "new")

    def waiting(self, driven: Driven, key: str) -> Call[Any]:
        """A call whose request is under way."""
        call = lookups.get_entry(driven.core, "d", key, None, None, None, False)
        self.assertIsInstance(next(call), Request)
        return call

    def answered(self, driven: Driven, call: Call[Any], reply: Response) -> Any:
        with self.assertRaises(StopIteration) as done:
            call.send(reply)
        return done.exception.value.value

    def test_a_pinned_read_ends_nothing(self) -> None:
        driven = Driven([value(b"2", 2), value(b"1", 1)], cache=CachePolicy(ttl=600, mode="version"))
        driven.get()
        driven.get(version=1)
        self.assertEqual(driven.get().value, 2)

    def test_the_least_used_are_given_up(self) -> None:
        driven = Driven(
            lambda request: value(b'"%s"' % request.path[-1].encode()), cache=CachePolicy(ttl=600, max_entries=2)
        )
        for key in ("a", "b", "a", "c", "a"):
            driven.get(key)
        self.assertEqual([request.path[-1] for request in driven.asked], ["a", "b", "c"])
        driven = Driven(lambda request: value(b'"' + b"x" * 1000 + b'"'), cache=CachePolicy(ttl=600, max_bytes=500))
        driven.get()
        driven.get()
        self.assertEqual(len(driven.asked), 2)


class Deletions(unittest.TestCase):
    def delete(self, replies: list[Reply], version: Optional[int]) -> int:
        driven = Driven(replies)
        driven.run(operations.delete(driven.core, "d", version))
        return len(driven.asked)

    def test_one_whose_answer_was_lost_is_done(self) -> None:
        answers: list[Reply] = [BrokenConnection("reset"), problem(504, "x"), Response(502, {}, b"")]
        for lost in answers:
            self.assertEqual(self.delete([lost, problem(410, "version_deleted")], 3), 2)
            self.assertEqual(self.delete([lost, problem(404, "dataset_not_found")], None), 2)

    def test_what_was_not_there_at_the_first_try_is_told(self) -> None:
        tries: list[list[Reply]] = [[], [ConnectError("no")], [problem(429, "too_many_requests")]]
        for before in tries:
            for version, status, code in ((3, 410, "version_deleted"), (None, 404, "dataset_not_found")):
                with self.assertRaises(NotFound):
                    self.delete([*before, problem(status, code)], version)

    def test_another_error_after_a_lost_answer_is_told(self) -> None:
        for version, code in ((3, "version_not_found"), (3, "dataset_not_found"), (None, "version_deleted")):
            with self.assertRaises(NotFound):
                self.delete([BrokenConnection("reset"), problem(404, code)], version)


class Pushes(unittest.TestCase):
    def test_how_a_version_ends(self) -> None:
        def ended(**raw: Any) -> Any:
            return push_calls.checked(Version.of(dict({"dataset": "d", "version": 3}, **raw)))

        self.assertEqual(ended(state="active").version, 3)
        self.assertTrue(ended(state="ready", held=True).held)
        with self.assertRaises(GateRefused) as refused:
            ended(state="rejected", gates=[{"gate": "min_records", "passed": False}, {"gate": "x", "passed": True}])
        self.assertEqual([gate["gate"] for gate in refused.exception.gates], ["min_records"])
        for raw, code in (
            ({"state": "failed", "code": "bad_rows", "problems": ["line 1"]}, "bad_rows"),
            ({"state": "failed", "code": "disk_full"}, "disk_full"),
            ({"state": "ready", "code": "version_unusable"}, "version_unusable"),
            ({"state": "bad"}, "rolled_back"),
            ({"state": "deleted"}, "version_deleted"),
        ):
            with self.assertRaises(ApiError) as failed:
                ended(**raw)
            self.assertEqual((failed.exception.code, failed.exception.problems), (code, raw.get("problems", [])))

    def test_a_change_that_still_runs_is_asked_about_again(self) -> None:
        moved = Response(200, {}, b'{"dataset":"d","from":1,"to":2,"held":false,"marked_bad":null}')
        driven = Driven([problem(409, "in_progress"), problem(409, "in_progress"), moved])
        call = operations.activate(driven.core, "d", 2, False, None, None, None, driven.now + 60)
        self.assertEqual(driven.run(call).to_version, 2)
        self.assertEqual(driven.bodies()[0], {"version": 2, "expect_current": None})
        keys = {dict(request.headers)["Idempotency-Key"] for request in driven.asked}
        self.assertEqual(len(keys), 1)

    def publish(self, driven: Driven, data: Any, key: Optional[str] = None) -> Any:
        return driven.run(publish_call(driven.core, data, "d", PushOptions(key="k"), key, False, None))

    def test_nothing_begins_before_there_is_something_to_push(self) -> None:
        zero = 0

        def failing() -> Iterator[dict[str, Any]]:
            yield {"k": 1 // zero}

        for key in (None, "run-1"):
            for data, error in (([], PushRefused), (iter([]), PushRefused), (failing(), ZeroDivisionError)):
                driven = Driven([])
                with self.subTest(data=data, key=key), self.assertRaises(error):
                    self.publish(driven, data, key)
                self.assertEqual(driven.asked, [])

    def test_parts_go_in_the_order_of_the_rows(self) -> None:
        sent: list[bytes] = []

        def reply(request: Request) -> Reply:
            if request.method == "PUT":
                sent.append(b"".join(bytes(piece) for piece in request.framed()))
                digest = push_calls._sha256(hashlib.sha256(sent[-1]).digest())
                return Response(200, {}, json.dumps({"name": "1", "bytes": 2, "digest": digest}).encode())
            return Response(202, {}, b'{"dataset":"d","version":1,"state":"receiving"}')

        driven = Driven(reply)
        with mock.patch.object(ndjson, "PART_BYTES", 1):
            self.publish(driven, ({"k": number} for number in range(3)))
        self.assertEqual(sent, [b'{"k":0}\n', b'{"k":1}\n', b'{"k":2}\n'])
        names = [request.path.rsplit("/", 1)[1] for request in driven.asked if request.method == "PUT"]
        self.assertEqual(json.loads(driven.asked[-1].body), {"parts": names})  # type: ignore[arg-type]

    def test_a_part_that_arrived_otherwise_is_sent_again(self) -> None:
        def told(digest: str) -> Response:
            return Response(200, {}, json.dumps({"name": "1", "bytes": 2, "digest": digest}).encode())

        right = push_calls._sha256(hashlib.sha256(b"hi").digest())

        def arrived(request: Request) -> Response:
            for _ in request.framed():
                pass
            return told("sha-256=:AAAA:") if len(driven.asked) == 1 else told(right)

        driven = Driven(arrived)
        part = driven.run(push_calls.put_part(driven.core, "d", 1, "1", lambda: [b"h", b"i"], None, None))
        self.assertEqual((part.digest, len(driven.asked)), (right, 2))
        driven = Driven(arrived)
        with self.assertRaises(BrokenConnection):
            driven.run(push_calls.put_part(driven.core, "d", 1, "1", iter([b"h", b"i"]), None, None))
        self.assertEqual(len(driven.asked), 1)


if __name__ == "__main__":
    unittest.main()
