"""Verdicts."""

import unittest

from yardstick import goals, sections


def under_load(**changed):
    phase = {"requests": 1000, "errors": 0, "p50_us": 50, "p99_us": 100, "p999_us": 200, "max_us": 300}
    return {"phases": {"before": phase, "during": phase}, "slices": [{"at": at / 4, "p99_us": 100, "requests": 9} for at in range(400)],
            "rate": 500, "maximum": 1000, "push_seconds": 48.0, "alone_seconds": 12.0, "at_most": 600, "finished": True,
            "progress": None, "began": 13.0, "ended": 61.0, **changed}


class PushUnderLoad(unittest.TestCase):
    def test_a_push_that_ended_is_told_beside_one_without_load(self):
        time, errors, p99 = goals.push_under_load(under_load())
        self.assertEqual((time.ours, time.theirs, time.compared), ("48.0 s", "without load 12.0 s", "4.0×"))
        self.assertEqual([row.verdict for row in (time, errors, p99)], [goals.MET] * 3)

    def test_a_push_that_never_ends_meets_no_goal_however_fast_the_gets_were(self):
        found = under_load(finished=False, push_seconds=600.2, progress={"phase": "reading"})
        rows = list(goals.push_under_load(found))
        self.assertEqual([row.verdict for row in rows], [goals.NOT_MET] * 3)
        self.assertEqual(rows[0].ours, "not ended after 600 s (reading)")
        self.assertIn("the push did not end", rows[2].compared)
        self.assertIn("**had not ended** after 600 s", sections.push_under_load(found)[0])

    def test_the_chart_shows_all_of_the_push(self):
        words, charts = sections.push_under_load(under_load())
        self.assertIn("It took 48.0 s; the same push without load took 12.0 s.", words)
        self.assertNotIn("width='0.0'", charts["push-under-load.svg"])


class Scale(unittest.TestCase):
    def test_the_push_is_compared_with_the_median_of_the_small_ones(self):
        def times(*micros):
            return [{"record_us": at, "seconds": at, "cpu_us": 1.0, "ns": 1.0} for at in micros]
        same = {"small": times(1.0), "large": times(1.0)}
        found = {"push": {"small": times(3.0, 4.0, 9.0), "large": times(5.0)}, "open": same, "get": same,
                 "in_process": same, "records": {"small": 10, "large": 100}}
        push = next(row for row in goals.scale(found) if "push" in row.work)
        self.assertEqual((push.compared, push.verdict), ("1.25×", goals.NOT_MET))
        self.assertIn("| push | 4.0 (3.0–9.0) s | 5.0 s |", sections.scale(found)[0])


class Latency(unittest.TestCase):
    def test_both_paces_are_compared_with_redis_and_shown(self):
        def rounds(*p99):
            return [{"p50_us": 20, "p90_us": 30, "p99_us": at, "p999_us": 400, "rps": 9.0, "cpu_us": 1.0, "busy": 0.5} for at in p99]
        found = {"rate": 5000.0, "maximum": 10_000.0,
                 "any_rate": {"tidetable": rounds(90.0), "nginx": rounds(70.0), "redis": rounds(100.0)},
                 "samples": {"tidetable": rounds(30.0, 90.0, 60.0), "nginx": rounds(1.0, 1.0, 1.0), "redis": rounds(40.0, 60.0, 50.0)}}
        fast, slow = goals.latency(found)
        self.assertEqual((fast.compared, fast.verdict), ("0.90×", goals.MET))
        # Round by round: 0.75, 1.5, 1.2.
        self.assertEqual((slow.compared, slow.verdict), ("1.20 (0.75–1.50)×", goals.NOT_MET))
        words, charts = sections.latency(found)
        self.assertIn("Medians of 3 rounds.", words)
        self.assertEqual(words.count("| Redis |"), 2)
        self.assertIn("latency.svg", charts)
