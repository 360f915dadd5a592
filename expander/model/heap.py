"""Memory that was used once is used again.

The C library gives a large array back to the system as soon as it is freed, and with it whatever is free at
the end of its heap. The next step of a training asks for the same memory again, and the system hands it
out zeroed, 4 kB at a time, at the first touch: with two threads a tenth of a step. Told to keep what it has,
a process stays as large as it has been at its peak until it ends.
"""

from __future__ import annotations

import ctypes
import functools
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # mallopt's names of what it sets, of glibc's <malloc.h>
NEVER, MOST = -1, 2**31 - 1


@functools.cache
def keep_freed() -> bool:
    """From now on freed memory is kept; False where the C library cannot be told so (it is not glibc)."""
    if sys.platform != "linux":
        return False
    try:
        set_option = ctypes.CDLL(None).mallopt
    except AttributeError:
        return False
    return bool(set_option(MMAP_THRESHOLD, MOST) and set_option(TRIM_THRESHOLD, NEVER))
