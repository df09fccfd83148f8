"""Proves that the house's rules find what they are for: each violation is planted in a small tree of its own."""

import os
import sys
import tempfile
import unittest

import cpp
from house_test import violations

# A tree with one file in every room, as the rules want it.
CLEAN = {
    "CMakeLists.txt": "",
    "README.md": "",
    "dev": "main() {\n  true\n}\n",
    "include/comity/comity.h": "#ifndef COMITY_COMITY_H_\n#define COMITY_COMITY_H_\n#endif\n",
    "include/comity/plugin/result.h": "#pragma once\n",
    "src/base/log.h": '#pragma once\n#include "comity/plugin/result.h"\n',
    "src/plan/plan.h": '#pragma once\n#include "src/base/log.h"\n',
    "src/device/host/host.h": "#pragma once\n",
    "topology/topology.h": "#pragma once\n",
    "src/engine/engine.cc": '#include "src/plan/plan.h"\n',
    "transports/shm/shm.cc": '#include "src/device/host/host.h"\n',
    "transports/tcp/tcp.h": "#pragma once\n",
    "algorithms/ring.h": '#pragma once\n#include "src/plan/plan.h"\n#include "topology/topology.h"\n',
    "src/api/api.cc": '#include "algorithms/ring.h"\n#include "transports/tcp/tcp.h"\n',
    "tests/unit/all_test.cc": '#include "algorithms/ring.h"\n#include "transports/tcp/tcp.h"\n',
}


def long_body(lines):
    return "".join(f"  step({i});\n" for i in range(lines))


