"""How kernels become machine code and run: compiled once per user, on torch's number of threads."""

from __future__ import annotations

import ctypes
import functools
import getpass
import hashlib
import itertools
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import torch
from torch import Tensor

Kernel = Callable[..., None]
CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
SMALL = 1 << 15  # numbers of the first array, below which a second thread does not pay
SHARES = 4  # of the work for each thread, so that one that started late gets less
HERE = Path(__file__).parent
SOURCES = ("compiled.py", "lanes.py", "kernels_depthwise.py", "kernels_norm.py")


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
    """`function` as machine code without the GIL, kept on disk; multiply-adds may be fused."""
    before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, str(cache_folder())
    try:
        decorate = numba.njit(cache=True, nogil=True, fastmath={"contract", "nsz"}, error_model="numpy")
        return decorate(function)
    finally:
        numba.config.CACHE_DIR = before


def flat(tensor: Tensor) -> Any:
    """The memory of a contiguous tensor as a flat numpy array."""
    return tensor.numpy(force=True).reshape(-1)  # force: its memory still, only without autograd


def launch(kernel: Kernel, items: int, *arguments: Any) -> None:
    """kernel(*arguments, start, stop) over all of range(items), in torch's number of threads.

    What an item writes depends on no other item, so that the result is the same for any number.
    """
    threads = min(torch.get_num_threads(), items)
    if threads == 1 or arguments[0].size < SMALL or _parallel() is None:
        kernel(*arguments, 0, items)
        return
    count = min(items, SHARES * threads)
    bounds = [items * share // count for share in range(count + 1)]
    shares, errors = iter(list(itertools.pairwise(bounds))), []

    def work(_: object) -> None:
        try:
            for start, stop in shares:
                kernel(*arguments, start, stop)
        except BaseException as error:  # it cannot leave a thread that is not Python's
            errors.append(error)

    _parallel()(CALLBACK(work), None, threads, 0)
    if errors:
        raise errors[0]


@functools.cache
def _parallel() -> Any:
    """OpenMP's entry to a parallel region, of the very library whose threads torch uses.

    Threads of our own would compete with torch's, which spin for a while after each of its operators.
    None where torch uses another library (not on Linux): kernels then run in one thread.
    """
    try:
        return ctypes.CDLL("libgomp.so.1").GOMP_parallel
    except (OSError, AttributeError):
        return None
