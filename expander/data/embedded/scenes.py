"""Moving scenes for the embedded data set: what a class is, and how one video of it is drawn.

A class is a table row of independent attributes. Everything that is not fixed by the row is drawn
at random for each video from the same distribution for all classes: background, colours, size,
place, shape, brightness, distractors, camera shake. So a frame shows the texture and little else;
the rest of the label is in time. A horizontal flip never changes a label.

Lengths are pixels of the video, times are frames of the video.
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
class ClassProgram:
    """What all videos of a class share; an attribute left at None says nothing about the class.

    texture: a key of TEXTURES, None for any of them; period: its finest and coarsest, in pixels;
    velocity: lowest and highest downward speed in pixels a frame (negative: upward), None for no
    motion; light: cycle of LIGHTS, None for steady; outline: cycle of SHAPES, None for one shape.
    """

    name: str
    texture: str | None = None
    period: tuple[float, float] = (3.6, 7.2)
    velocity: tuple[float, float] | None = None
    light: Cycle | None = None
    outline: Cycle | None = None


@dataclass(frozen=True, slots=True)
class Clutter:
    """How much a scene is disturbed: other objects, camera shake (pixels), noise (grey levels)."""

    distractors: tuple[int, int] = (1, 3)
    shake: float = 3.0
    noise: float = 3.0


FULL = Clutter()
NONE = Clutter(distractors=(0, 0), shake=0.0, noise=0.0)


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


@dataclass(frozen=True, slots=True)
class _Sprite:
    """An object ready to be pasted: picture (S, S, 3), masks[shape] (S, S, 1).

    path: (T, 2) centre y, x; shape: (T,) which mask; light: (T,) grey levels to add.
    """

    picture: Array
    masks: list[Array]
    path: NDArray[np.int64]
    shape: NDArray[np.int64]
    light: Array


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
COARSE, BROAD, WIDE = (6.0, 11.0), (11.0, 18.0), (21.0, 32.0)  # pixels a period, as against 3.6 to 7.2

PAIRS = (
    ClassProgram("bars-steady", "bars", light=STEADY),
    ClassProgram("bars-blinking", "bars", light=Cycle(BLINK, 24)),
    ClassProgram("posts-up", "posts", velocity=(-4.5, -2.0)),
    ClassProgram("posts-down", "posts", velocity=(2.0, 4.5)),
    ClassProgram("checks-steady", "checks", light=STEADY),
    ClassProgram("checks-flickering", "checks", light=Cycle(BLINK, 8)),
    ClassProgram("diamonds-brightening", "diamonds", light=Cycle(RISE, 3)),
    ClassProgram("diamonds-dimming", "diamonds", light=Cycle(FALL, 3)),
    ClassProgram("hexagons-brightening", "hexagons", COARSE, light=Cycle(RISE, 6)),
    ClassProgram("hexagons-dimming", "hexagons", COARSE, light=Cycle(FALL, 6)),
    ClassProgram("combs-steady", "combs", COARSE, light=STEADY),
    ClassProgram("combs-blinking", "combs", COARSE, light=Cycle(BLINK, 16)),
)
"""Six textures, each in two ways of time that one frame does not tell apart.

