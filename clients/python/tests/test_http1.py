"""Answers as bytes: whole ones, in any pieces, and what is none."""

import unittest

from tidetable.errors import BrokenConnection
from tidetable.http1 import BUFFER_BYTES, AnswerReader, Body, Request, Response


def read(data: bytes, size: int = 1 << 30, method: str = "GET") -> Response:
    """Feeds an answer in pieces of `size` bytes; the end of the data is the end of the connection."""
    reader = AnswerReader()
    reader.begin(method)
    at = 0
    while True:
        buffer = reader.buffer()
        piece = data[at : at + min(size, len(buffer))]
        if not piece:
            reader.ended()
        buffer[: len(piece)] = piece
        at += len(piece)
        if reader.received(len(piece)):
            if at != len(data):
                raise BrokenConnection("more came")
            return reader.response()


OK = b"HTTP/1.1 200 OK\r\n"


class Answers(unittest.TestCase):
    def test_an_answer_is_the_same_in_pieces_of_any_size(self) -> None:
        body = bytes(range(256)) * 4
        plain = OK + b"Content-Length: 1024\r\nTidetable-Version: 3\r\n\r\n" + body
        chunked = (
            OK
            + b"transfer-encoding: Chunked\r\n\r\n"
            + b"".join(b"%X;ext=1\r\n%s\r\n" % (len(piece), piece) for piece in (body[:1], body[1:700], body[700:]))
            + b"0\r\ntrailer: x\r\n\r\n"
        )
        for data in (plain, chunked, b"HTTP/1.1 100 Continue\r\n\r\n" + plain):
            for size in (1, 2, 3, 7, 100, 1 << 30):
                with self.subTest(size=size, data=data[:60]):
                    response = read(data, size)
                    self.assertEqual((response.status, bytes(response.body)), (200, body))
        self.assertEqual(read(plain).headers["tidetable-version"], "3")

    def test_a_body_larger_than_the_buffer(self) -> None:
        body = b"x" * (BUFFER_BYTES * 3 + 1)
        data = OK + b"content-length: %d\r\n\r\n" % len(body) + body
        for size in (1000, BUFFER_BYTES, 1 << 30):
            self.assertEqual(bytes(read(data, size).body), body)

    def test_answers_without_a_body(self) -> None:
        for data, method in (
            (b'HTTP/1.1 304 Not Modified\r\netag: "a"\r\n\r\n', "GET"),
            (b"HTTP/1.1 204 No Content\r\n\r\n", "DELETE"),
            (OK + b"content-length: 7\r\n\r\n", "HEAD"),
            (OK + b"content-length: 0\r\n\r\n", "GET"),
        ):
            self.assertEqual(bytes(read(data, method=method).body), b"")

    def test_what_is_cut_off_anywhere_is_no_answer(self) -> None:
        plain = OK + b"content-length: 5\r\n\r\nhello"
        chunked = OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        for data in (plain, chunked):
            for end in range(len(data)):
                with self.assertRaises(BrokenConnection):
                    read(data[:end])

    def test_an_answer_whose_end_is_not_certain_is_refused(self) -> None:
        heads: list[bytes] = [
            OK + b"\r\nall of it until the end",
            OK + b"\r\n",
            OK + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            OK + b"content-length: 4\r\ncontent-length: 5\r\n\r\nhello",
            OK + b"content-length: -1\r\n\r\n",
            OK + b"content-length: 0x5\r\n\r\nhello",
            OK + b"content-length: 99999999999999\r\n\r\n",
            OK + b"transfer-encoding: gzip\r\n\r\n",
            OK + b"transfer-encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
            OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhello!!0\r\n\r\n",
            OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhelloworld\r\n0\r\n\r\n",
            OK + b"content-length: 5\r\n\r\nhello and more",
            OK + b"no colon\r\ncontent-length: 0\r\n\r\n",
            OK + b"content-length : 0\r\n\r\n",
            OK + b"a: b\r\n folded: c\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/2 200\r\ncontent-length: 0\r\n\r\n",
            b"SSH-2.0-OpenSSH\r\n\r\n",
            b"HTTP/1.1 101 Switching\r\n\r\n",
            b"x" * (BUFFER_BYTES + 10),
        ]
        for data in heads:
            with self.subTest(data=data[:80]), self.assertRaises(BrokenConnection):
                read(data)

    def test_the_same_length_twice_is_that_length(self) -> None:
        self.assertEqual(bytes(read(OK + b"content-length: 2\r\nContent-Length: 2\r\n\r\nhi").body), b"hi")

    def test_whether_the_connection_may_be_used_again(self) -> None:
        for version, header, keep in (
            (b"1.1", b"", True),
            (b"1.1", b"Connection: Close\r\n", False),
            (b"1.1", b"connection: foo, close\r\n", False),
            (b"1.0", b"", False),
            (b"1.0", b"connection: keep-alive\r\n", True),
        ):
            reader = AnswerReader()
            data = b"HTTP/" + version + b" 200 OK\r\n" + header + b"content-length: 0\r\n\r\n"
            reader.buffer()[: len(data)] = data
            self.assertTrue(reader.received(len(data)))
            self.assertEqual(reader.keep, keep, header)

    def test_a_reader_reads_one_answer_after_the_other(self) -> None:
        reader = AnswerReader()
        for number in range(3):
            reader.begin("GET")
            data = OK + b"content-length: 1\r\n\r\n%d" % number
            reader.buffer()[: len(data)] = data
            self.assertTrue(reader.received(len(data)))
            self.assertEqual(bytes(reader.response().body), b"%d" % number)


class Requests(unittest.TestCase):
    def test_bodies_say_their_length_or_go_in_chunks(self) -> None:
        self.assertIn(b"Content-Length: 3\r\n", Request("POST", "/", b"abc").head("", b""))
        self.assertIn(b"Content-Length: 0\r\n", Request("POST", "/").head("", b""))
        self.assertNotIn(b"Content-Length", Request("GET", "/").head("", b""))
        known = Request("PUT", "/", Body(lambda: [b"ab", b"c"], 3, True))
        self.assertIn(b"Content-Length: 3\r\n", known.head("", b""))
        self.assertEqual(b"".join(known.framed()), b"abc")
        unknown = Request("PUT", "/", Body(lambda: [b"ab", b"", b"c"], None, True))
        self.assertIn(b"Transfer-Encoding: chunked\r\n", unknown.head("", b""))
        self.assertEqual(b"".join(unknown.framed()), b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")

    def test_a_body_that_changed_its_length_is_not_sent_as_whole(self) -> None:
        for chunks in ([b"ab"], [b"abcd"]):
            with self.assertRaises(BrokenConnection):
                list(Request("PUT", "/", Body(lambda chunks=chunks: chunks, 3, True)).framed())  # type: ignore[misc]

    def test_the_prefix_of_the_base_url_stands_before_the_path(self) -> None:
        self.assertTrue(
            Request("GET", "/v1/x").head("/tide", b"Host: h\r\n").startswith(b"GET /tide/v1/x HTTP/1.1\r\nHost: h\r\n")
        )


if __name__ == "__main__":
    unittest.main()
