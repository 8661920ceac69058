"""What the page warns of."""

import unittest

from yardstick import page


class Disturbed(unittest.TestCase):
    def test_a_disturbance_is_found_however_deep_the_samples_lie(self):
        quiet, loud = ({"others": others, "stolen": 0.0} for others in (0.0, 0.5))
        found = {"get": {"tidetable": [quiet], "redis": [quiet]}, "batch": {"tidetable": [loud]},
                 "latency": {"rate": 5.0, "samples": {"tidetable": [loud, loud]}},
                 "scale": {"get": {"small": [loud], "large": [loud]}, "push": {"small": [{"seconds": 1.0}]}},
                 "memory": {"disk_bytes": 1}}
        self.assertEqual(page.disturbed({"measures": found}), ["batch", "latency", "scale"])
