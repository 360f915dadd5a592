"""Processes in which libraries are not installed, though they are."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import pytest

NO_DECORD = "decord is not installed (it has wheels for x86-64 Linux)"
NO_NUMBA = "numba is not installed (it is for x86-64)"
needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed (Linux only)")
needs_decord = pytest.mark.skipif(find_spec("decord") is None, reason=NO_DECORD)
HIDE = """
import sys

class Hiding:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        hidden = name.partition(".")[0] in {names!r}
        return None if hidden else self.finder.find_spec(name, path, target)

sys.meta_path[:] = map(Hiding, sys.meta_path)
"""


def without(folder: Path, *names: str) -> dict[str, str]:
    """Variables for a process, and all that it starts, that find none of these libraries.

    folder: a new one, whose sitecustomize.py Python runs before anything else.
    """
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HIDE.format(names=set(names)))
    path = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(path)}
