"""Counts what ctest recorded in build/PRESET/tests.xml: summary.py [--skipped] PRESET...

One line of counts per preset; with --skipped, a total and the skipped tests by the hardware that they lack.
Exits 1 if a record is missing, has no tests or has a failure: a run that tested nothing is no success.
"""

import collections
import re
import sys
import xml.etree.ElementTree as ElementTree

# How GoogleTest prints a skip: the place, then the text given to GTEST_SKIP().
SKIP_TEXT = re.compile(r": Skipped\n(.*)")


def read(path):
    """The record's (passed, failed, {skipped test: reason})."""
    passed, failed, skipped = 0, 0, {}
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        status = case.get("status")
        if status == "run":
            passed += 1
        elif status == "fail":
            failed += 1
        else:
            found = SKIP_TEXT.search(case.findtext("system-out") or "")
            skipped[case.get("name")] = found.group(1).strip() if found else f"no reason given ({status})"
    return passed, failed, skipped


def main(arguments):
    listing = "--skipped" in arguments
    ok, totals, reasons = True, [0, 0], collections.defaultdict(set)
    for name in arguments:
        if name == "--skipped":
            continue
        try:
            passed, failed, skipped = read(f"build/{name}/tests.xml")
        except (OSError, ElementTree.ParseError) as error:
            print(f"{name}: no record of its tests: {error}")
            ok = False
            continue
        print(f"{name}: {passed} passed, {failed} failed, {len(skipped)} skipped")
        ok = ok and failed == 0 and passed > 0
        totals[0] += passed
        totals[1] += failed
        for test, reason in skipped.items():
            reasons[reason].add(f"{name}:{test}")
    if listing:
        count = sum(len(tests) for tests in reasons.values())
        print(f"total: {totals[0]} passed, {totals[1]} failed, {count} skipped")
        print(f"skipped: {count}, with the missing hardware" + (":" if count else ""))
        for reason, tests in sorted(reasons.items()):
            shown = ", ".join(sorted(tests)[:4]) + (", ..." if len(tests) > 4 else "")
            print(f"  {len(tests)}  {reason}: {shown}")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
