"""The documents name only what exists: relative links, verbs of ./dev, and COMITY_ variables; and those for porters name every
call of comity.h. docs.py [ROOT]"""

import os
import re
import sys

from tree import Tree

LINK = re.compile(r"\[[^\]]*\]\(([^)\s#]+)(?:#[^)]*)?\)")
VERB = re.compile(r"\./dev ([a-z]+)")
VARIABLE = re.compile(r"\bCOMITY_[A-Z0-9_]+\b")


def broken(tree):
    """(path, line, text) of each thing that a document names and the tree does not have."""
    verbs = set(re.findall(r"^verb_([a-z]+)\(\)", tree.text("dev"), re.M))
    known = set()
    for path in tree.sources():
        if not path.endswith(".md"):
            known.update(VARIABLE.findall(tree.text(path)))
    for path in tree.having((".md",)):
        for number, line in enumerate(tree.text(path).splitlines(), 1):
            for link in LINK.findall(line):
                target = os.path.normpath(os.path.join(os.path.dirname(path), link))
                if "://" not in link and not os.path.exists(os.path.join(tree.root, target)):
                    yield path, number, f"a link to nothing: {link}"
            for verb in VERB.findall(line):
                if verb not in verbs:
                    yield path, number, f"./dev has no verb {verb}"
            for variable in VARIABLE.findall(line):
                if variable not in known:
                    yield path, number, f"nothing reads {variable}"


PORTING = ("docs/porting-from-nccl.md", "docs/porting-from-mpi.md")
CALL = re.compile(r"^COMITY_API [^;(]*?\b(comity\w+)\(", re.M)


def left_out(tree):
    """(path, 1, text) of each call of comity.h that a page for porters does not name."""
    calls = CALL.findall(tree.text("include/comity/comity.h"))
    assert len(calls) >= 50, f"comity.h was not understood: {calls}"
    for path in PORTING:
        text = tree.text(path)
        for call in calls:
            if not re.search(rf"\b{call}\b", text):
                yield path, 1, f"{call} is not listed"


def main(arguments):
    here = os.path.dirname(os.path.abspath(__file__))
    tree = Tree(arguments[0] if arguments else os.path.dirname(os.path.dirname(here)))
    found = list(broken(tree)) + list(left_out(tree))
    for path, line, text in found:
        print(f"{path}:{line}: {text}")
    print(f"docs: {len(found)} broken references in {len(tree.having(('.md',)))} documents")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
