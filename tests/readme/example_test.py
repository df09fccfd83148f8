"""The README's first program is compiled against the built library, run, and prints what its comment says."""
import pathlib
import re
import subprocess
import sys
import tempfile


def main():
    source_root, library_folder, compiler = (pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3])
    readme = (source_root / "README.md").read_text()
    blocks = re.findall(r"```c\n(.*?)```", readme, re.S)
    assert blocks, "README.md has no C program"
    program = blocks[0]
    wanted = re.search(r"printf\(.*?\);\s*/\* (.*?) \*/", program).group(1)
    lines = [line for line in program.splitlines() if line.strip()]
    assert len(lines) <= 15, f"the example has {len(lines)} lines, 15 are promised"
    with tempfile.TemporaryDirectory() as folder:
        source, binary = pathlib.Path(folder, "example.c"), pathlib.Path(folder, "example")
        source.write_text(program)
        subprocess.run([compiler, "-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", f"-I{source_root}/include", str(source), "-o", str(binary),
                        f"-L{library_folder}", "-lcomity", f"-Wl,-rpath,{library_folder}"], check=True)
        printed = subprocess.run([str(binary)], check=True, capture_output=True, text=True, timeout=60).stdout.strip()
    assert printed == wanted, f"it printed {printed!r}, the README says {wanted!r}"
    print(f"README example: {len(lines)} lines, prints {printed!r}")


main()
