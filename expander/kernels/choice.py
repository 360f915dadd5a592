"""Whether kernels of our own are wanted, and those that need nothing but numba."""

from __future__ import annotations

import functools
import importlib
import os
from typing import Any

from expander.errors import UsageError

VARIABLE = "EXPANDER_KERNELS"
CHOICES = ("own", "reference")


def enabled() -> bool:
    """Whether our kernels are wanted. Raises UsageError for a value of EXPANDER_KERNELS that is none."""
    wanted = os.environ.get(VARIABLE, "own")
    if wanted not in CHOICES:
        raise UsageError(f"{VARIABLE}={wanted}: neither {' nor '.join(CHOICES)}")
    return wanted == "own"


def compiled_by_numba(module: str) -> Any:
    """A module of kernels, by its name in this package; None where kernels are off or numba is not."""
    return _imported(module) if enabled() else None


@functools.cache
def _imported(module: str) -> Any:
    try:
        return importlib.import_module(f"expander.kernels.{module}")
    except ImportError:  # of which `depthwise.compiles` warns
        return None
