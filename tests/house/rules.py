"""The rules of the house. Each takes a Tree and yields (path, line, what is wrong and what to do)."""

import ast
import collections
import re

import cpp

TOP_LEVEL = set(
    "CMakeLists.txt include src transports topology algorithms integrations tests perf docs README.md dev LICENSE "
    "CMakePresets.json CONTRIBUTING.md CHANGELOG.md".split()
)

# What each room may include, besides itself: docs/architecture.md draws the arrows.
_LOW = {"include", "base"}
_MIDDLE = {"topology", "device", "plan", "control"}
_UPPER = {"algorithms", "transports", "engine"}
ARROWS = {
    "include": set(),
    "base": {"include"},
    **{room: set(_LOW) for room in _MIDDLE},
    "algorithms": _LOW | {"plan", "topology"},
    "transports": _LOW | {"device"},
    "engine": _LOW | _MIDDLE,
    "api": _LOW | _MIDDLE | _UPPER,
    **{room: _LOW | _MIDDLE | _UPPER | {"api"} for room in ("cli", "integrations", "perf")},
}
# Rooms whose folders are alternatives: one must not know another. The host is no alternative: it is always there, and
# other devices may stand on its arithmetic.
SIBLINGS = ("transports", "src/device", "integrations")
HOST = ("src/device", "host")

VENDORS = re.compile(
    r"nvidia|cuda|rocm|rccl|radeon|oneapi|oneccl|level_?zero|habana|gaudi|mellanox|broadcom|huawei|cambricon"
    r"|(?<![a-z])(?:amd|intel|hip|musa|sycl)(?![a-z])",
    re.I,
)
VENDOR_FREE = ("include/comity/comity.h", "algorithms/", "src/engine/", "src/plan/")

HEAVY = re.compile(r"<(?:nlohmann/|spdlog/|CLI/|hwloc|gtest/)")
UNFINISHED = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|X" + r"XX)\b")
# A method named sleep, as Transport's, waits on a doorbell: it is the thing itself.
CPP_SLEEP = re.compile(r"\b(?:sleep_for|sleep_until|usleep|nanosleep|clock_nanosleep)\s*\(|(?:^|[;{}]|(?<!\w)::)\s*sleep\s*\(")
SHELL_SLEEP = re.compile(r"(?:^|[;&|]|\bdo|\bthen)\s*sleep\s")

# What makes a descriptor. Calls of the system that have common names are written ::name.
MAKES_DESCRIPTOR = re.compile(
    r"(?<![\w>])::(?:socket|accept|open|openat|creat|dup|dup2|pipe)\s*\("
    r"|(?<![\w.>])(?:accept4|eventfd|epoll_create1?|memfd_create|pidfd_open|timerfd_create|signalfd|inotify_init1?|dup3"
    r"|pipe2|socketpair|mko?stemps?|fopen|fdopen|popen|opendir|tmpfile|perf_event_open|userfaultfd)\s*\("
    r"|SYS_(?:pidfd_open|pidfd_getfd|memfd_create|openat2?)\b|\bF_DUPFD(?:_CLOEXEC)?\b"
    r"|(?<!\w)open\s*\([^;]*\bO_[A-Z]+"
)
MAKES_STREAM = re.compile(r"\bstd::[io]?fstream\b|\bstd::basic_[io]?fstream\b|\bstd::filebuf\b")
RECEIVES_DESCRIPTOR = re.compile(r"\bMSG_CMSG_CLOEXEC\b")
# In open_fd's argument, straight after "return".
OPENED = re.compile(r"\b(?:open_fd\(\s*\[[&=]?\]\s*(?:\(\)\s*)?\{\s*return\s+(?:static_cast<int>\()?|own_fd\()\s*(?:::)?(?:syscall\()?(?:::)?(?:fcntl\([^;]*)?$")
LIBRARY = ("include/", "src/", "topology/", "transports/", "algorithms/", "integrations/")
# Programs, which are not loaded into others, and where open_fd is made.
OPENS_FREELY = ("src/cli/", "src/base/fork.cc", "src/base/file.cc")

FUNCTION_LINES = 100
FILE_LINES = 450
ONE_FILE = "include/comity/comity.h"  # the public C header is one, whatever its length: a program includes it alone
COMMENT_COLUMNS = 110


def room(path):
    """The room of a file or of an include's path; None where no arrow applies (tests, docs, the top level)."""
    parts = path.split("/")
    if parts[0] == "comity":
        return "include"
    name = parts[1] if parts[0] == "src" and len(parts) > 1 else parts[0]
    return name if name in ARROWS else None


