"""Instructions per call against their baseline: guard.py PROGRAM COMPILER [--rebase].

PROGRAM is hot_path_guard of an optimized build, or "none" if it could not be built. The baseline is
perf/baselines/guard/COMPILER.json: per call `current`, which a count may leave by 3% either way, and `origin`,
written once, beyond which no count may grow by 5% or more. --rebase takes what was counted as `current`; the reason
goes into the commit that holds it.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

LIMIT = 3  # per cent, as is the next
SUM_LIMIT = 5
TIMEOUT_S = 540
SKIPPED = 77
BASELINES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "baselines", "guard")
REBASE = "./dev bench --rebase"

TRIGGER = re.compile(r"^desc: Trigger: Client Request: (\d+) x (.+)$", re.M)
TOTAL = re.compile(r"^(?:totals|summary): (\d+)", re.M)


def read_dump(text):
    """(call, instructions per call) of one of callgrind's dumps; None for one that no call asked for."""
    trigger, total = TRIGGER.search(text), TOTAL.search(text)
    if not trigger or not total:
        return None
    return trigger.group(2), round(int(total.group(1)) / int(trigger.group(1)))


def skip(why):
    """Says so as a test's record reads it, and ends."""
    print(f"hot_path_guard: Skipped\n{why}")
    sys.exit(SKIPPED)


def measure(program):
    """{call: instructions}; ends the process where this machine cannot count."""
    if program == "none" or not shutil.which("valgrind"):
        skip("needs valgrind and its headers (configure again once they are there)")
    with tempfile.TemporaryDirectory(prefix="comity-guard-") as folder:
        command = ["valgrind", "--tool=callgrind", "--collect-atstart=no", f"--callgrind-out-file={folder}/out", program]
        # A fixed environment: what lies on the stack moves with it.
        environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": "/", "LC_ALL": "C"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        if done.returncode == SKIPPED:
            skip("needs AVX2")
        if done.returncode:
            sys.exit(f"guard: {' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        counts = {}
        for name in os.listdir(folder):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                found = read_dump(file.read())
            if found:
                counts[found[0]] = found[1]
    if not counts:
        sys.exit("guard: callgrind left no dump of any call")
    return counts


def faults(counts, baseline):
    """A sentence for each call that left its limits, and for each that only one side knows."""
    found = []
    for call in sorted(set(counts) ^ set(baseline)):
        where = "has no baseline" if call in counts else "was not counted"
        found.append(f"{call}: {where}; {REBASE} writes the list anew")
    for call, known in baseline.items():
        if call not in counts:
            continue
        count, current, origin = counts[call], known["current"], known["origin"]
        change = count / current - 1
        if abs(count - current) * 100 > LIMIT * current:
            found.append(f"{call}: {count} instructions, {change:+.1%} of the baseline's {current} (limit {LIMIT}%): "
                         f"mend it, or {REBASE} and say why in the commit")
        if (count - origin) * 100 >= SUM_LIMIT * origin:
            found.append(f"{call}: {count} instructions, {count / origin - 1:+.1%} of {origin} where the guard began (limit "
                         f"{SUM_LIMIT}%): mend it; no rebase moves that number")
    return found


def rebased(counts, baseline):
    """The baseline with these counts as current ones; origins stay, and a new call's is its count."""
    return {call: {"origin": baseline.get(call, {}).get("origin", count), "current": count}
            for call, count in sorted(counts.items())}


def table(counts, baseline):
    """One line per call: instructions, against the baseline, against the origin."""
    lines = [f"{'instructions per call, all ranks':<42} {'now':>10} {'baseline':>10} {'change':>8} {'origin':>10} {'sum':>8}"]
    for call, count in sorted(counts.items()):
        known = baseline.get(call, {"current": count, "origin": count})
        lines.append(f"{call:<42} {count:>10} {known['current']:>10} {count / known['current'] - 1:>+8.2%} "
                     f"{known['origin']:>10} {count / known['origin'] - 1:>+8.2%}")
    return "\n".join(lines)


def read_baseline(path):
    """{call: {origin, current}}; None if there is no file."""
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as file:
        return json.load(file)["calls"]


def main(program, compiler, *options):
    path = os.path.join(BASELINES, f"{compiler}.json")
    baseline = read_baseline(path)
    counts = measure(program)
    print(table(counts, baseline or {}))
    if options == ("--rebase",):
        written = rebased(counts, baseline or {})
        with open(path, "w", encoding="utf-8") as file:
            file.write(json.dumps({"compiler": compiler, "calls": written}, indent=1) + "\n")
        print(f"guard: wrote {path}: say in the commit why the counts moved")
        baseline = written
    if baseline is None:
        print(f"guard: there is no baseline of {compiler}, {path}: {REBASE} writes it")
        return 1
    found = faults(counts, baseline)
    for fault in found:
        print(f"guard: {fault}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
