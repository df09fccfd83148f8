"""Calls with wrong types do not compile, and the compiler's words name what is missing: refused_test.py INCLUDE CXX"""

import subprocess
import sys

PROGRAM = """#include <comity/comity.hpp>
#include <array>
#include <list>
#include <string>
#include <vector>
void call(comity::Communicator& comm) {{
  std::vector<float> floats(2);
  std::vector<double> doubles(2);
  {statement}
}}
"""

# (what a caller writes, whether it compiles, words that the compiler must say if not)
CASES = (
    ("(void)comm.all_reduce(floats);", True, ()),
    ("std::vector<std::byte> bytes(2); (void)comm.broadcast(bytes, 0);", True, ()),
    ("(void)comm.pre_mul_sum(2.0F).and_then([&](const auto& op) { return comm.all_reduce(floats, op); });", True, ()),
    ("std::array<bool, 2> bools; (void)comm.all_reduce(bools);", False, ("Element", "bool")),
    ("std::vector<short> shorts; (void)comm.broadcast(shorts, 0);", False, ("Element", "short")),
    ("std::vector<std::string> texts; (void)comm.send(texts, 1);", False, ("Element", "basic_string")),
    ("(void)comm.all_reduce(floats, doubles);", False, ("SameElements",)),
    ("const std::vector<float> fixed(2); (void)comm.recv(fixed, 1);", False, ("Target",)),
    ("std::list<float> list(2); (void)comm.send(list, 1);", False, ("contiguous_range",)),
    ("std::vector<std::byte> bytes(2); (void)comm.all_reduce(bytes);", False, ("Number", "std::byte")),
    ("auto op = comm.pre_mul_sum(2.0F); (void)comm.all_reduce(doubles, *op);", False, ("OpOf<", "PreMulSum<float>")),
    ("(void)comm.all_reduce(floats, 0);", False, ("OpOf<",)),
    ("comm.all_reduce(floats);", False, ("nodiscard",)),
    ("comity::Communicator copy = comm;", False, ("deleted",)),
    ("comity::Buffer<bool>::allocate(1).value();", False, ("Element", "bool")),
)


def compile_case(include, compiler, statement):
    line = [compiler, "-std=c++20", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I", include, "-x", "c++", "-"]
    source = PROGRAM.format(statement=statement)
    return subprocess.run(line, input=source, capture_output=True, text=True, check=False, env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"})


def main(include, compiler):
    failed = 0
    for statement, compiles, words in CASES:
        done = compile_case(include, compiler, statement)
        missing = [word for word in words if word not in done.stderr]
        if (done.returncode == 0) != compiles or missing:
            failed += 1
            print(f"{statement}\n  compiled: {done.returncode == 0}, words that were not said: {missing}\n{done.stderr[:4000]}")
    print(f"refused by the compiler: {len(CASES)} cases, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
