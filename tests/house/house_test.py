"""Checks the tree against the rules of the house (rules.py): house_test.py [ROOT]. Prints each violation, exits 1."""

import os
import sys

import rules
from tree import Tree


def violations(root):
    """Every violation in the tree at `root`, as (rule's name, path, line, text)."""
    tree = Tree(root)
    return [(rule.__name__, *found) for rule in rules.RULES for found in rule(tree)]


def main(arguments):
    here = os.path.dirname(os.path.abspath(__file__))
    root = arguments[0] if arguments else os.path.dirname(os.path.dirname(here))
    found = violations(root)
    for rule, path, line, text in found:
        print(f"{path}:{line}: [{rule}] {text}")
    looked_at = len(Tree(root).having(rules.cpp.SUFFIXES))
    print(f"house: {len(found)} violations of {len(rules.RULES)} rules in {looked_at} C and C++ files")
    return 1 if found or not looked_at else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
