"""sum.c is sum_nccl.c.txt by the renames that the porting page states, and the page shows just that difference.

renamed_test.py EXAMPLES PAGE
"""

import difflib
import pathlib
import re
import sys

RENAMES = (
    (r"#include <cuda_runtime.h>\n#include <nccl.h>\n", "#include <comity/comity.h>\n"),
    (r"\bnccl(?=[A-Z])", "comity"),
    (r"\bcudaStream(?=[A-Z_])", "comityStream"),
    (r" *cudaSetDevice\(d\);\n", ""),
    (r"cudaMemcpy\((.*), cudaMemcpy\w+\)", r"memcpy(\1)"),
)


def main(examples, page):
    original = pathlib.Path(examples, "sum_nccl.c.txt").read_text()
    ported = pathlib.Path(examples, "sum.c").read_text()
    renamed = original
    for pattern, text in RENAMES:
        renamed = re.sub(pattern, text, renamed)
    assert renamed == ported, "sum.c is more than the renames make of sum_nccl.c.txt"
    lines = difflib.unified_diff(original.splitlines(), ported.splitlines(), "sum_nccl.c.txt", "sum.c", n=1, lineterm="")
    shown = "```diff\n" + "\n".join(lines) + "\n```"
    assert shown in pathlib.Path(page).read_text(), f"{page} does not show this difference:\n{shown}"
    print("renamed: the port is the renames, and the page shows it")


if __name__ == "__main__":
    main(*sys.argv[1:])
