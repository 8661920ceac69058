"""Whether what is served is what Redis is given."""

import os
import tempfile
import unittest
from types import SimpleNamespace
from unittest import mock

from yardstick import bench, data
from yardstick.errors import Failed


def write(directory, pairs):
    path = os.path.join(directory, "rows.resp")
    with open(path, "wb") as file:
        for key, value in pairs.items():
            file.write(b"*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n" % (len(key), key, len(value), value))
    return path


class Commands(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.pairs = {b"learner:%012d" % number: b'[{"course_id":"%d"}]' % number for number in range(1000)}
        self.resp = write(directory.name, self.pairs)

    def test_they_come_whole_and_from_all_parts_of_the_file(self):
        found = list(data.commands(self.resp, 50))
        self.assertTrue(all(self.pairs[key] == value for key, value in found))
        numbers = [int(key[8:]) for key, _ in found]
        self.assertEqual(len(set(numbers)), 50)
        self.assertEqual((numbers[0], numbers[-1] > 970), (0, True))

    def check(self, served):
        """`check_values` of a server with these values."""
        yardstick = SimpleNamespace(data=lambda: SimpleNamespace(path=lambda form: self.resp))
        with mock.patch.object(bench.client, "value", lambda port, dataset, key: served[key.encode()]):
            bench.Bench.check_values(yardstick, SimpleNamespace(port=1))

    def test_a_value_with_one_other_byte_is_found(self):
        self.check(self.pairs)
        key, value = next(iter(self.pairs.items()))
        with self.assertRaisesRegex(Failed, "not what was pushed"):
            self.check({**self.pairs, key: value.replace(b"0", b"1")})
