"""Names that become parts of paths: of runs, trials, steps, results. One check for all of them."""

from __future__ import annotations

import os
import re
from pathlib import Path

from expander.errors import DataError

PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")
RULE = "take letters, digits, '_', and inside the name '.' and '-'"


def is_plain(name: str) -> bool:
    """Whether a name is that of a file in a folder and of nothing else: no `/`, no `..`, no option."""
    return PLAIN.fullmatch(name) is not None


def below(folder: Path, name: str) -> Path:
    """`name` in `folder`, wherever the name comes from.

    Raises DataError for one that is no plain name, and for a link that leaves the folder.
    """
    if not is_plain(name):
        raise DataError(f"{folder}: {name[:60]!r} is no name of a file in it: {RULE}")
    path = folder / name
    inside(folder, path)
    return path


def inside(folder: Path, path: Path) -> None:
    """Raises DataError when a link on the way takes `path` out of `folder`."""
    home, target = os.path.realpath(folder), os.path.realpath(path)
    if os.path.commonpath([home, target]) != home:
        raise DataError(f"{path}: is a link that leaves {folder}; replace it by what it points to")
