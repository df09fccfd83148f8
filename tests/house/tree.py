"""The files that the house's rules look at: what git tracks or would track, read once."""

import os
import subprocess

import cpp

TEXT = cpp.SUFFIXES + (".py", ".sh", ".md", ".txt", ".cmake", ".in", ".json", ".map")


class Tree:
    """A source tree: `paths`, relative to its root and sorted, and their text."""

    def __init__(self, root):
        self.root = root
        self.paths = sorted(path for path in _listed(root) if os.path.isfile(os.path.join(root, path)))
        self._text = {}

    def text(self, path):
        if path not in self._text:
            with open(os.path.join(self.root, path), encoding="utf-8", errors="replace") as file:
                self._text[path] = file.read()
        return self._text[path]

    def having(self, endings, under=""):
        """Paths below `under` that end in one of `endings`."""
        return [path for path in self.paths if path.startswith(under) and path.endswith(endings)]

    def sources(self):
        """Paths of text written by people, scripts without an ending included."""
        return [path for path in self.paths if path.endswith(TEXT) or path in ("dev", ".ci/run")]


def _listed(root):
    command = ["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    if os.path.exists(os.path.join(root, ".git")):
        listing = subprocess.run(command, capture_output=True, check=False)
        if listing.returncode == 0:
            return [name for name in listing.stdout.decode().split("\0") if name]
    # No repository (an unpacked archive): everything but what a build leaves behind.
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in ("build", ".git", ".cache", "__pycache__")]
        found += [os.path.relpath(os.path.join(folder, name), root) for name in files]
    return found
