"""Frames to network input: short-side resize, crop and flip in one bilinear gather, normalisation.

Shapes: T frames, H height, W width, C = 3 colours. Equal to resizing the whole frame (bilinear,
align_corners False, no antialiasing, on floats, as SlowFast and PyTorchVideo do) and cropping after,
but only the pixels of the crop are computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from expander.kernels.frames.resize import Taps, resize_crop
from expander.specs.spec import Spec
from expander.video.view_protocols import Canvas, canvas

MEAN, STD = 0.45, 0.225
BYTE_MEAN, BYTE_STD = 114.75, 57.38
"""MMAction2's, of bytes; the deviation is rounded."""


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


@lru_cache(maxsize=1024)
def centre_window(height: int, width: int, spec: Spec) -> Window:
    """The validation view: short side at the test size, centre crop of the training crop."""
    ((top, left),) = canvas("expander", 1, spec, height, width).places
    return Window(spec.test_size, spec.crop, top, left)


def random_window(
    height: int, width: int, spec: Spec, flip: bool, rng: np.random.Generator
) -> Window:
    """The training view: short side jittered, crop anywhere, flipped half of the time if `flip`."""
    (low, high), crop = spec.jitter, spec.crop
    short_side = int(rng.integers(low, high + 1))
    new_h, new_w = resized(height, width, short_side)
    top = int(rng.integers(0, new_h - crop + 1))
    left = int(rng.integers(0, new_w - crop + 1))
    return Window(short_side, crop, top, left, flip and bool(rng.random() < 0.5))


@lru_cache(maxsize=1024)  # the pixels of a small clip take less time than its taps
def _taps(source: int, target: int, start: int, count: int, flip: bool) -> Taps:
    """Of `count` places from `start` on, of a side of `source` pixels resized to `target`."""
    places = (torch.arange(start, start + count) + 0.5) * (source / target) - 0.5
    places = places.clamp_(0, source - 1)
    first = places.floor().long()
    neighbours, weight = torch.stack([first, (first + 1).clamp_(max=source - 1)]), (places - first).float()
    if flip:
        neighbours, weight = neighbours.flip(1), weight.flip(0)
    return Taps(neighbours.numpy(), weight.numpy())


def _patch(
    frames_THWC: Tensor, size: tuple[int, int], start: tuple[int, int], shape: tuple[int, int],
    flip: bool = False, scale: float = 255 * STD, shift: float = MEAN / STD,
) -> Tensor:  # fmt: skip
    """(T, H, W, 3) bytes as if resized to `size`, of it `shape` from `start` on; normalised floats."""
    _, height, width, _ = frames_THWC.shape
    down = _taps(height, size[0], start[0], shape[0], False)
    across = _taps(width, size[1], start[1], shape[1], flip)
    return resize_crop(frames_THWC, down, across, scale, shift)


def view(frames_THWC: Tensor, window: Window) -> Tensor:
    """(T, H, W, 3) bytes to a (T, crop, crop, 3) float clip, normalised."""
    size = resized(frames_THWC.shape[1], frames_THWC.shape[2], window.short_side)
    square = (window.crop, window.crop)
    return _patch(frames_THWC, size, (window.top, window.left), square, window.flip)


def whole(frames_THWC: Tensor, short_side: int) -> Tensor:
    """(T, h, w, 3) bytes to floats (T, H, W, 3) of all of the picture, the short side resized, normalised."""
    size = resized(frames_THWC.shape[1], frames_THWC.shape[2], short_side)
    return _patch(frames_THWC, size, (0, 0), size)


def painted(frames_THWC: Tensor, place: Canvas, rounded: bool = False) -> Tensor:
    """(T, H, W, 3) bytes to what the squares of a canvas cover of it, normalised: cut them with `cut`.

    rounded: bytes again after resizing, and MMAction2's normalisation.
    """
    top, left = (min(corner) for corner in zip(*place.places, strict=True))
    shape = extent(place)
    size = place.height, place.width
    if rounded:
        frames = _patch(frames_THWC, size, (top, left), shape, scale=1, shift=0)
        return frames.round_().sub_(BYTE_MEAN).div_(BYTE_STD)
    return _patch(frames_THWC, size, (top, left), shape)


def extent(place: Canvas) -> tuple[int, int]:
    """Height and width of the box around all squares."""
    tops, lefts = zip(*place.places, strict=True)
    return max(tops) - min(tops) + place.crop, max(lefts) - min(lefts) + place.crop


def cut(frames_THWC: Tensor, place: Canvas, number: int) -> Tensor:
    """Square `number` of painted frames, (T, crop, crop, 3)."""
    top, left = place.places[number]
    top, left = top - min(t for t, _ in place.places), left - min(x for _, x in place.places)
    return frames_THWC[:, top : top + place.crop, left : left + place.crop]
