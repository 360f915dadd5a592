"""Numba's tables of types and functions, filled before commands are forked: each would take its time."""

from __future__ import annotations

import os

own, _, before = os.environ.pop("PYTHONPATH", "").partition(os.pathsep)  # by which this file was found
if before:
    os.environ["PYTHONPATH"] = before

from numba.core.registry import cpu_target  # noqa: E402

import expander.kernels.depthwise_numba  # noqa: E402
import expander.kernels.frames.resize_numba  # noqa: E402
import expander.kernels.norm  # noqa: E402
import expander.kernels.temporal_numba  # noqa: E402, F401

cpu_target.typing_context.refresh()
cpu_target.target_context.refresh()
