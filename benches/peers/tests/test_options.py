"""What a run measures, and which run writes the page."""

import unittest

from yardstick import measures, options


def parse(*flags):
    return options.parse(["--tidetable", "t", "--helper", "h", "--lmdb", "l", "--out", "o", *flags])


class Complete(unittest.TestCase):
    def test_only_a_run_that_measures_everything_writes_the_page(self):
        self.assertTrue(parse("--full").complete)
        self.assertTrue(parse("--only", ",".join(measures.NAMES)).complete)
        for flags in ((), ("--quick",), ("--full", "--quick"), ("--full", "--skip", "scale"), ("--full", "--only", "get")):
            self.assertFalse(parse(*flags).complete, flags)

    def test_ten_times_the_data_is_left_out_unless_asked_for(self):
        self.assertNotIn("scale", parse().selected)
        self.assertEqual(parse("--full").selected, list(measures.NAMES))
