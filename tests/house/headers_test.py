"""Public headers compile alone: comity.h as C99 and C++20, all others as C++20, by every compiler that is here; mpi.h as both,
beside the headers of every MPI that is here.

headers_test.py ROOT. Strict: -Wall -Wextra -pedantic -Werror, and nothing included before them.
"""

import glob
import os
import shutil
import subprocess
import sys

COMPILERS = (("gcc", "g++"), ("clang", "clang++"))
STRICT = ["-Wall", "-Wextra", "-pedantic", "-Werror", "-fsyntax-only"]


def compiles(command, source, language, root, more=()):
    """Whether `source`, given on standard input, compiles; prints what the compiler says if not."""
    line = [*command, *STRICT, *more, "-I", os.path.join(root, "include"), "-x", language, "-"]
    done = subprocess.run(line, input=source, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{' '.join(line)}\n{source}{done.stderr}")
    return done.returncode == 0


def mpi_options():
    """The compiler's options for each MPI's own headers, which are not held to be strict."""
    for name in ("ompi-c", "mpich"):
        found = subprocess.run(["pkg-config", "--cflags-only-I", name], capture_output=True, text=True, check=False) \
            if shutil.which("pkg-config") else None
        if found is None or found.returncode:
            print(f"{name}: not here, left out")
            continue
        folders = [option[2:] for option in found.stdout.split()]
        yield ["-DOMPI_SKIP_MPICXX", "-DMPICH_SKIP_MPICXX", *(part for folder in folders for part in ("-isystem", folder))]


def jobs(root):
    """(language, standard, source, options) of each compilation."""
    yield "c", "-std=c99", '#include "comity/comity.h"\nint main(void) { return comitySuccess; }\n', ()
    yield "c", "-std=c99", '#include "comity/plugin/device_abi.h"\n#include "comity/plugin/device_abi.h"\n', ()
    for options in mpi_options():
        for language, standard in (("c", "-std=c99"), ("c++", "-std=c++20")):
            yield language, standard, '#include "comity/mpi.h"\n#include "comity/mpi.h"\n', options
    for path in sorted(glob.glob(os.path.join(root, "include", "comity", "**", "*.h*"), recursive=True)):
        name = os.path.relpath(path, os.path.join(root, "include"))
        if name == os.path.join("comity", "mpi.h"):
            continue
        if name == os.path.join("comity", "opencl.h") and not os.path.exists("/usr/include/CL/cl.h"):
            print("OpenCL: not here, left out")
            continue
        # Twice: a header includes itself safely.
        yield "c++", "-std=c++20", f'#include "{name}"\n#include "{name}"\n', ()
    with open(os.path.join(root, "tests", "house", "same_values.cc"), encoding="utf-8") as file:
        yield "c++", "-std=c++20", file.read(), ()


def main(root):
    failed, count = 0, 0
    for c, cxx in COMPILERS:
        if not (shutil.which(c) and shutil.which(cxx)):
            print(f"{c}: not here, left out")
            continue
        for language, standard, source, options in jobs(root):
            count += 1
            failed += not compiles([c if language == "c" else cxx, standard], source, language, root, options)
    print(f"headers: {count} compilations, {failed} failed")
    return 1 if failed or not count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
