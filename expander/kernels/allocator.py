"""Memory that was used once is used again.

The C library gives a large array back to the system as soon as it is freed, and with it whatever is free at
the end of its heap. The next step of a training asks for the same memory again, and the system hands it
out zeroed, 4 kB at a time, at the first touch: with two threads a tenth of a step. Told to keep what it has,
a process does not become smaller until it ends.

Of the main heap alone: other threads have heaps of 64 MB at most, and what exceeds them goes back all the
same. In Ray's workers a trial runs in such a thread; there all threads share the main heap, by ONE_HEAP.
"""

from __future__ import annotations

import ctypes
import os
import platform
import threading

ONE_HEAP = ("MALLOC_ARENA_MAX", "1")
"""Of the environment, read by glibc when a process starts."""
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # mallopt's names of what it sets, of glibc's <malloc.h>
NEVER, MOST = -1, 2**31 - 1


def keep_freed() -> bool:
    """From now on freed memory is kept. False where it cannot be: another heap, another C library."""
    name, one = ONE_HEAP
    in_main_heap = threading.current_thread() is threading.main_thread() or os.environ.get(name) == one
    if platform.system() != "Linux" or not in_main_heap:
        return False
    try:
        set_option = ctypes.CDLL(None).mallopt
    except AttributeError:
        return False
    untrimmed = set_option(TRIM_THRESHOLD, NEVER)
    return bool(set_option(MMAP_THRESHOLD, MOST) and untrimmed)
