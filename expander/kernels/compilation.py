"""How kernels become machine code: compiled once per user, kept on disk."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

from expander.kernels.kept_code import KeptCode, warn_once

HERE = Path(__file__).parent
OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": {"contract", "nsz"}, "error_model": "numpy"}
SOURCES = ("compilation.py", "kept_code.py", "vectors.py",
           *sorted(path.relative_to(HERE).as_posix() for path in HERE.rglob("*_numba.py")))  # fmt: skip


def cache_folder() -> Path | None:
    """Where compiled kernels are kept: in the user's cache, or where that cannot be, in /tmp; else nowhere.

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
    shared = Path(tempfile.gettempdir()) / f"expander-kernels-{os.getuid()}-{digest[:12]}"
    return shared if _is_ours(shared) else None


def _is_ours(folder: Path) -> bool:
    """Whether nobody else can have put code into a folder of /tmp; it is made where it is missing."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022


def compiled(function: Callable[..., Any]) -> Any:
    """A kernel: `function` as machine code without the GIL, kept on disk; multiply-adds may be fused."""
    return _kept(function, OPTIONS)


def exactly(function: Callable[..., Any]) -> Any:
    """A kernel as `compiled` makes it, in which every operation is rounded, as in numpy."""
    return _kept(function, OPTIONS | {"fastmath": False})


def _kept(function: Callable[..., Any], options: dict[str, Any]) -> Any:
    kernel = numba.njit(**options)(function)
    folder = cache_folder()
    before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, str(folder or "")
    try:
        if folder is not None:
            kernel._cache = KeptCode(function)
    except (OSError, RuntimeError) as error:  # a full disk, a folder that cannot be written
        warn_once(folder, error)
    finally:
        numba.config.CACHE_DIR = before
    return kernel


def inlined(function: Callable[..., Any]) -> Any:
    """A part of kernels, which becomes code of each kernel that has it and of nothing else.

    Machine code of its own would exist twice, in the process that compiles and on disk, with
    multiply-adds fused differently: the first run would not give what the second gives.
    """
    return numba.njit(forceinline=True, **OPTIONS)(function)
