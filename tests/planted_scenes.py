"""Scenes in which one thing only tells two classes apart: a textured object in a light.

What a class does not fix is drawn at random for each video from the same distribution for both: background,
colours, size, place, shape, brightness. Lengths are pixels, times are frames.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Video = NDArray[np.uint8]

SHAPES = ("disc", "ring", "cross")
LIGHTS = tuple(range(-40, 41, 8))  # grey levels added to the object's colour


@dataclass(frozen=True, slots=True)
class Cycle:
    """States shown in turn, again and again, each held for `hold` frames, from a random time on.

    Two cycles of the same states look the same in a single frame, whatever their order and hold.
    """

    states: tuple[int, ...]
    hold: int


@dataclass(frozen=True, slots=True)
class Planted:
    """What all videos of a class share; an attribute left at None says nothing about the class.

    texture: a key of TEXTURES; period: its finest and coarsest, in pixels; light: cycle of LIGHTS, None for
    steady.
    """

    name: str
    texture: str | None = None
    period: tuple[float, float] = (3.6, 7.2)
    light: Cycle | None = None


def _hexagons(u: Array, v: Array) -> Array:
    """Bright spots in a triangular lattice: three waves, 60 degrees apart."""
    waves: Array = np.cos(v) + 2 * np.cos(v / 2) * np.cos(math.sqrt(0.75) * u)
    return 0.7 * waves


TEXTURES: dict[str, Callable[[Array, Array], Array]] = {
    "bars": lambda _, v: np.cos(v),
    "posts": lambda u, _: np.cos(u),
    "checks": lambda u, v: 1.4 * np.cos(u) * np.cos(v),
    "diamonds": lambda u, v: 0.7 * (np.cos(u) + np.cos(v)),
    "dots": lambda u, v: 0.4 + np.minimum(np.cos(u), np.cos(v)),
    "grid": lambda u, v: np.maximum(np.cos(u), np.cos(v)) - 0.4,
    "hexagons": _hexagons,
    "combs": lambda u, v: -_hexagons(u, v),
}
"""Patterns of period 2 pi in u (rightward) and v (downward); flipping them only shifts them."""


def _plane(size: int) -> tuple[Array, Array]:
    """u (rightward) and v (downward) of a size x size square, pixels from its centre."""
    axis = np.arange(size, dtype=np.float32) - np.float32((size - 1) / 2)
    u, v = np.meshgrid(axis, axis)
    return u, v


def _mask(shape: str, size: int) -> Array:
    """(S, S, 1) opacity of a shape that fills a size x size square, soft by one pixel."""
    u, v = _plane(size)
    r, half = np.hypot(u, v), size / 2
    inside = half - r
    if shape == "ring":
        inside = np.minimum(inside, r - 0.45 * half)
    if shape == "cross":
        inside = np.maximum(
            np.minimum(half - abs(u), 0.36 * half - abs(v)),
            np.minimum(half - abs(v), 0.36 * half - abs(u)),
        )
    opacity: Array = np.clip(inside + 0.5, 0, 1)[..., None]
    return opacity


def _texture(kind: str, size: int, period: float, rng: np.random.Generator) -> Array:
    """(S, S, 1) pattern in -1..1, slightly turned, shifted at random."""
    u, v = _plane(size)
    angle = rng.uniform(-0.12, 0.12)
    cos, sin = (np.float32(f(angle) * 2 * math.pi / period) for f in (math.cos, math.sin))
    shift = rng.uniform(0, 2 * math.pi, size=2).astype(np.float32)
    pattern = TEXTURES[kind](cos * u - sin * v + shift[0], sin * u + cos * v + shift[1])
    clipped: Array = np.clip(np.float32(1.6) * pattern, -1, 1)[..., None]
    return clipped


RISE, FALL = tuple(range(len(LIGHTS))), tuple(reversed(range(len(LIGHTS))))
BLINK = (0, len(LIGHTS) - 1)
# The states of a blink, one of them all along: a single frame does not tell steady from blinking.
STEADY = Cycle(BLINK, hold=1_000_000)


def _background(rng: np.random.Generator, height: int, width: int) -> Array:
    """(H, W, 3) slow colour gradients and a fainter, finer weave in random directions."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    canvas = np.empty((height, width, 3), dtype=np.float32)
    canvas[:] = rng.uniform(50, 115, size=3)
    for period, amplitude in ((160, 25), (90, 18), (50, 12), (22, 6)):
        angle, phase = rng.uniform(0, 2 * math.pi, size=2)
        wave = np.cos((math.cos(angle) * x + math.sin(angle) * y) * (2 * math.pi / period) + phase)
        tint = rng.uniform(-1, 1, size=3) if period > 40 else np.full(3, rng.uniform(-1, 1))
        canvas += wave[..., None] * (amplitude * tint).astype(np.float32)
    return canvas


def _picture(pattern: Array, rng: np.random.Generator) -> Array:
    """(S, S, 3) of a pattern (S, S, 1) in a random colour."""
    colour = rng.uniform(115, 175, size=3).astype(np.float32)
    return colour + pattern * np.float32(rng.uniform(32, 58))


def _states(cycle: Cycle | None, frames: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(T,) which of LIGHTS each frame has; without a cycle one all along."""
    if cycle is None:
        return np.full(frames, rng.integers(len(LIGHTS)))
    start = rng.integers(cycle.hold * len(cycle.states))
    turn: NDArray[np.int64] = (np.arange(frames) + start) // cycle.hold % len(cycle.states)
    return np.asarray(cycle.states, dtype=np.int64)[turn]


def render(scene: Planted, rng: np.random.Generator, frames: int, height: int, width: int) -> Video:
    """One video of a class: uint8 (T, H, W, 3), RGB. The same generator state, the same pixels."""
    canvas = _background(rng, height, width)
    size = int(rng.uniform(0.48, 0.72) * height)
    kind = scene.texture or str(rng.choice(list(TEXTURES)))
    picture = _picture(_texture(kind, size, rng.uniform(*scene.period), rng), rng)
    mask = _mask(SHAPES[rng.integers(len(SHAPES))], size)
    # The middle of the object is in the frame, and across in its middle half.
    top, left = (rng.uniform((0, 0.25), (1, 0.75)) * (height, width)).astype(int) - size // 2
    y, x = slice(max(top, 0), top + size), slice(max(left, 0), left + size)
    behind = canvas[y, x].copy()
    above, before = max(-top, 0), max(-left, 0)
    rows, columns = slice(above, above + behind.shape[0]), slice(before, before + behind.shape[1])
    mask, picture = mask[rows, columns], picture[rows, columns]
    video = np.empty((frames, height, width, 3), dtype=np.uint8)
    for time, state in enumerate(_states(scene.light, frames, rng)):
        canvas[y, x] = behind + mask * (picture + np.float32(LIGHTS[state]) - behind)
        video[time] = np.clip(canvas, 0, 255)
    return video
