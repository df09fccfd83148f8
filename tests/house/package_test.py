"""An installed Comity serves a stranger's project: package_test.py BUILD_TREE LIBDIR

Installs the tree into an empty prefix, then builds and runs a program in C and one in C++ (comity.hpp) against it, each
twice: through find_package(Comity), and through pkg-config. The prefix is moved in between, as packages are.
"""

import os
import shutil
import subprocess
import sys
import tempfile

# Both reduce between two ranks of one process.
PROGRAM = """#include <comity/comity.h>
int main(void) {
  comityComm_t comm[2];
  float in[2] = {1, 2}, out[2] = {0, 0};
  int version = 0;
  if (comityGetVersion(&version) != comitySuccess || version != COMITY_VERSION_CODE) return 1;
  if (comityCommInitAll(comm, 2, NULL) != comitySuccess) return 2;
  comityGroupStart();
  for (int r = 0; r < 2; ++r) comityAllReduce(&in[r], &out[r], 1, comityFloat32, comitySum, comm[r], NULL);
  if (comityGroupEnd() != comitySuccess) return 3;
  for (int r = 0; r < 2; ++r) comityCommDestroy(comm[r]);
  return out[0] == 3 && out[1] == 3 ? 0 : 4;
}
"""
PROGRAM_CXX = """#include <comity/comity.hpp>
#include <array>
int main() {
  if (comity::library_version() != COMITY_VERSION_CODE) return 1;
  auto comms = comity::Communicator::init_all(2).value();
  std::array<double, 2> values = {1, 2};
  comity::Group group;
  for (std::size_t r = 0; r < 2; ++r) comms[r].all_reduce(std::span(values).subspan(r, 1)).value();
  group.end().value();
  return values[0] == 3 && values[1] == 3 ? 0 : 4;
}
"""
PROJECT = """cmake_minimum_required(VERSION 3.25)
project(stranger LANGUAGES {language})
find_package(Comity 0.1 REQUIRED)
add_executable(stranger {source})
target_compile_features(stranger PRIVATE {feature})
target_link_libraries(stranger PRIVATE Comity::comity)
"""
# By language: its source, what CMake is told, and the compiler's command line.
LANGUAGES = {
    "C": {"source": "stranger.c", "feature": "c_std_99", "compiler": "cc -std=c99"},
    "CXX": {"source": "stranger.cc", "feature": "cxx_std_20", "compiler": "c++ -std=c++20"},
}
PROGRAM_BYTES = 1 << 20


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900, **options)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}failed with {done.returncode}")
    return done.stdout


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def write_programs(folder):
    """A folder for each language, with its program; returns {language: folder}."""
    folders = {language: f"{folder}/in_{language}" for language in LANGUAGES}
    for language, its in folders.items():
        os.mkdir(its)
        write(f"{its}/{LANGUAGES[language]['source']}", PROGRAM if language == "C" else PROGRAM_CXX)
        write(f"{its}/CMakeLists.txt", PROJECT.format(language=language, **LANGUAGES[language]))
    return folders


def through_cmake(where, folders):
    """`where` tells CMake where Comity is."""
    for folder in folders.values():
        run("cmake", "-S", folder, "-B", f"{folder}/build", where)
        run("cmake", "--build", f"{folder}/build")
        run(f"{folder}/build/stranger")


def through_pkg_config(prefix, libdir, folders):
    flags = f"PKG_CONFIG_PATH='{prefix}/{libdir}/pkgconfig' pkg-config --cflags --libs comity"
    for language, folder in folders.items():
        its = LANGUAGES[language]
        # pkg-config quotes what a shell must read: eval.
        run("sh", "-c", f"eval {its['compiler']} {its['source']} -o stranger $({flags})", cwd=folder)
        run(f"{folder}/stranger", env={**os.environ, "LD_LIBRARY_PATH": f"{prefix}/{libdir}"})


def plugin_of_outsiders(prefix, libdir, folder):
    """The device plugin of the documentation, built against the installed tree, keeps its contract and joins a communicator."""
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs", "examples", "device_plugin")
    build = f"{folder}/plugin"
    run("cmake", "-S", source, "-B", build, f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", build)
    plugin = f"{build}/libcomity_device_lent.so"
    said = run(f"{prefix}/bin/comity", "device", "check", plugin, "--report", f"{folder}/report.json")
    if "0 fail" not in said or '"holds": true' not in open(f"{folder}/report.json", encoding="utf-8").read():
        sys.exit(f"the plugin does not keep its contract:\n{said}")
    environment = {**os.environ, "LD_LIBRARY_PATH": f"{prefix}/{libdir}", "COMITY_DEVICES": f"host,{plugin}"}
    if "rank 1 on lent: 3 6 9 12" not in run(f"{build}/mixed", env=environment):
        sys.exit("the mixed all-reduce is wrong")


def programs_start(prefix):
    """Every installed program finds its library from where it lies; returns how many there are."""
    names = sorted(os.listdir(f"{prefix}/bin"))
    for name in names:
        run(f"{prefix}/bin/{name}", "--help")
    return len(names)


def programs_carry_no_library(prefix):
    """Perf programs use the installed libcomity.so, and are small: each would be 20 MB with the library inside."""
    names = sorted(name for name in os.listdir(f"{prefix}/bin") if name.endswith("_perf"))
    for name in names:
        program, stripped = f"{prefix}/bin/{name}", f"{prefix}/{name}.stripped"
        if f"{prefix}/" not in "".join(line for line in run("ldd", program).splitlines() if "libcomity.so" in line):
            sys.exit(f"{name} does not use libcomity.so of {prefix}:\n{run('ldd', program)}")
        run("strip", "-o", stripped, program)
        if os.path.getsize(stripped) > PROGRAM_BYTES:
            sys.exit(f"{name} has {os.path.getsize(stripped)} bytes without symbols, at most {PROGRAM_BYTES} are meant")
        os.remove(stripped)
    if not names:
        sys.exit(f"no perf program is in {prefix}/bin")


def main(tree, libdir):
    with tempfile.TemporaryDirectory() as folder:
        first, second = f"{folder}/first", f"{folder}/second"
        folders = write_programs(folder)
        run("cmake", "--install", tree, "--prefix", first)
        through_cmake(f"-DCMAKE_PREFIX_PATH={first}", folders)
        plugin_of_outsiders(first, libdir, folder)
        shutil.move(first, second)
        through_pkg_config(second, libdir, folders)
        if os.path.exists(f"{second}/{libdir}/libcomity.so"):
            programs_carry_no_library(second)
        print(f"package: installed, moved, and used in both ways; {programs_start(second)} programs start")


if __name__ == "__main__":
    main(*sys.argv[1:])
