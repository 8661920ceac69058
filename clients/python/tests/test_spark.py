"""What needs no Spark of the writer for Spark; tests/spark has the rest."""

import os
import time
import unittest
from typing import Any
from unittest import mock

try:
    import pyarrow
except ImportError:
    pyarrow = None

from tidetable import spark


@unittest.skipIf(pyarrow is None, "there is no pyarrow here")
class Partitions(unittest.TestCase):
    def test_what_a_partition_tells_has_the_types_that_spark_was_told(self) -> None:
        for sent in (spark.Sent(None, 0), spark.Sent("p-1", 3)):
            frame, push = mock.Mock(), mock.Mock()
            push.send_batches.return_value = sent
            frame.mapInArrow.return_value.collect.return_value = []
            spark._run_with_arrow(frame, push)
            send, told = frame.mapInArrow.call_args.args
            batches: list[Any] = list(send(iter([])))
            self.assertEqual([str(field.type) for field in batches[0].schema], ["string", "int64"], sent)
            self.assertEqual(told, "part string, rows bigint")


class LocalTime(unittest.TestCase):
    def test_it_is_utc_for_a_while_and_then_what_it_was(self) -> None:
        with mock.patch.dict(os.environ, {"TZ": "America/New_York"}):
            time.tzset()
            with self.assertRaises(KeyError), spark._in_utc():
                self.assertEqual(time.localtime(0).tm_hour, 0)
                raise KeyError
            self.assertEqual((os.environ["TZ"], time.localtime(0).tm_hour), ("America/New_York", 19))
        time.tzset()


if __name__ == "__main__":
    unittest.main()