def _includes(tree, path):
    for number, line in enumerate(tree.text(path).splitlines(), 1):
        found = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
        if found:
            yield number, found.group(1)


def _target(tree, included):
    """The file that an include names, from the root or from include/; None if neither is there."""
    for candidate in (included, "include/" + included):
        if candidate in tree.paths:
            return candidate
    return None


def _sibling(path):
    """(room, alternative) of a file in transports/<name>/, src/device/<name>/, ...; None elsewhere."""
    for parent in SIBLINGS:
        rest = path[len(parent) + 1 :].split("/")
        if path.startswith(parent + "/") and len(rest) > 1:
            return parent, rest[0]
    return None


def arrows(tree):
    for path in tree.having(cpp.SUFFIXES):
        home, mine = room(path), _sibling(path)
        for number, included in _includes(tree, path):
            if _target(tree, included) is None:
                yield path, number, f'"{included}" is no file from the root or from include/: write the whole path'
                continue
            other, theirs = room(included), _sibling(included)
            if home and included.startswith("tests/"):
                yield path, number, f"{home} may not include tests ({included})"
            elif home and other and other != home and other not in ARROWS[home]:
                yield path, number, f"an include against the arrows: {home} may not see {other} ({included})"
            elif mine and theirs and theirs != HOST and mine[0] == theirs[0] and mine[1] != theirs[1]:
                yield path, number, f"siblings do not see each other: {mine[1]} includes {included}"


def folder_cycles(tree):
    edges, where = collections.defaultdict(set), {}
    for path in tree.having(cpp.SUFFIXES):
        for number, included in _includes(tree, path):
            target = _target(tree, included)
            here, there = path.rpartition("/")[0], (target or "").rpartition("/")[0]
            if target and here != there:
                edges[here].add(there)
                where.setdefault((here, there), (path, number))
    for cycle in _cycles(edges):
        path, number = where[cycle[0], cycle[1]]
        yield path, number, "a cycle of folders: " + " -> ".join(cycle)


def _cycles(edges):
    """One cycle for each edge that a depth-first walk finds to lead back, as [a, b, ..., a]."""
    done, found = set(), []

    def walk(node, trail):
        if node in trail:
            found.append(trail[trail.index(node) :] + [node])
        elif node not in done:
            for successor in sorted(edges.get(node, ())):
                walk(successor, trail + [node])
            done.add(node)

    for node in sorted(edges):
        walk(node, [])
    return found


def top_level(tree):
    for entry in sorted({path.split("/")[0] for path in tree.paths}):
        if not entry.startswith(".") and entry not in TOP_LEVEL:
            yield entry, 1, "a stray entry at the top level: give it a room"


def _functions(tree, path):
    text = tree.text(path)
    if path.endswith(cpp.SUFFIXES):
        return cpp.functions(text)
    if path.endswith(".py"):
        nodes = [n for n in ast.walk(ast.parse(text)) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]
        return [(node.lineno, node.end_lineno, node.name) for node in nodes]
    bodies = re.finditer(r"^(\w+)\(\) \{\n.*?^\}", text, re.M | re.S)
    return [(text.count("\n", 0, b.start()) + 1, text.count("\n", 0, b.end()) + 1, b.group(1)) for b in bodies]


def long_functions(tree):
    for path in tree.having(cpp.SUFFIXES + (".py", ".sh")) + [p for p in tree.paths if p in ("dev", ".ci/run")]:
        for first, last, name in _functions(tree, path):
            if last - first + 1 > FUNCTION_LINES:
                yield path, first, f"a function of {last - first + 1} lines (at most {FUNCTION_LINES}): {name[:60]}"


def long_files(tree):
    for path in tree.sources():
        lines = tree.text(path).count("\n")
        if lines > FILE_LINES and path != ONE_FILE and not path.endswith((".json", ".md")):
            yield path, lines, f"a file of {lines} lines (at most {FILE_LINES}): split it by what it does"


def vendors(tree):
    for path in tree.sources():
        if path.startswith(VENDOR_FREE):
            for number, line in enumerate(tree.text(path).splitlines(), 1):
                found = VENDORS.search(line)
                if found:
                    yield path, number, f'a vendor\'s name, "{found.group(0)}", where none may be'


def unfinished(tree):
    for path in tree.sources():
        for number, line in enumerate(tree.text(path).splitlines(), 1):
            if UNFINISHED.search(line):
                yield path, number, "unfinished work: do it, or say in docs/ what is missing"


