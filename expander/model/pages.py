"""Memory for large results, handed out by the system in large pages.

From 32 MB on the C library asks the system for every array anew, and the system hands out 4 kB at a time, at
the first touch: for the gradient of a large map that takes as long as to compute it. Asked for pages of 2 MB
it does so 512 times less often. Where that cannot be asked for, the memory is as usual.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from typing import Any

import torch
from torch import Tensor

LARGE = 32 << 20  # glibc's bound, above which it never hands out memory again that was used before
PAGE = 2 << 20
HUGEPAGE = 14  # MADV_HUGEPAGE, of Linux


def empty_like(x: Tensor) -> Tensor:
    """`torch.empty_like`."""
    y = torch.empty_like(x)
    if y.nbytes >= LARGE and (advise := _madvise()) is not None:
        first = -(-y.data_ptr() // PAGE) * PAGE
        advise(first, (y.data_ptr() + y.nbytes - first) // PAGE * PAGE, HUGEPAGE)
    return y


@functools.cache
def _madvise() -> Any:
    if sys.platform != "linux":
        return None
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    return advise
