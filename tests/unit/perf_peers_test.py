#!/usr/bin/env python3
"""The side-by-side runs: what ends a run, what is left of it, and the arithmetic of the table."""

import os
import pathlib
import sys
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "perf" / "peers"))

import contenders
import everything
import process
import ratios


class BoundedRuns(unittest.TestCase):
    def test_output_is_returned(self):
        self.assertEqual(process.run(["echo", "right"], 30), "right\n")

    def test_a_failure_tells_the_status_and_the_last_words(self):
        with self.assertRaisesRegex(process.RunFailed, "(?s)exit status 3.*sorry"):
            process.run(["sh", "-c", "echo sorry >&2; exit 3"], 30)

    def test_time_is_up_for_a_process_that_hangs(self):
        begin = time.monotonic()
        with self.assertRaisesRegex(process.RunFailed, "not done within 0.5 s"):
            process.run(["sleep", "1000"], 0.5)
        self.assertLess(time.monotonic() - begin, 20)

    def test_children_in_sessions_of_their_own_are_reaped(self):
        script = "setsid sleep 1000 >/dev/null 2>&1 & echo $!"
        pid = int(process.run(["sh", "-c", script], 30))
        self.assertFalse(process.runs(pid))

    def test_only_what_carries_the_token_is_reaped(self):
        bystander = os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "1000")
        try:
            process.run(["true"], 30)
            self.assertTrue(process.runs(bystander))
        finally:
            os.kill(bystander, 9)
            os.waitpid(bystander, 0)


def record(median, line=(30, 30)):
    return {"median_us": median, "min_us": median / 2, "max_us": median * 2, "iterations": 9, "line_ns": list(line)}


def measured(*runs):
    """Times of (name, family, tuned, size, median, line) with the same record for both placements."""
    times = ratios.Times()
    for name, family, tuned, size, median, line in runs:
        contender = contenders.Contender(name, family, None, tuned)
        times.add(contender, {size: {place: record(median, line) for place in ratios.PLACES}})
    return times


NEAR, FAR = (26, 27), (190, 195)


class Ratios(unittest.TestCase):
    def test_the_best_peer_is_the_best_at_that_size(self):
        times = measured(
            ("comity plain", "comity-plain", True, 8, 3.0, NEAR),
            ("A", "Open MPI", True, 8, 4.0, NEAR),
            ("B", "MPICH", True, 8, 6.0, NEAR),
            ("comity plain", "comity-plain", True, 32, 3.0, NEAR),
            ("A", "Open MPI", True, 32, 4.0, NEAR),
            ("B", "MPICH", True, 32, 2.0, NEAR),
        )
        self.assertEqual(ratios.ratio(times, "comity plain", 8, "in_place")["ratio"], 0.75)
        found = ratios.ratio(times, "comity plain", 32, "in_place")
        self.assertEqual((found["ratio"], found["peer"]), (1.5, "B"))

    def test_an_untuned_peer_is_never_the_best(self):
        times = measured(("A", "Open MPI", True, 8, 4.0, NEAR), ("A untuned", "Open MPI", False, 8, 1.0, NEAR))
        self.assertEqual(times.best_peer(8, "in_place"), ("A", 4.0))

    def test_rounds_are_summed_up_by_their_median_and_show_their_spread(self):
        runs = [("comity plain", "comity-plain", True, 8, median, NEAR) for median in (1.0, 2.0, 9.0)]
        times = measured(*runs, ("A", "Open MPI", True, 8, 4.0, NEAR))
        found = ratios.ratio(times, "comity plain", 8, "out_of_place")
        self.assertEqual((found["ratio"], found["ratio_low"], found["ratio_high"]), (0.5, 0.25, 2.25))

    def test_times_of_near_and_far_cores_are_kept_apart(self):
        times = measured(
            ("comity plain", "comity-plain", True, 8, 1.0, NEAR),
            ("comity plain", "comity-plain", True, 8, 5.0, FAR),
            ("comity plain", "comity-plain", True, 8, 99.0, (26, 190)),
            ("A", "Open MPI", True, 8, 2.0, NEAR),
            ("A", "Open MPI", True, 8, 4.0, FAR),
        )
        regimes = times.regimes()
        self.assertEqual(len(regimes), 2)
        each = [ratios.ratio(part, "comity plain", 8, "in_place")["ratio"] for _, part in regimes]
        self.assertEqual(each, [0.5, 1.25])

    def test_one_regime_is_not_torn_in_two(self):
        times = measured(*[("A", "Open MPI", True, 8, 1.0, (line, line)) for line in range(150, 250, 5)])
        self.assertEqual(len(times.regimes()), 1)

    def test_tables_name_every_contender_and_size(self):
        times = measured(
            ("comity plain", "comity-plain", True, 8 << 20, 3.0, NEAR), ("A", "Open MPI", True, 8 << 20, 4.0, NEAR)
        )
        text = ratios.markdown(ratios.table(times), times) + ratios.times_markdown(times)
        self.assertIn("| 8 MiB | 0.75 (0.75-0.75) |", text)
        self.assertIn("| A | 4.00 / 4.00 |", text)


class Everything(unittest.TestCase):
    def table_of(self, ours_us, peer_us):
        times = measured(("comity plain", "comity-plain", True, 8, ours_us, NEAR), ("A", "Open MPI", True, 8, peer_us, NEAR))
        results = {("gather", "shm"): (times, ["A: it failed\nat length"])}
        limits = {"line_latency_ns": 30}
        document = {"date": "2026-01-02", "cpu": "c", "cores": 2, "ranks": 2, "rounds": 1, "quick": True, "commit": "x",
                    "limits_before": limits, "limits_after": limits, "load_average": (0,), "congestion": "reno"}
        return everything.markdown(document, results)

    def test_a_miss_is_bold_and_listed_with_its_peer(self):
        text = self.table_of(3.0, 2.0)
        self.assertIn("| gather | 8 B |  |  | **1.50** | **1.50** |", text)
        self.assertIn("| gather 8 B | shm, plain, in place | 1.50 | 3.00 | 2.00 | A |", text)
        self.assertIn("0 of 2 cells are at or below 1.", text)
        self.assertIn("- gather, shm: A: it failed", text)
        self.assertNotIn("at length", text)

    def test_no_misses_no_list(self):
        text = self.table_of(1.0, 2.0)
        self.assertIn("2 of 2 cells are at or below 1.", text)
        self.assertNotIn("## Misses", text)

    def test_a_collective_without_a_call_in_place_has_no_such_cell(self):
        times = ratios.Times()
        for name, family in (("comity plain", "comity-plain"), ("A", "Open MPI")):
            times.add(contenders.Contender(name, family, None), {8: {"out_of_place": record(1.0)}})
        found = everything.cells({("all_to_all", "shm"): (times, [])})
        self.assertEqual(list(found["all_to_all", 8]), [("shm", "plain", "out_of_place")])

    def test_every_collective_has_its_program_and_its_counterpart(self):
        source = (ROOT / "perf" / "peers" / "mpi_calls.h").read_text()
        for name in everything.COLLECTIVES:
            self.assertTrue((ROOT / "perf" / f"{name}_perf.cc").exists(), name)
            self.assertIn(f'{{"{name}", ', source)


if __name__ == "__main__":
    unittest.main()
