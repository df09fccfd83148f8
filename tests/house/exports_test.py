"""libcomity.so exports what its C headers declare, all of it and nothing else: exports_test.py LIBRARY HEADER..."""

import re
import subprocess
import sys


def main(library, *headers):
    listing = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True)
    exported = {line.split()[-1].split("@")[0] for line in listing.stdout.splitlines()}
    declared, header = set(), " or ".join(headers)
    for path in headers:
        with open(path, encoding="utf-8") as file:
            declared |= set(re.findall(r"^COMITY_API [^;(]*?\b(comity\w+)\(", file.read(), re.M))
    for name in sorted(exported - declared):
        print(f"{name}: exported by {library}, and not in {header}")
    for name in sorted(declared - exported):
        print(f"{name}: declared in {header}, and not exported by {library}")
    print(f"exports: {len(exported)} symbols, {len(declared)} declared")
    return 0 if declared and exported == declared else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
