"""Connections of both clients, against a server that behaves as a test says."""

import asyncio
import errno
import gc
import os
import pickle
import socket
import ssl
import tempfile
import threading
import time
import unittest
import warnings
from collections.abc import Iterator
from typing import Any, Callable
from unittest import mock

from tidetable import (
    ApiError,
    AsyncClient,
    BrokenConnection,
    Client,
    ClientClosed,
    ConnectError,
    DeadlineExceeded,
    InvalidArgument,
    Unauthorized,
)
from tidetable.http1 import Body, Request
from tidetable.settings import Address
from tidetable.transport import _open

from .harness import Script, Scripted, answer, certificate, problem, reset, value


def scripted(test: unittest.TestCase, make: Callable[[Scripted], Script]) -> Scripted:
    held: list[Scripted] = []

    def script(connection: socket.socket, number: int) -> None:
        make(held[0])(connection, number)

    server = Scripted(script)
    held.append(server)
    test.addCleanup(server.close)
    return server


def replying(*replies: bytes) -> Callable[[Scripted], Script]:
    """Answers requests in turn, the last reply for ever; an empty reply closes the connection."""

    def of(server: Scripted) -> Script:
        def script(connection: socket.socket, number: int) -> None:
            while server.read_request(connection):
                reply = replies[min(len(server.requests), len(replies)) - 1]
                if not reply:
                    return
                connection.sendall(reply)

        return script

    return of


