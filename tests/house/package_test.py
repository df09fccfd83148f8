"""An installed Comity serves a stranger's project: package_test.py BUILD_TREE LIBDIR

Installs the tree into an empty prefix, then builds and runs a C program against it twice: through
find_package(Comity), and through pkg-config. The prefix is moved in between, as packages are.
"""

import os
import shutil
import subprocess
import sys
import tempfile

PROGRAM = """#include <comity/comity.h>
#include <stdio.h>
int main(void) {
  int version = 0;
  if (comityGetVersion(&version) != comitySuccess) return 1;
  printf("%d of %d\\n", version, COMITY_VERSION_CODE);
  return version == COMITY_VERSION_CODE ? 0 : 1;
}
"""
PROJECT = """cmake_minimum_required(VERSION 3.25)
project(stranger LANGUAGES C)
find_package(Comity 0.1 REQUIRED)
add_executable(stranger stranger.c)
target_link_libraries(stranger PRIVATE Comity::comity)
"""


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900, **options)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}failed with {done.returncode}")
    return done.stdout


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def through_cmake(prefix, folder):
    write(os.path.join(folder, "CMakeLists.txt"), PROJECT)
    run("cmake", "-S", folder, "-B", f"{folder}/build", f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", f"{folder}/build")
    run(f"{folder}/build/stranger")


def through_pkg_config(prefix, libdir, folder):
    settings = {**os.environ, "PKG_CONFIG_PATH": f"{prefix}/{libdir}/pkgconfig"}
    flags = run("pkg-config", "--cflags", "--libs", "comity", env=settings).split()
    run("cc", "-std=c99", f"{folder}/stranger.c", "-o", f"{folder}/stranger", *flags)
    run(f"{folder}/stranger", env={**os.environ, "LD_LIBRARY_PATH": f"{prefix}/{libdir}"})


def programs_start(prefix):
    """Every installed program finds its library from where it lies; returns how many there are."""
    names = sorted(os.listdir(f"{prefix}/bin"))
    for name in names:
        run(f"{prefix}/bin/{name}", "--help")
    return len(names)


def main(tree, libdir):
    with tempfile.TemporaryDirectory() as folder:
        first, second = f"{folder}/first", f"{folder}/second"
        write(f"{folder}/stranger.c", PROGRAM)
        run("cmake", "--install", tree, "--prefix", first)
        through_cmake(first, folder)
        shutil.move(first, second)
        through_pkg_config(second, libdir, folder)
        print(f"package: installed, moved, and used in both ways; {programs_start(second)} programs start")


if __name__ == "__main__":
    main(*sys.argv[1:])