def _polls(lines, at):
    """Whether the line `at` stands in a while loop, by its indentation: it polls for something, up to a deadline."""
    indent = len(lines[at]) - len(lines[at].lstrip())
    for line in reversed(lines[:at]):
        depth = len(line) - len(line.lstrip())
        if line.strip() and depth < indent:
            if re.match(r"\s*(?:\}?\s*while|do)\b", line):
                return True
            indent = depth
    return False


def sleeps(tree):
    for path in tree.having(cpp.SUFFIXES + (".py", ".sh"), under="tests/"):
        text = cpp.blank(tree.text(path)) if path.endswith(cpp.SUFFIXES) else tree.text(path)
        lines = text.splitlines()
        for at, line in enumerate(lines):
            if path.endswith(cpp.SUFFIXES):
                bad = CPP_SLEEP.search(line) and not _polls(lines, at)
            elif path.endswith(".py"):
                bad = re.search(r"\btime\.sleep\(", line) and not _polls(lines, at)
            else:
                bad = SHELL_SLEEP.search(line) and not re.match(r"\s*(?:until|while)\b", line)
            if bad:
                yield path, at + 1, "a sleep in a test: wait for the thing itself, with a deadline"


def headers(tree):
    for path in tree.having((".h", ".hpp")):
        text = tree.text(path)
        clean = cpp.blank(text)
        for number, line in enumerate(clean.splitlines(), 1):
            if HEAVY.search(line) and not path.startswith("tests/"):
                yield path, number, "a heavy header in a header: include it in the .cc"
            if re.match(r"\s*using\s+namespace\b", line):
                yield path, number, "using namespace in a header"
            macro = re.match(r"\s*#\s*define\s+(\w+)", line)
            if macro and not macro.group(1).startswith("COMITY_"):
                yield path, number, f"a macro without the prefix COMITY_: {macro.group(1)}"
        if "#pragma once" not in clean and not re.search(r"#ifndef COMITY_\w+_H_\n#define COMITY_\w+_H_", clean):
            yield path, 1, "no #pragma once"


def descriptors(tree):
    for path in tree.having(cpp.SUFFIXES):
        if not path.startswith(LIBRARY) or path.startswith(OPENS_FREELY):
            continue
        clean = cpp.blank(tree.text(path))
        for found in MAKES_DESCRIPTOR.finditer(clean):
            if not OPENED.search(clean[: found.start()]):
                yield path, clean.count("\n", 0, found.start()) + 1, "a descriptor that may become 0, 1 or 2: make it by open_fd()"
        for found in MAKES_STREAM.finditer(clean):
            yield path, clean.count("\n", 0, found.start()) + 1, "a file stream's descriptor may be 0, 1 or 2: use read_file()"
        for found in RECEIVES_DESCRIPTOR.finditer(clean):
            if not path.startswith("src/base/"):
                yield path, clean.count("\n", 0, found.start()) + 1, "a received descriptor may be 0, 1 or 2: use receive_with_descriptor()"


def _hangs_at(text):
    """The column at which the text of an entry begins: after its label and a gap, or after its dash; None of prose."""
    entry = re.match(r"(\s*//\s{2,})(- |\S.*?\s{2,})\S", text)
    return len(entry.group(1) + entry.group(2)) if entry else None


def torn_comments(tree):
    """Overlong ones, and what an automatic filling leaves: a section's dashes, or an entry's end, on a line of its own."""
    for path in tree.having(cpp.SUFFIXES):
        lines = [""] + tree.text(path).splitlines()
        for at in range(1, len(lines)):
            before, line = lines[at - 1], lines[at]
            if len(line) > COMMENT_COLUMNS and re.match(r"\s*(?://|/?\*)", line):
                yield path, at, f"a comment of {len(line)} columns: wrap it at {COMMENT_COLUMNS}"
            if re.match(r"\s*// -{8,}", line) and re.match(r"\s*// --- ", before):
                yield path, at, "a section's line is torn: title and dashes stand on one line"
            after = lines[at + 1] if at + 1 < len(lines) else ""
            base, column = re.match(r"\s*//\s{2,}(?=\S)", before), _hangs_at(before)
            overflows = base and line.startswith(base.group(0)) and re.match(r"\S", line[base.end() :]) and len(line) < 70
            if overflows and column and len(before) > 90 and re.match(r"\s*//\s+\S", after):
                if _hangs_at(line) is None and len(re.match(r"\s*//\s+", after).group(0)) == column:
                    yield path, at, "an entry's text is torn: its lines begin where its first one does"


RULES = (arrows, folder_cycles, top_level, long_functions, long_files, vendors, unfinished, sleeps, headers, descriptors, torn_comments)
