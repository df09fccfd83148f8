"""Others build Comity in their own ways: builds_test.py SOURCE C_COMPILER CXX_COMPILER

Each way is configured, built and used by a program in C:
  part     as part of another project (FetchContent from a folder), the library alone
  static   BUILD_SHARED_LIBS=OFF and no tests, installed with DESTDIR under a prefix with a space and lib64, used through
           find_package and through pkg-config, by programs in C and in C++
What the compiler makes comes from ccache where the tree of the tests made it before.
"""

import os
import subprocess
import sys
import tempfile

from package_test import PROGRAM, run, through_cmake, through_pkg_config, write, write_programs

PART = """cmake_minimum_required(VERSION 3.25)
project(superproject LANGUAGES C CXX)
include(FetchContent)
FetchContent_Declare(comity SOURCE_DIR "{source}")
FetchContent_MakeAvailable(comity)
add_executable(stranger stranger.c)
target_link_libraries(stranger PRIVATE Comity::comity)
if(CMAKE_RUNTIME_OUTPUT_DIRECTORY OR TARGET comity_cli OR TARGET comity_perf_core)
  message(FATAL_ERROR "the subproject brought more than its library")
endif()
"""
# As the release preset, so that compiled files are found again.
LIKE_RELEASE = ["-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DCOMITY_WERROR=ON"]


def build(source, tree, compilers, *options):
    run("cmake", "-S", source, "-B", tree, *LIKE_RELEASE, *compilers, *options)
    run("cmake", "--build", tree, "-j", str(os.cpu_count()))


def as_part(source, folder, compilers):
    project = f"{folder}/part"
    os.mkdir(project)
    write(f"{project}/CMakeLists.txt", PART.format(source=source))
    write(f"{project}/stranger.c", PROGRAM)
    build(project, f"{project}/build", compilers)
    run(f"{project}/build/stranger")


def as_static(source, folder, compilers):
    tree, root = f"{folder}/static", f"{folder}/root"
    prefix = "/opt/with a space"
    build(source, tree, compilers, "-DBUILD_SHARED_LIBS=OFF", "-DCOMITY_BUILD_TESTS=OFF", "-DCMAKE_INSTALL_LIBDIR=lib64",
          f"-DCMAKE_INSTALL_PREFIX={prefix}")
    run("cmake", "--install", tree, env={**os.environ, "DESTDIR": root})
    installed = f"{root}{prefix}"
    if not os.path.exists(f"{installed}/lib64/libcomity.a") or os.path.exists(f"{installed}/lib64/libcomity.so"):
        sys.exit(f"{installed}/lib64 holds {os.listdir(f'{installed}/lib64')}, not libcomity.a alone")
    user = f"{folder}/user"
    os.mkdir(user)
    folders = write_programs(user)
    # Named outright, as CMake looks into lib64 only on systems that have one.
    through_cmake(f"-DComity_DIR={installed}/lib64/cmake/Comity", folders)
    through_pkg_config(installed, "lib64", folders)
    run(f"{installed}/bin/comity", "--help")


def main(source, c_compiler, cxx_compiler):
    compilers = [f"-DCMAKE_C_COMPILER={c_compiler}", f"-DCMAKE_CXX_COMPILER={cxx_compiler}"]
    os.environ.pop("DESTDIR", None)
    with tempfile.TemporaryDirectory() as folder:
        as_part(source, folder, compilers)
        as_static(source, folder, compilers)
    print("builds: as a part of another project, and static; both used by a program")


if __name__ == "__main__":
    main(*sys.argv[1:])
