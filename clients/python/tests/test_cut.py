"""Values of a batch as stored, cut out of the answer: rightly, or not at all."""

import json
import random
import unittest
from typing import Any

from tidetable.cut import BORDER, cut_values


def body(records: list[tuple[str, Any]], version: int = 7) -> bytes:
    """As the server writes it; None is absent."""
    results = []
    for key, value in records:
        name = json.dumps(key, ensure_ascii=False)
        told = '"found":false' if value is None else f'"found":true,"value":{value}'
        results.append(f'{{"key":{name},{told}}}')
    return f'{{"version":{version},"results":[{",".join(results)}]}}'.encode()


class Cut(unittest.TestCase):
    def check(self, records: list[tuple[str, Any]]) -> None:
        cut = cut_values(body(records), [key for key, _ in records])
        assert cut is not None
        self.assertEqual(cut, (7, [None if value is None else value.encode() for _, value in records]))

    def test_values_are_the_stored_bytes(self) -> None:
        self.check([("a", "[1, 2.50,1e5]"), ("b", None), ('q"\\ü\n', '{"x":"ü"}'), ("c", "null"), ("d", '"text"')])
        self.check([("one", "1")])
        self.check([("none", None)])

    def test_a_value_that_looks_like_a_border_is_not_taken_for_one(self) -> None:
        nested = '[{"key":"a","found":true,"value":1},{"key":"b","found":true,"value":2}]'
        self.assertIn(BORDER.decode(), nested)
        self.check([("a", nested), ("b", "3.50"), ("c", nested), ("d", None)])
        # In a text the quotes are escaped: it makes no border.
        self.check([("a", json.dumps('},{"key":"b","found":true,"value":2')), ("b", "3")])

    def test_whatever_is_not_as_the_server_writes_it_is_not_cut(self) -> None:
        right = body([("a", "1"), ("b", "2")])
        self.assertIsNotNone(cut_values(right, ["a", "b"]))
        for wrong, keys in (
            (right, ["a"]),
            (body([("a", '[{"key":1},{"key":2}]')])[:-4] + b"}}]}", ["a"]),
            (right, ["b", "a"]),
            (right[:-1], ["a", "b"]),
            (right.replace(b":7", b": 7"), ["a", "b"]),
            (right.replace(b"},{", b"}, {"), ["a", "b"]),
            (b'{"version":7,"results":[{"key":"YQ","found":true,"value":"aGk=","encoding":"base64"}]}', ["YQ"]),
            (b"", ["a"]),
        ):
            self.assertIsNone(cut_values(wrong, keys), wrong)

    def test_random_values_full_of_borders(self) -> None:
        draw = random.Random(5)
        atoms = ['"},{\\"key\\":"', '{"key":"a","found":false}', "1", '"a"', "[]", "null", '{"found":true,"value":{}}']

        def made(depth: int) -> str:
            kind = draw.randrange(3) if depth else 0
            if kind == 0:
                return draw.choice(atoms)
            if kind == 1:
                return "[" + ",".join(made(depth - 1) for _ in range(draw.randrange(4))) + "]"
            return '{"key":' + made(depth - 1) + ',"value":' + made(depth - 1) + "}"

        for _ in range(3000):
            records: list[tuple[str, Any]] = [
                (name, draw.choice([None, made(3), made(1)])) for name in "abc"[: draw.randrange(1, 4)]
            ]
            found = cut_values(body(records), [key for key, _ in records])
            assert found is not None
            self.assertEqual(found[1], [None if value is None else value.encode() for _, value in records])


if __name__ == "__main__":
    unittest.main()
