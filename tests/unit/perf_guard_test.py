#!/usr/bin/env python3
"""The guard of the hot path: what it reads of callgrind's dumps, and which counts it lets pass."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "perf" / "guard"))

import guard

DUMP = """# callgrind format
version: 1
desc: Trigger: Client Request: 64 x barrier, shm

events: Ir
fn=(1) f
0 6400
totals: 6400
"""


class Dumps(unittest.TestCase):
    def test_a_call_and_its_instructions_are_read(self):
        self.assertEqual(("barrier, shm", 100), guard.read_dump(DUMP))

    def test_the_dump_at_the_end_is_none_of_ours(self):
        self.assertIsNone(guard.read_dump(DUMP.replace("Client Request: 64 x barrier, shm", "Program termination")))


class Verdicts(unittest.TestCase):
    def faults(self, count, current=1000, origin=1000):
        return guard.faults({"call": count}, {"call": {"current": current, "origin": origin}})

    def test_up_to_three_per_cent_pass_either_way(self):
        for count in (970, 1000, 1030):
            self.assertEqual([], self.faults(count))

    def test_more_names_the_call_and_both_counts(self):
        for count in (969, 1031):
            found = self.faults(count)
            self.assertEqual(1, len(found), found)
            self.assertIn(f"call: {count} instructions", found[0])
            self.assertIn("1000", found[0])

    def test_small_steps_add_up_to_less_than_five_per_cent(self):
        self.assertEqual([], self.faults(1049, current=1040))
        self.assertIn("where the guard began", self.faults(1050, current=1040)[0])

    def test_a_call_that_only_one_side_knows_is_told(self):
        known = {"current": 1, "origin": 1}
        self.assertIn("b: was not counted", guard.faults({"a": 1}, {"a": known, "b": known})[0])
        self.assertIn("b: has no baseline", guard.faults({"a": 1, "b": 1}, {"a": known})[0])


class Rebasing(unittest.TestCase):
    def test_moves_the_current_count_and_never_an_origin(self):
        before = {"call": {"current": 1000, "origin": 990}}
        self.assertEqual({"call": {"origin": 990, "current": 1010}}, guard.rebased({"call": 1010}, before))

    def test_a_new_call_begins_with_its_count(self):
        self.assertEqual({"call": {"origin": 7, "current": 7}}, guard.rebased({"call": 7}, {}))

    def test_a_compiler_without_a_file_has_no_baseline(self):
        self.assertIsNone(guard.read_baseline("/nowhere/gcc-1.json"))


if __name__ == "__main__":
    unittest.main()
