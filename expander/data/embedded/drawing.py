"""Rounded limbs painted into the frames of a video, soft at the edge and darker towards it.

Lengths are pixels, T: frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from expander.kernels.choice import compiled_by_numba

Array = NDArray[np.floating]

OUTLINE = 1.1
"""Pixels from the edge inward that are darker, so that a limb is seen before a body of its colour."""
RISE = np.float32(0.38 / OUTLINE)


@dataclass(frozen=True, slots=True)
class Limb:
    """All that is nearer to a line than its radius, which changes evenly from end to end.

    start, end: (T, 2) x (rightward) and y (downward); radii: at both ends; depth: (T,), of what is nearer
    to the camera more; colour: red, green, blue in 0..255; opacity: in 0..1.
    """

    start: Array
    end: Array
    radii: tuple[float, float]
    depth: Array
    colour: Array
    opacity: float = 1.0


@dataclass(frozen=True, slots=True)
class _Layer:
    """A limb in boxes (T, h, w) whose upper left corners are (T, 2) y and x.

    paint: (T, h, w, 3) colour times opacity; left: (T, h, w, 3) the share of what is behind it, for each
    colour, so that a frame is blended in long runs of memory.
    """

    corners: list[list[int]]
    paint: Array
    left: Array


def _layer(limb: Limb, height: int, width: int) -> _Layer:
    reach = max(limb.radii) + 1
    low = np.floor(np.minimum(limb.start, limb.end) - reach)
    high = np.ceil(np.maximum(limb.start, limb.end) + reach)
    w, h = np.minimum((high - low).max(axis=0).astype(int) + 1, (width, height))
    corners = np.clip(low, 0, (width - w, height - h))
    x = (corners[:, 0, None] + np.arange(w)).astype(np.float32)[:, None, :]
    y = (corners[:, 1, None] + np.arange(h)).astype(np.float32)[:, :, None]
    (ax, ay), (bx, by) = limb.start.astype(np.float32).T, limb.end.astype(np.float32).T
    dx, dy = (bx - ax)[:, None, None], (by - ay)[:, None, None]
    x, y = x - ax[:, None, None], y - ay[:, None, None]
    length = np.maximum(dx * dx + dy * dy, np.float32(1e-6))
    along = np.clip((x * (dx / length)) + (y * (dy / length)), 0, 1)
    near, far = map(np.float32, limb.radii)
    inside = near + (far - near) * along - np.hypot(x - along * dx, y - along * dy)
    cover = np.clip(inside + np.float32(0.5), 0, 1) * np.float32(limb.opacity)
    shade = cover * np.clip(np.float32(0.62) + inside * RISE, 0.62, 1)
    paint, left = np.empty((2, *cover.shape, 3), np.float32)
    for number, colour in enumerate(limb.colour.astype(np.float32)):  # in runs longer than three colours
        np.multiply(shade, colour, out=paint[..., number])
        np.subtract(1, cover, out=left[..., number])
    return _Layer(corners[:, ::-1].astype(int).tolist(), paint, left)


def paint(video: Array, limbs: Sequence[Limb]) -> None:
    """Paints limbs into a video (T, H, W, 3) in place, in each frame the farthest first.

    What is outside the frame is not seen.
    """
    order = np.argsort([limb.depth for limb in limbs], axis=0, kind="stable").T
    kernels = compiled_by_numba("frames.limbs_numba")
    if kernels is None:
        _paint(video, limbs, order.tolist())
        return
    rows = ((limb.start, limb.end, limb.radii, limb.colour, limb.opacity) for limb in limbs)
    starts, ends, radii, colours, opacities = (np.array(of, np.float32) for of in zip(*rows, strict=True))
    kernels.paint(video, starts, ends, radii, order, colours, opacities, RISE)


def _paint(video: Array, limbs: Sequence[Limb], order: list[list[int]]) -> None:
    height, width = video.shape[1:3]
    layers = [_layer(limb, height, width) for limb in limbs]
    for time, (frame, numbers) in enumerate(zip(video, order, strict=True)):
        for number in numbers:
            layer = layers[number]
            y, x = layer.corners[time]
            h, w = layer.left.shape[1:3]
            behind = frame[y : y + h, x : x + w]
            behind *= layer.left[time]
            behind += layer.paint[time]