class _Unsendable:
    """A socket that takes nothing more, with this error."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self._sock = sock
        self._number = number

    def sendall(self, data: bytes) -> None:
        raise OSError(self._number, os.strerror(self._number))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class Both:
    """What holds for both clients; `call` makes one call with a client of either kind."""

    def call(self, url: str, do: Callable[[Any], Any], **options: Any) -> Any:
        raise NotImplementedError

    def test_a_connection_is_used_again(self) -> None:
        server = scripted(self, replying(value(b"1")))  # type: ignore[arg-type]
        self.assertEqual(self.call(server.url, [lambda c: c.get("d", "k")] * 5), [1] * 5)  # type: ignore[attr-defined, arg-type]
        self.assertEqual((server.accepted, len(server.requests)), (1, 5))  # type: ignore[attr-defined]

    def test_what_every_request_says(self) -> None:
        server = scripted(self, replying(value(b"1")))  # type: ignore[arg-type]
        self.call(server.url + "/tide/", lambda c: c.get("d", "k"), token="tt_secret", unit="u")
        head = server.requests[0].decode()
        self.assertTrue(head.startswith("GET /tide/v1/datasets/d/keys/k HTTP/1.1\r\n"))  # type: ignore[attr-defined]
        for line in (
            "Authorization: Bearer tt_secret",
            "User-Agent: tidetable-client-python/0.1.0",
            "Tidetable-Unit: u",
            f"Host: {server.url[7:]}",
        ):
            self.assertIn(line + "\r\n", head)  # type: ignore[attr-defined]

    def test_a_connection_closed_while_idle_is_not_used(self) -> None:
        def of(server: Scripted) -> Script:
            def script(connection: socket.socket, number: int) -> None:
                server.read_request(connection)
                connection.sendall(value(b"1"))

            return script

        server = scripted(self, of)  # type: ignore[arg-type]

        def twice(client: Any) -> Any:
            return client.get("d", "k")

        self.assertEqual(self.call(server.url, [twice, 0.1, twice], max_tries=1), [1, 1])  # type: ignore[attr-defined, arg-type]
        self.assertEqual(server.accepted, 2)  # type: ignore[attr-defined]

    def test_a_read_whose_connection_breaks_is_asked_again(self) -> None:
        whole = value(b'{"x":1}')
        for cut in (b"", whole[:10], whole[:-1]):

            def of(server: Scripted, cut: bytes = cut) -> Script:
                def script(connection: socket.socket, number: int) -> None:
                    server.read_request(connection)
                    connection.sendall(cut if number == 0 else whole)
                    if number == 0:
                        reset(connection)

                return script

            server = scripted(self, of)  # type: ignore[arg-type]
            self.assertEqual(self.call(server.url, lambda c: c.get("d", "k")), {"x": 1})  # type: ignore[attr-defined]

    def test_the_total_timeout_ends_whatever_happens(self) -> None:
        def silent(server: Scripted) -> Script:
            def script(connection: socket.socket, number: int) -> None:
                server.read_request(connection)
                server.read_request(connection)

            return script

        def trickling(server: Scripted) -> Script:
            def script(connection: socket.socket, number: int) -> None:
                server.read_request(connection)
                for byte in value(b"1" * 1000):
                    connection.sendall(bytes([byte]))
                    time.sleep(0.02)

            return script

        def stopping(server: Scripted) -> Script:
            def script(connection: socket.socket, number: int) -> None:
                server.read_request(connection)
                connection.sendall(value(b"1" * 100_000)[:-1])
                server.read_request(connection)

            return script

        for make in (silent, trickling, stopping):
            server = scripted(self, make)  # type: ignore[arg-type]
            with self.assertRaises(DeadlineExceeded):  # type: ignore[attr-defined]
                self.call(server.url, lambda c: c.get("d", "k"), total_timeout=0.3)

    def test_no_connection(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as chooser:
            port = chooser.getsockname()[1]
        with self.assertRaises(ConnectError):  # type: ignore[attr-defined]
            self.call(f"http://127.0.0.1:{port}", lambda c: c.get("d", "k"))

    def test_a_part_that_is_refused_while_it_is_sent_says_why(self) -> None:
        def of(server: Scripted) -> Script:
            def script(connection: socket.socket, number: int) -> None:
                text = b""
                while b"\r\n\r\n" not in text:
                    text += connection.recv(1000)
                if text.startswith(b"POST"):
                    connection.sendall(
                        answer(201, b'{"dataset":"d","version":1,"state":"receiving"}', "connection: close")
                    )
                    return
                connection.sendall(problem(401, "unauthenticated", "connection: close"))
                # Not read any further: the client has to look up from sending.
                time.sleep(0.5)

            return script

        server = scripted(self, of)  # type: ignore[arg-type]

        def push(client: Any) -> Any:
            return client.publish(b"x" * 50_000_000, "d", key="k", format="csv")

        with self.assertRaises(Unauthorized):  # type: ignore[attr-defined]
            self.call(server.url, push)

    def test_no_text_has_the_token(self) -> None:
        server = scripted(self, replying(problem(401, "unauthenticated")))  # type: ignore[arg-type]
        with self.assertRaises(ApiError) as raised:  # type: ignore[attr-defined]
            self.call(server.url, lambda c: c.get("d", "k"), token="tt_secret")
        self.assertNotIn("secret", repr(raised.exception) + str(raised.exception))  # type: ignore[attr-defined]
        with self.assertRaises(InvalidArgument) as refused:  # type: ignore[attr-defined]
            self.call(server.url, lambda c: c.get("d", "k"), token="tt_secret\r\nx")
        self.assertNotIn("secret", repr(refused.exception))  # type: ignore[attr-defined]

    def test_a_closed_client_says_so(self) -> None:
        server = scripted(self, replying(value(b"1")))  # type: ignore[arg-type]
        with self.assertRaises(ClientClosed):  # type: ignore[attr-defined]
            self.call(server.url, [lambda c: c.get("d", "k"), lambda c: c.close(), lambda c: c.get("d", "k")])  # type: ignore[arg-type]


class Threads(Both, unittest.TestCase):
    def call(self, url: str, do: Any, **options: Any) -> Any:
        with Client(url, **options) as client:
            self.assertNotIn("secret", repr(client))
            if not isinstance(do, list):
                return do(client)
            results = []
            for one in do:
                if isinstance(one, float):
                    time.sleep(one)
                else:
                    results.append(one(client))
            return results

    def test_threads_share_the_pool_and_take_turns(self) -> None:
        server = scripted(self, replying(value(b"1")))
        with Client(server.url, pool_size=3) as client:
            threads = [threading.Thread(target=lambda: [client.get("d", "k") for _ in range(50)]) for _ in range(10)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        self.assertEqual(len(server.requests), 500)
        self.assertLessEqual(server.accepted, 3)

    def test_a_place_in_the_pool_is_waited_for_no_longer_than_the_timeout(self) -> None:
        gate = threading.Event()

        def of(server: Scripted) -> Script:
            def script(connection: socket.socket, number: int) -> None:
                while server.read_request(connection):
                    gate.wait(10)
                    connection.sendall(value(b"1"))

            return script

        server = scripted(self, of)
        client = Client(server.url, pool_size=1, total_timeout=10)
        waiting = threading.Thread(target=lambda: client.get("d", "k"))
        waiting.start()
        while not server.requests:
            time.sleep(0.005)
        impatient = Client.of(client.settings)
        impatient._core.settings.__dict__["total_timeout"] = 0.2
        impatient._transport = client._transport
        with self.assertRaises(DeadlineExceeded):
            impatient.get("d", "k")
        gate.set()
        waiting.join()
        client.close()

    def test_what_tls_holds_back_unasked_is_no_later_answer(self) -> None:
        home = tempfile.TemporaryDirectory()
        self.addCleanup(home.cleanup)
        made, key = certificate(home.name)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(made, key)
        # Longer than the reader's own buffer: its end is read exactly, and what came with it stays inside of TLS.
        first = value(b'"' + b"x" * 100_000 + b'"') + value(b'"of nobody"')

        def of(server: Scripted) -> Script:
            def script(connection: socket.socket, number: int) -> None:
                with context.wrap_socket(connection, server_side=True) as inner:
                    while server.read_request(inner):
                        inner.sendall(first if number == 0 else value(b"2"))

            return script

        server = scripted(self, of)
        with Client(server.url.replace("http:", "https:"), ca_file=made, max_tries=1) as client:
            self.assertEqual(client.get("d", "a"), "x" * 100_000)
            self.assertEqual(client.get("d", "b"), 2)
        self.assertEqual(server.accepted, 2)

    def test_whatever_breaks_while_it_is_sent_is_a_broken_connection(self) -> None:
        for number in (errno.EHOSTUNREACH, errno.ENETDOWN, errno.ECONNABORTED, errno.ETIMEDOUT):
            server = scripted(self, replying(value(b"1")))

            def unsendable(address: Address, ends: float, number: int = number) -> Any:
                return _Unsendable(_open(address, ends), number)

            with mock.patch("tidetable.transport._open", unsendable), Client(server.url, max_tries=1) as client:
                with self.subTest(number=errno.errorcode[number]), self.assertRaises(BrokenConnection):
                    client.get("d", "k")

    def test_an_error_of_the_data_that_is_sent_stays_what_it_is(self) -> None:
        def silent(server: Scripted) -> Script:
            def script(connection: socket.socket, number: int) -> None:
                while connection.recv(1000):
                    pass

            return script

        server = scripted(self, silent)
        for error in (
            OSError(errno.EIO, "the disk"),
            ConnectionResetError("of the source"),
            TimeoutError("of the source"),
        ):

            def chunks(error: Exception = error) -> Iterator[bytes]:
                yield b"a"
                raise error

            request = Request("PUT", "/x", Body(chunks, None, True), deadline=time.monotonic() + 10)
            with Client(server.url) as client, self.subTest(error=error), self.assertRaises(type(error)) as raised:
                client._transport.send(request)
            self.assertIs(raised.exception, error)

    @unittest.skipUnless(hasattr(os, "fork"), "there is no fork here")
    def test_a_forked_child_has_connections_of_its_own(self) -> None:
        server = scripted(self, replying(value(b"1")))
        with Client(server.url) as client:
            client.get("d", "k")
            # As if another thread were in the middle of something.
            client._transport._lock.acquire()
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    status = 0 if client.get("d", "k") == 1 and client._transport._lock.acquire(blocking=False) else 2
                finally:
                    os._exit(status)
            self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
            client._transport._lock.release()
            client.get("d", "k")
        self.assertEqual(server.accepted, 2)

    def test_a_client_and_an_error_go_through_pickle(self) -> None:
        client = pickle.loads(pickle.dumps(Client("http://h:1", token="t", pool_size=3)))
        self.assertEqual((client.settings.token, client.settings.pool_size), ("t", 3))
        self.assertNotIn("secret", repr(Client("http://h:1", token="tt_secret").settings))
        error = pickle.loads(pickle.dumps(ApiError(404, "x", "why", "r", {"version": 3})))
        self.assertEqual(
            (error.status, error.code, error.detail, error.request_id, error.version), (404, "x", "why", "r", 3)
        )

    def test_an_empty_token_stays_empty_where_the_environment_has_one(self) -> None:
        carried = pickle.dumps(Client("http://h:1", token=""))
        with mock.patch.dict(os.environ, TIDETABLE_TOKEN="tt_of_elsewhere"):
            for client in (Client("http://h:1", token=""), pickle.loads(carried)):
                self.assertEqual(client.settings.token, "")
                self.assertNotIn(b"Authorization", client._core.common)
            self.assertIn(b"Bearer tt_of_elsewhere", Client("http://h:1")._core.common)

    def test_where_a_server_cannot_be_is_refused(self) -> None:
        for url in (
            "ftp://h",
            "host:7070",
            "http://",
            "http://u:secret@h",
            "http://h:port",
            "http://h/?q",
            "http://h\r\nX: y/",
        ):
            with self.subTest(url=url), self.assertRaises(InvalidArgument) as raised:
                Client(url)
            self.assertNotIn("secret", str(raised.exception))
        self.assertEqual(Client("http://[::1]:7070")._core.address.authority, "[::1]:7070")


class Tasks(Both, unittest.TestCase):
    def call(self, url: str, do: Any, **options: Any) -> Any:
        async def run() -> Any:
            async with AsyncClient(url, **options) as client:
                if not isinstance(do, list):
                    return await do(client)
                results = []
                for one in do:
                    if isinstance(one, float):
                        await asyncio.sleep(one)
                    else:
                        results.append(await one(client))
                return results

        return asyncio.run(run())

    def test_tasks_share_the_pool_and_take_turns(self) -> None:
        server = scripted(self, replying(value(b"1")))

        async def run() -> None:
            async with AsyncClient(server.url, pool_size=3) as client:
                self.assertEqual(await asyncio.gather(*[client.get("d", "k") for _ in range(200)]), [1] * 200)

        asyncio.run(run())
        self.assertLessEqual(server.accepted, 3)

    def test_one_loop_after_the_other(self) -> None:
        server = scripted(self, replying(value(b"1")))
        client = AsyncClient(server.url)
        # A loop that is closed with connections in it says so.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            for _ in range(2):
                self.assertEqual(asyncio.run(client.get("d", "k")), 1)
            gc.collect()

    def test_a_cancelled_call_gives_back_its_place(self) -> None:
        calm = threading.Event()

        def of(server: Scripted) -> Script:
            def script(connection: socket.socket, number: int) -> None:
                while server.read_request(connection):
                    if calm.is_set():
                        connection.sendall(value(b"1"))

            return script

        server = scripted(self, of)

        async def run() -> None:
            async with AsyncClient(server.url, pool_size=1) as client:
                tasks = [asyncio.ensure_future(client.get("d", "k")) for _ in range(3)]
                while not server.requests:
                    await asyncio.sleep(0.005)
                for task in tasks:
                    task.cancel()
                self.assertTrue(
                    all(
                        isinstance(one, asyncio.CancelledError)
                        for one in await asyncio.gather(*tasks, return_exceptions=True)
                    )
                )
                calm.set()
                self.assertEqual(await client.get("d", "k"), 1)

        asyncio.run(run())

    def test_what_comes_unasked_closes_the_connection(self) -> None:
        server = scripted(self, replying(value(b"1") + b"HTTP/1.1 200 OK\r\n"))
        with self.assertRaises(BrokenConnection):
            self.call(server.url, lambda c: c.get("d", "k"), max_tries=1)


if __name__ == "__main__":
    unittest.main()
