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


class Noise(unittest.TestCase):
    def test_what_the_machine_does_by_itself_is_said_of_both_cores(self):
        core = {"seconds": 10, "long": 15, "most_us": 3120.0, "p99_us": 0.0, "p999_us": 2104.4}
        text = page.noise({"measures": {"stalls": {"server": core, "load": {**core, "long": 0}}}})
        self.assertIn("core of the servers, held up 1.5 times a second for 0.5 ms or more, 3.1 ms at most", text)
        self.assertIn("that of the load it was held up 0.0 times", text)
        self.assertIn("1 % wait for 0 µs or longer, 0.1 % for 2,104 µs", text)
        self.assertEqual(page.noise({"measures": {}}), "")
