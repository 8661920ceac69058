"""What a measurement does when something does not go as it should."""

import io
import subprocess
import unittest
from types import SimpleNamespace
from unittest import mock

from yardstick.bench import CONNECTIONS
from yardstick.errors import Failed
from yardstick.measures import batch, memory, push_under_load, scale, threads


class Push:
    """A client that pushes, and ends with a status, or never."""

    def __init__(self, status):
        self.status, self.stderr, self.bound = status, io.StringIO("no room"), None

    def wait(self, seconds):
        self.bound = seconds
        if self.status is None:
            raise subprocess.TimeoutExpired("push", seconds)
        return self.status


class PushUnderLoad(unittest.TestCase):
    def test_it_is_waited_for_until_it_ends_within_the_bound(self):
        push = Push(0)
        self.assertTrue(push_under_load.ended(push))
        self.assertEqual(push.bound, 600)
        self.assertFalse(push_under_load.ended(Push(None)))

    def test_one_that_fails_is_no_end(self):
        with self.assertRaisesRegex(Failed, "no room"):
            push_under_load.ended(Push(1))


class Batches(unittest.TestCase):
    def test_a_round_that_sent_a_batch_twice_does_not_count(self):
        batch.refuse_repeats(60_000 - CONNECTIONS, 60_000)
        with self.assertRaisesRegex(Failed, "BATCHES_PER_SECOND"):
            batch.refuse_repeats(60_000 - CONNECTIONS + 1, 60_000)


class Scale(unittest.TestCase):
    def small(self, measured):
        """The seconds of the small pushes, and how many were made for them."""
        bench = SimpleNamespace(options=SimpleNamespace(records=1000, rounds=5), measured=measured)
        with mock.patch.object(scale, "push", return_value={"seconds": 9.0, "record_us": 9000.0}) as pushed:
            return [sample["seconds"] for sample in scale.small_pushes(bench)], pushed.call_count

    def test_the_small_pushes_are_those_that_were_measured(self):
        measured = {"push": {"ndjson": [{"seconds": 6.0}, {"seconds": 7.0}, {"seconds": 8.0}]}}
        self.assertEqual(self.small(measured), ([6.0, 7.0, 8.0], 1))

    def test_they_are_as_many_where_none_were_measured(self):
        self.assertEqual(self.small({}), ([9.0, 9.0, 9.0], 3))


class Threads(unittest.TestCase):
    def test_every_server_is_started_anew_for_each_round_and_warmed_alike(self):
        done = []

        def start(name):
            return lambda threads, cores: done.append(f"start {name}") or name

        def rounds(systems):
            for number in range(2):
                for run in systems.values():
                    run(number, 4)
        layout = SimpleNamespace(server=[0], load=[1], two_servers=[0, 1], two_loads=[0, 1])
        bench = SimpleNamespace(layout=layout, rounds=rounds, tidetable=start("tidetable"), nginx=start("nginx"))
        with mock.patch.object(threads, "gets", lambda bench, server, seed, seconds, **more: done.append(seconds)):
            threads.measure(bench)
        both = ["start tidetable", 1, 4] * 2 + ["start nginx", 1, 4] * 2
        self.assertEqual(done, both * 2)


class Memory(unittest.TestCase):
    def test_both_servers_are_started_anew(self):
        bench = mock.Mock()
        bench.tidetable.side_effect = RuntimeError("as far as this goes")
        with self.assertRaises(RuntimeError):
            memory.measure(bench)
        bench.stop.assert_called_once_with("tidetable", "redis")