class PlantedViolations(unittest.TestCase):
    def found(self, planted):
        with tempfile.TemporaryDirectory() as root:
            for path, text in {**CLEAN, **planted}.items():
                os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
                with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                    file.write(text)
            return violations(root)

    def expect(self, rule, path, planted):
        found = self.found(planted)
        self.assertEqual([(rule, path)], [(each[0], each[1]) for each in found], found)

    def test_clean_tree_is_clean(self):
        self.assertEqual([], self.found({}))

    def test_comments_are_not_torn(self):
        title = "// --- sending\n// " + "-" * 80 + "\n"
        self.expect("torn_comments", "src/api/x.cc", {"src/api/x.cc": title})
        entry = "//   meeting       " + "word " * 16 + "gets\n//   its\n//                 parent\n"
        self.expect("torn_comments", "src/api/x.cc", {"src/api/x.cc": entry})
        whole = "// --- sending " + "-" * 80 + "\n//   meeting       " + "word " * 16 + "gets\n//                 its\n"
        self.assertEqual([], self.found({"src/api/x.cc": whole}))

    def test_engine_may_not_see_algorithms(self):
        self.expect("arrows", "src/engine/x.cc", {"src/engine/x.cc": '#include "algorithms/ring.h"\n'})

    def test_engine_may_not_see_transports(self):
        self.expect("arrows", "src/engine/x.cc", {"src/engine/x.cc": '#include "transports/tcp/tcp.h"\n'})

    def test_transports_may_not_see_plan(self):
        self.expect("arrows", "transports/tcp/x.cc", {"transports/tcp/x.cc": '#include "src/plan/plan.h"\n'})

    def test_algorithms_may_not_see_devices(self):
        self.expect("arrows", "algorithms/x.cc", {"algorithms/x.cc": '#include "src/device/host/host.h"\n'})

    def test_middle_rooms_may_not_see_each_other(self):
        self.expect("arrows", "src/control/x.cc", {"src/control/x.cc": '#include "topology/topology.h"\n'})

    def test_base_may_not_see_what_stands_on_it(self):
        self.expect("arrows", "src/base/x.cc", {"src/base/x.cc": '#include "topology/topology.h"\n'})

    def test_public_headers_may_not_see_base(self):
        planted = {"include/comity/plugin/x.h": '#pragma once\n#include "src/control/c.h"\n', "src/control/c.h": "#pragma once\n"}
        self.expect("arrows", "include/comity/plugin/x.h", planted)

    def test_transports_may_not_see_each_other(self):
        self.expect("arrows", "transports/shm/x.cc", {"transports/shm/x.cc": '#include "transports/tcp/tcp.h"\n'})

    def test_devices_may_not_see_each_other(self):
        planted = {"src/device/sim/x.cc": '#include "src/device/opencl/o.h"\n', "src/device/opencl/o.h": "#pragma once\n"}
        self.expect("arrows", "src/device/sim/x.cc", planted)
        planted = {"src/device/host/x.cc": '#include "src/device/opencl/o.h"\n', "src/device/opencl/o.h": "#pragma once\n"}
        self.expect("arrows", "src/device/host/x.cc", planted)

    def test_devices_may_stand_on_the_host(self):
        self.assertEqual([], self.found({"src/device/sim/x.cc": '#include "src/device/host/host.h"\n'}))

    def test_nothing_but_tests_may_see_tests(self):
        planted = {"src/base/x.cc": '#include "tests/support/s.h"\n', "tests/support/s.h": "#pragma once\n"}
        self.expect("arrows", "src/base/x.cc", planted)

    def test_include_without_a_whole_path(self):
        self.expect("arrows", "src/base/x.cc", {"src/base/x.cc": '#include "log.h"\n'})

    def test_folder_cycle_within_a_room(self):
        planted = {
            "algorithms/all/a.h": '#pragma once\n#include "algorithms/common.h"\n',
            "algorithms/common.h": '#pragma once\n#include "algorithms/all/a.h"\n',
        }
        self.assertEqual(["folder_cycles"], [each[0] for each in self.found(planted)])

    def test_longer_folder_cycle(self):
        planted = {
            "algorithms/a/a.h": '#pragma once\n#include "algorithms/b/b.h"\n',
            "algorithms/b/b.h": '#pragma once\n#include "algorithms/c/c.h"\n',
            "algorithms/c/c.h": '#pragma once\n#include "algorithms/a/a.h"\n',
        }
        found = self.found(planted)
        self.assertEqual(["folder_cycles"], [each[0] for each in found])
        self.assertIn("algorithms/a -> algorithms/b -> algorithms/c -> algorithms/a", found[0][3])

    def test_stray_top_level_file(self):
        self.expect("top_level", "notes.txt", {"notes.txt": ""})

    def test_stray_top_level_folder(self):
        self.expect("top_level", "scripts", {"scripts/x.py": ""})

    def test_long_function(self):
        self.expect("long_functions", "src/base/x.cc", {"src/base/x.cc": "int f(int a) {\n" + long_body(99) + "}\n"})
        self.assertEqual([], self.found({"src/base/x.cc": "int f(int a) {\n" + long_body(98) + "}\n"}))

    def test_long_member_template_and_lambda(self):
        member = "namespace n {\nstruct S {\n  template <class T>\n  auto f(T t) const noexcept -> int\n  {\n" + long_body(99) + "  }\n};\n}\n"
        self.expect("long_functions", "src/base/x.cc", {"src/base/x.cc": member})
        lambdas = "auto g = [&](int x) mutable {\n" + long_body(99) + "};\n"
        self.expect("long_functions", "src/base/x.cc", {"src/base/x.cc": lambdas})

    def test_long_python_and_shell_functions(self):
        self.expect("long_functions", "perf/x.py", {"perf/x.py": "def f():\n" + "    g()\n" * 100})
        self.expect("long_functions", "dev", {"dev": "main() {\n" + "  true\n" * 99 + "}\n"})

    def test_long_file(self):
        self.expect("long_files", "src/base/x.cc", {"src/base/x.cc": "int a;\n" * 451})
        self.assertEqual([], self.found({"src/base/x.cc": "int a;\n" * 450}))

    def test_only_the_public_c_header_may_be_long(self):
        long = CLEAN["include/comity/comity.h"] + "/* more */\n" * 451
        self.assertEqual([], self.found({"include/comity/comity.h": long}))
        self.expect("long_files", "include/comity/other.h", {"include/comity/other.h": long})

    def test_vendor_where_none_may_be(self):
        for path in ("algorithms/x.cc", "src/engine/x.cc", "src/plan/x.cc"):
            self.expect("vendors", path, {path: "// fast on NVIDIA\n"})
        self.expect("vendors", "src/plan/x.cc", {"src/plan/x.cc": "int use_hip = 0;\n"})
        header = CLEAN["include/comity/comity.h"] + "/* cudaStream_t */\n"
        self.expect("vendors", "include/comity/comity.h", {"include/comity/comity.h": header})

    def test_vendor_in_its_own_folder_is_right(self):
        self.assertEqual([], self.found({"src/device/cuda/x.cc": "// CUDA, and intelligent ships\n"}))
        self.assertEqual([], self.found({"src/plan/x.cc": "// an intelligent ship chips in\n"}))

    def test_unfinished_work(self):
        for word in ("TO" + "DO", "FIX" + "ME"):
            self.expect("unfinished", "src/base/x.cc", {"src/base/x.cc": f"// {word}: later\n"})
            self.expect("unfinished", "docs/x.md", {"docs/x.md": f"{word}\n"})

    def test_sleep_in_a_test(self):
        self.expect("sleeps", "tests/unit/x.cc", {"tests/unit/x.cc": "void f() { std::this_thread::sleep_for(1ms); }\n"})
        self.expect("sleeps", "tests/unit/x.cc", {"tests/unit/x.cc": "void f() { usleep(10); }\n"})
        self.expect("sleeps", "tests/unit/x.cc", {"tests/unit/x.cc": "void f() {\n  ::sleep(1);\n}\n"})
        self.expect("sleeps", "tests/unit/x.cc", {"tests/unit/x.cc": "void f() { sleep(1); }\n"})
        self.expect("sleeps", "tests/lab/x.sh", {"tests/lab/x.sh": "start &\nsleep 1\n"})
        self.expect("sleeps", "tests/lab/x.py", {"tests/lab/x.py": "import time\n" "time.sleep" "(1)\n"})

    def test_polling_with_a_deadline_is_no_sleep(self):
        self.assertEqual([], self.found({"tests/lab/x.sh": "until ready; do sleep 0.1; done\n"}))
        python = "import time\nwhile not ready():\n    if late():\n        raise 1\n    time" ".sleep(0.1)\n"
        self.assertEqual([], self.found({"tests/lab/x.py": python}))
        cpp_poll = "void f() {\n  while (!ready() && !deadline.passed()) {\n    std::this_thread::sleep_for(1ms);\n  }\n}\n"
        self.assertEqual([], self.found({"tests/unit/x.cc": cpp_poll}))
        self.assertEqual([], self.found({"tests/unit/x.cc": "void f() { transport->sleep(1000); }\n"}))
        self.assertEqual([], self.found({"tests/unit/x.cc": '// sleep(1)\nconst char* s = "sleep(1)";\n'}))

    def test_descriptors_that_may_be_0_1_or_2(self):
        for path in ("src/control/x.cc", "transports/tcp/x.cc", "topology/x.cc", "src/device/host/x.cc"):
            self.expect("descriptors", path, {path: "int f() { return ::socket(1, 2, 3); }\n"})
        for call in (
            "::open(path, O_RDONLY)",
            "open(path, O_RDONLY)",
            "accept4(l, 0, 0, 0)",
            "::eventfd(0, 0)",
            "memfd_create(n, 0)",
            "::epoll_create1(0)",
            "::dup(fd)",
            "fcntl(fd, F_DUPFD_CLOEXEC, 0)",
            "syscall(SYS_pidfd_open, pid, 0)",
            "std::fopen(p, m)",
            "recvmsg(s, &m, MSG_CMSG_CLOEXEC)",
            "std::ifstream(path)",
        ):
            self.expect("descriptors", "src/api/x.cc", {"src/api/x.cc": f"void f() {{ auto x = {call}; }}\n"})

    def test_descriptors_made_by_the_helper_are_right(self):
        for call in (
            "open_fd([] { return ::eventfd(0, EFD_CLOEXEC); })",
            "open_fd([&] { return ::socket(family, type, 0); })",
            "open_fd([&] { return ::fcntl(fd, F_DUPFD_CLOEXEC, 0); })",
            "open_fd([&] { return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)); })",
            "open_fd([&] {\n  return ::open(path, O_RDONLY);\n})",
            "own_fd(::open(path, O_RDONLY))",
            "Acceptor::open(loop)",
            "board.open(1, 2)",
        ):
            self.assertEqual([], self.found({"src/api/x.cc": f"void f() {{ auto x = {call}; }}\n"}), call)
        self.assertEqual([], self.found({"tests/unit/x.cc": "void f() { int x = ::socket(1, 2, 3); }\n"}))

    def test_careless_headers(self):
        def header(line):
            return {"src/base/x.h": "#pragma once\n" + line + "\n"}

        for line in ("#include <nlohmann/json.hpp>", "using namespace std;", "#define MAX(a) (a)"):
            self.expect("headers", "src/base/x.h", header(line))
        self.expect("headers", "src/base/x.h", {"src/base/x.h": "int f();\n"})


class Functions(unittest.TestCase):
    def heads(self, text):
        return [head for _, _, head in cpp.functions(text)]

    def test_what_is_a_function(self):
        for text in ("int f() {}", "S::S(int a) : a_(a) {}", "TEST(A, B) {}", "auto l = [=] {};", "void f() const override {}"):
            self.assertEqual(1, len(self.heads(text)), text)

    def test_what_is_none(self):
        for text in ("namespace n {}", "class A : B<decltype(f())> {};", "int a[] = {1};", "struct S {};", "enum class E {};"):
            self.assertEqual([], self.heads(text), text)

    def test_control_blocks_are_no_functions(self):
        text = "int f() { if (a) { } else if (b(c)) { } for (int i = g(); i < h(); ++i) { } switch (a) { case 1: { } } }"
        self.assertEqual(["int f()"], self.heads(text))

    def test_braces_in_literals_comments_and_macros_do_not_count(self):
        text = "int f() { // }\n const char* a = \"}\"; char b = '{'; auto c = R\"x({{)x\"; /* } */ int d = 1'000; }\n#define M(x) {\nint g() {}\n"
        self.assertEqual(["int f()", "int g()"], self.heads(text))


if __name__ == "__main__":
    sys.exit(unittest.main())