Four are fine (a larger crop pays), two coarse. In time: steady or flickering (period 16 frames: two
frames 16 apart see nothing), steady or blinking (period 32 or 48: two frames 8 apart often see
nothing), slow and fast brightening or dimming and motion up or down (the order of frames decides).
"""

STILL = (
    *(ClassProgram(f"{name}-broad", name, BROAD, light=STEADY) for name in TEXTURES),
    *(ClassProgram(f"{name}-wide", name, WIDE, light=STEADY) for name in ("bars", "checks", "dots", "grid")),
)
"""Textures so broad that the smallest crop shows them, four in two widths: a larger network tells more
of them apart."""

CLASSES = PAIRS + STILL
"""The embedded set."""


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


def _path(
    rng: np.random.Generator, velocity: tuple[float, float], frames: int, span: tuple[int, int]
) -> NDArray[np.int64]:
    """(T, 2) centre y and x of a steady motion from a random place, wrapped round the span.

    Wrapped, so that every height is as likely going up as going down.
    """
    start = rng.uniform(0, 1, size=2) * span
    steps = np.arange(frames)[:, None] * np.asarray(velocity)
    places: NDArray[np.int64] = np.floor((start + steps) % span).astype(np.int64)
    return places


def _picture(pattern: Array, rng: np.random.Generator) -> Array:
    """(S, S, 3) of a pattern (S, S, 1) in a random colour."""
    colour = rng.uniform(115, 175, size=3).astype(np.float32)
    return colour + pattern * np.float32(rng.uniform(32, 58))


def _states(
    cycle: Cycle | None, count: int, frames: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """(T,) the state of each frame, out of `count`; without a cycle one state all along."""
    if cycle is None:
        return np.full(frames, rng.integers(count))
    start = rng.integers(cycle.hold * len(cycle.states))
    turn: NDArray[np.int64] = (np.arange(frames) + start) // cycle.hold % len(cycle.states)
    return np.asarray(cycle.states, dtype=np.int64)[turn]


def _subject(
    program: ClassProgram, rng: np.random.Generator, frames: int, height: int, width: int
) -> _Sprite:
    """The object that carries the class."""
    size = int(rng.uniform(0.48, 0.72) * height)
    kind = program.texture or str(rng.choice(list(TEXTURES)))
    pattern = _texture(kind, size, rng.uniform(*program.period), rng)
    speed = rng.uniform(*(program.velocity or (0.0, 0.0)))
    path = _path(rng, (speed, 0.0), frames, (height, width // 2)) + (0, width // 4)
    shape = _states(program.outline, len(SHAPES), frames, rng)
    light = np.asarray(LIGHTS, np.float32)[_states(program.light, len(LIGHTS), frames, rng)]
    masks = [_mask(name, size) for name in SHAPES]
    return _Sprite(_picture(pattern, rng), masks, path, shape, light)


def _distractor(rng: np.random.Generator, frames: int, height: int, width: int) -> _Sprite:
    """A smaller, plain or blotchy object that drifts sideways."""
    size = int(rng.uniform(0.14, 0.28) * height)
    blotches = rng.uniform(-1, 1, size=(size // 4 + 1, size // 4 + 1)).astype(np.float32)
    blotchy = np.kron(blotches, np.ones((4, 4), np.float32))[:size, :size, None]
    picture = _picture(blotchy * np.float32(rng.integers(2)), rng)
    path = _path(rng, (0.0, rng.uniform(-3, 3)), frames, (height, width))
    steady = np.zeros(frames, dtype=np.int64)
    mask = _mask(SHAPES[rng.integers(len(SHAPES))], size)
    return _Sprite(picture, [mask], path, steady, steady.astype(np.float32))


def _paste(frame: Array, sprite: _Sprite, time: int) -> None:
    """Blend a sprite into a frame (H, W, 3) in place; what is outside the frame is cut off."""
    size = sprite.masks[0].shape[0]
    y, x = (int(value) - size // 2 for value in sprite.path[time])
    top, left = max(0, y), max(0, x)
    bottom, right = min(frame.shape[0], y + size), min(frame.shape[1], x + size)
    if top >= bottom or left >= right:
        return
    inside = (slice(top - y, bottom - y), slice(left - x, right - x))
    mask = sprite.masks[sprite.shape[time]][inside]
    target = frame[top:bottom, left:right]
    target += mask * (sprite.picture[inside] + sprite.light[time] - target)


def _shake(rng: np.random.Generator, frames: int, reach: float) -> NDArray[np.int64]:
    """(T, 2) offsets in 0..2 reach: a smooth wander of a hand-held camera."""
    time = np.arange(frames)[:, None]
    periods, phases = rng.uniform(12, 45, size=(2, 2)), rng.uniform(0, 2 * math.pi, size=(2, 2))
    wander = np.sin(2 * math.pi * time / periods[0] + phases[0])
    wander += np.sin(2 * math.pi * time / periods[1] + phases[1])
    offsets: NDArray[np.int64] = np.rint(reach * (1 + wander / 2)).astype(np.int64)
    return offsets


def render(
    scene: ClassProgram,
    rng: np.random.Generator,
    frames: int,
    height: int,
    width: int,
    clutter: Clutter = FULL,
) -> Video:
    """One video of a class: uint8 (T, H, W, 3), RGB. The same generator state, the same pixels."""
    margin = 2 * math.ceil(clutter.shake)
    full = (height + margin, width + margin)
    canvas = _background(rng, *full)
    count = rng.integers(clutter.distractors[0], clutter.distractors[1] + 1)
    sprites = [_distractor(rng, frames, *full) for _ in range(count)]
    sprites.append(_subject(scene, rng, frames, *full))
    shake = _shake(rng, frames, clutter.shake)
    grain = rng.normal(0, 1, size=(height + 16, width + 16, 1)).astype(np.float32) * clutter.noise
    jumps = rng.integers(0, 16, size=(frames, 2))
    video = np.empty((frames, height, width, 3), dtype=np.uint8)
    for time in range(frames):
        frame = canvas.copy()
        for sprite in sprites:
            _paste(frame, sprite, time)
        y, x = shake[time]
        seen = frame[y : y + height, x : x + width]
        y, x = jumps[time]
        seen = seen + grain[y : y + height, x : x + width]
        video[time] = np.clip(seen, 0, 255)
    return video
