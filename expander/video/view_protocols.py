"""Which frames and which squares of a video the views of a test look at: five protocols, arithmetic only.

    expander       clips of stride source frames, evenly from the first start to the last; the default
    slowfast       SlowFast's test: clips of T * stride / 30 seconds, start i * room / N
    mmaction2      MMAction2 1.x: start i * floor(room / (N - 1)), short videos loop
    mmaction2-0.x  MMAction2 0.x: strides in source frames, the middle of each of N equal shares of the
                   starts, short videos loop; X3D-S at a short side of 192
    pytorchvideo   PyTorchVideo's: start i * room / (N - 1) in seconds, frames of [start, end)

T frames a clip, N clips, V frames in the video, L = T * stride * fps / 30 source frames a clip; room is
V - L, at least 0. The libraries compute in floats; here the numbers are exact, so a frame may be one
earlier or later than theirs where a product is a whole number but for rounding. The clip starts of
MMAction2 0.x are in floats here too, for there a frame earlier is a whole clip earlier.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, get_args

import numpy as np

from expander.config.bounds import MOST
from expander.errors import UsageError
from expander.specs.spec import Spec, shown
from expander.video.sampling import Indices, view_indices

Protocol = Literal["expander", "slowfast", "mmaction2", "mmaction2-0.x", "pytorchvideo"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)

TARGET_FPS = 30
"""Frames a second that the strides of the published networks are meant for."""
DIGITS = 20
"""Of a number that is one; longer ones are not even read."""
MMACTION2: tuple[Protocol, ...] = ("mmaction2", "mmaction2-0.x")
"""Both generations: they differ in the clips and in the short side, and share all else."""
MMACTION2_S = (13, 6, 160)
"""Frames, stride and crop of X3D-S, which MMAction2 0.x tests at a short side of its own."""


@dataclass(frozen=True, slots=True)
class Views:
    """clips x crops views of a video; crops: 1 (centre, training crop) or 3 (along the longer side)."""

    clips: int
    crops: int

    def __post_init__(self) -> None:
        if self.clips < 1 or self.crops not in (1, 3):
            raise UsageError(f"views {self}: at least one clip, and 1 or 3 crops")
        if self.clips > MOST["views"].value:
            raise UsageError(f"views {self}: at most {MOST['views'].value:,} clips: {MOST['views'].why}")

    @property
    def count(self) -> int:
        """Views of a video."""
        return self.clips * self.crops

    def __str__(self) -> str:
        return f"{self.clips}x{self.crops}"


def parse_views(text: str) -> Views:
    """`10` (10 clips, centre crop), `30` (10 clips, 3 crops) or `KxM`. Raises UsageError."""
    parts = {"10": "10x1", "30": "10x3"}.get(text, text).split("x")
    if len(parts) != 2 or not all(part.isdecimal() and len(part) < DIGITS for part in parts):
        raise UsageError(f"views {shown(text)}: 10 (10x1), 30 (10x3), or CLIPSxCROPS such as 5x1")
    return Views(int(parts[0]), int(parts[1]))


def parse_protocol(text: str) -> Protocol:
    """One of PROTOCOLS. Raises UsageError."""
    if text not in PROTOCOLS:
        raise UsageError(f"unknown protocol {text!r}; there are {', '.join(PROTOCOLS)}")
    return text


@dataclass(frozen=True, slots=True)
class Canvas:
    """A frame resized to height x width, with squares of `crop` pixels at each (top, left) of `places`."""

    height: int
    width: int
    crop: int
    places: tuple[tuple[int, int], ...]


def clip_frames(protocol: Protocol, clips: int, spec: Spec, length: int, fps: Fraction) -> Indices:
    """(clips, T) frame numbers in a video of `length` frames."""
    if protocol == "expander":
        rows = [view_indices(i, clips, spec.frames, spec.stride, length) for i in range(clips)]
        return np.stack(rows)
    if protocol == "mmaction2-0.x":
        within = spec.stride * np.arange(spec.frames)
        return (_middles(length - spec.frames * spec.stride + 1, clips)[:, None] + within) % length
    span = Fraction(spec.frames * spec.stride, TARGET_FPS)  # seconds
    if protocol == "pytorchvideo":
        return np.array([_within(start, start + span, spec.frames, length, fps)
                         for start in _starts(Fraction(length) / fps - span, clips)])  # fmt: skip
    frames = max(Fraction(1), span * fps)
    steps = _steps(frames - 1, spec.frames)
    room = max(length - frames, Fraction(0))
    if protocol == "slowfast":
        found = [[math.floor(room * i / clips + step) for step in steps] for i in range(clips)]
        return np.array(found).clip(max=length - 1)
    between = math.floor(room / (clips - 1)) if clips > 1 else 0
    first = 0 if clips > 1 else math.floor(room / 2)
    offsets = [first + i * between for i in range(clips)]
    return np.array([[offset + math.floor(step) for step in steps] for offset in offsets]) % length


def _starts(room: Fraction, clips: int) -> list[Fraction]:
    """From 0 to `room` (at least 0), evenly; of one clip: 0."""
    return [i * max(room, Fraction(0)) / max(clips - 1, 1) for i in range(clips)]


def _middles(starts: int, clips: int) -> Indices:
    """The middle of each of `clips` equal shares of the starts 0 to `starts` - 1; where none is, 0."""
    share = max(starts, 0) / clips
    return (np.arange(clips) * share + share / 2).astype(np.int64)


def _steps(reach: Fraction, count: int) -> list[Fraction]:
    """`count` numbers from 0 to `reach`, evenly; of one: 0."""
    return [reach * j / max(count - 1, 1) for j in range(count)]


def _within(start: Fraction, end: Fraction, count: int, length: int, fps: Fraction) -> list[int]:
    """`count` of the frames whose times lie in [start, end), stretched where there are fewer."""
    first = min(math.ceil(start * fps), length - 1)
    last = max(min(math.ceil(end * fps), length) - 1, first)
    return [first + math.floor(step) for step in _steps(Fraction(last - first), count)]


def view_crop(protocol: Protocol, crops: int, spec: Spec) -> int:
    """Height and width of a view, pixels."""
    return spec.crop if crops == 1 else short_side(protocol, spec)


def short_side(protocol: Protocol, spec: Spec) -> int:
    """What the short side of a frame is resized to, pixels."""
    own = protocol == "mmaction2-0.x" and (spec.frames, spec.stride, spec.crop) == MMACTION2_S
    return 192 if own else spec.test_size


def canvas(protocol: Protocol, crops: int, spec: Spec, height: int, width: int) -> Canvas:
    """The views of a frame of height x width, in the protocol's order.

    Three crops: both ends of the longer side and the middle between them.
    """
    size, crop = short_side(protocol, spec), view_crop(protocol, crops, spec)
    low, high = sorted((height, width))
    # MMAction2 rounds the longer side, the others truncate it.
    rounded = (2 * high * size + low) // (2 * low)
    longer = rounded if protocol in MMACTION2 else max(size, high * size // low)
    new = (size, longer) if height <= width else (longer, size)
    return Canvas(*new, crop, _places(protocol, crops, new, crop))


def _places(
    protocol: Protocol, crops: int, size: Sequence[int], crop: int
) -> tuple[tuple[int, int], ...]:
    top, left = (side - crop for side in size)
    down = protocol in MMACTION2
    middle = (top // 2, left // 2) if down else (-(-top // 2), -(-left // 2))
    if crops == 1:
        return (middle,)
    # Rounded down, twice the middle may end a pixel before the end.
    end = (2 * (top // 2), 2 * (left // 2)) if down else (top, left)
    return ((0, 0), end, middle) if down else ((0, 0), middle, end)
