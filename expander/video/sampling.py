"""Which frames a clip takes: index arithmetic on a video of V frames, nothing else.

A clip of T frames at a stride spans L = (T - 1) * stride + 1 source frames. A video shorter than
that repeats its last frame.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]


def clip_indices(start: int, frames: int, stride: int, length: int) -> Indices:
    """(T,) frame numbers from `start` on, never past the last frame of a video of `length`."""
    return np.minimum(start + stride * np.arange(frames), length - 1)


def _room(frames: int, stride: int, length: int) -> int:
    """The last start from which a clip fits."""
    return max(length - (frames - 1) * stride - 1, 0)


def training_indices(u: float, frames: int, stride: int, length: int) -> Indices:
    """A clip at the share `u` in [0, 1) of all starts from which it fits."""
    start = int(u * (_room(frames, stride, length) + 1))
    return clip_indices(start, frames, stride, length)


def view_indices(view: int, views: int, frames: int, stride: int, length: int) -> Indices:
    """View number `view` of `views` spread evenly from the first start to the last; one: the middle."""
    share = view / (views - 1) if views > 1 else 0.5
    start = int(share * _room(frames, stride, length))
    return clip_indices(start, frames, stride, length)
