"""How kernels become machine code: compiled once per user, kept on disk."""

from __future__ import annotations

import getpass
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

HERE = Path(__file__).parent
OPTIONS = {"nogil": True, "fastmath": {"contract", "nsz"}, "error_model": "numpy"}
SOURCES = ("compilation.py", "vectors.py", *sorted(path.name for path in HERE.glob("*_numba.py")))


def cache_folder() -> Path:
    """Where compiled kernels are kept: in the user's cache, or where that cannot be, in /tmp.

    Named by the kernels' sources, so that a change of any of them compiles all of them anew.
    """
    digest = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in SOURCES)).hexdigest()
    root = os.environ.get("XDG_CACHE_HOME")
    try:
        base = (Path(root) if root else Path.home() / ".cache") / "expander"
        folder = base / "kernels" / digest[:12]
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except (OSError, RuntimeError):  # a home that is read-only, or none at all
        pass
    return Path(tempfile.gettempdir()) / f"expander-kernels-{getpass.getuser()}-{digest[:12]}"


def compiled(function: Callable[..., Any]) -> Any:
    """A kernel: `function` as machine code without the GIL, kept on disk; multiply-adds may be fused."""
    before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, str(cache_folder())
    try:
        return numba.njit(cache=True, **OPTIONS)(function)
    finally:
        numba.config.CACHE_DIR = before


def inlined(function: Callable[..., Any]) -> Any:
    """A part of kernels, which becomes code of each kernel that has it and of nothing else.

    Machine code of its own would exist twice, in the process that compiles and on disk, with
    multiply-adds fused differently: the first run would not give what the second gives.
    """
    return numba.njit(forceinline=True, **OPTIONS)(function)
