"""Frames to network input: short-side resize, crop and flip in one bilinear gather, normalisation.

Shapes: T frames, H height, W width, C = 3 colours. Equal to resizing the whole frame (bilinear,
align_corners False, no antialiasing, on floats, as SlowFast and PyTorchVideo do) and cropping after,
but only the pixels of the crop are computed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from expander.spec import Spec

MEAN, STD = 0.45, 0.225


@dataclass(frozen=True, slots=True)
class Window:
    """The short side is resized to `short_side`; then a square `crop` at (top, left); then flip."""

    short_side: int
    crop: int
    top: int
    left: int
    flip: bool = False


def resized(height: int, width: int, short_side: int) -> tuple[int, int]:
    """Height and width after the short side became `short_side`, the long one truncated."""
    if height <= width:
        return short_side, max(short_side, width * short_side // height)
    return max(short_side, height * short_side // width), short_side


def centre_window(height: int, width: int, spec: Spec) -> Window:
    """The validation view: short side at the test size, centre crop of the training crop."""
    new_h, new_w = resized(height, width, spec.test_size)
    top, left = -(-(new_h - spec.crop) // 2), -(-(new_w - spec.crop) // 2)
    return Window(spec.test_size, spec.crop, top, left)


def random_window(
    height: int, width: int, spec: Spec, flip: bool, rng: np.random.Generator
) -> Window:
    """The training view: short side jittered, crop anywhere, flipped half of the time if `flip`."""
    low, high = spec.jitter
    short_side = int(rng.integers(low, high + 1))
    new_h, new_w = resized(height, width, short_side)
    top = int(rng.integers(0, new_h - spec.crop + 1))
    left = int(rng.integers(0, new_w - spec.crop + 1))
    return Window(short_side, spec.crop, top, left, flip and bool(rng.random() < 0.5))


def _taps(source: int, target: int, start: int, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Both neighbours and the weight of the second, for `count` places of a resized line."""
    places = (torch.arange(start, start + count) + 0.5) * (source / target) - 0.5
    places = places.clamp_(0, source - 1)
    first = places.floor().long()
    return first, (first + 1).clamp_(max=source - 1), (places - first).float()


def view(frames_THWC: Tensor, window: Window) -> Tensor:
    """(T, H, W, 3) bytes to a (T, crop, crop, 3) float clip, normalised."""
    _, height, width, _ = frames_THWC.shape
    new_h, new_w = resized(height, width, window.short_side)
    top, bottom, down = _taps(height, new_h, window.top, window.crop)
    left, right, across = _taps(width, new_w, window.left, window.crop)
    first, last = int(left[0]), int(right[-1])
    if window.flip:
        left, right, across = left.flip(0), right.flip(0), across.flip(0)
    seen = frames_THWC[:, :, first : last + 1]
    above, below = seen.index_select(1, top).float(), seen.index_select(1, bottom).float()
    rows = torch.lerp(above, below, down[:, None, None])
    clip = torch.lerp(
        rows.index_select(2, left - first), rows.index_select(2, right - first), across[:, None]
    )
    return clip.div_(255 * STD).sub_(MEAN / STD)
