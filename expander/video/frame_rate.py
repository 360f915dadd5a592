"""The frame rate of a video: what its container says where that is right, else by its frames' times.

FFmpeg's average rate of an AVI, a program stream or a transport stream is a guess from the header or from
the first packets: twice the rate for H.264 copied into an AVI, 60000 for DV. The same packets would be
sampled in another way in each container.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from expander.video.jump_proof.random_access import INDEXED

Ticks = Sequence[int]
"""When the frames of a video are shown, in order, in ticks of its time base."""
UNKNOWN = Fraction(30)
"""Frames a second where nothing tells: of pictures, and of raw streams."""
USUAL = (*map(Fraction, (10, 12, 15, 20, 24, 25, 30, 48, 50, 60, 100, 120, 240)),
         *(Fraction(1000 * number, 1001) for number in (24, 30, 48, 60, 120, 240)))  # fmt: skip
"""Rates that cameras have."""
POSSIBLE = tuple(Fraction(number, 2) for number in range(1, 481))
MOST = 1001  # the largest denominator


def of_header(said: Fraction | float | None) -> Fraction:
    """Frames a second that a container says, or UNKNOWN where it says nothing."""
    return Fraction(said or UNKNOWN).limit_denominator(MOST)


def rate(container: Any, stream: Any, ends: Sequence[Fraction], count: int) -> Fraction:
    """Mean frames a second. ends: when the first and the last of `count` frames are shown, in seconds."""
    said = of_header(stream.average_rate or stream.guessed_rate)
    if container.format.name == "avi":
        # Times of H.264 are made from those of the frames before and after; their places are right.
        places = [entry.timestamp for entry in stream.index_entries if entry.size]
        ends, count = [place * stream.time_base for place in (*places[:1], *places[-1:])], len(places)
    if container.format.name in INDEXED:
        return said
    if len(ends) < 2 or ends[1] <= ends[0] or count < 2:
        return said if said <= max(USUAL) else UNKNOWN  # of an AVI, places a second
    span = ends[1] - ends[0]
    measured = (count - 1) / span
    for rates in (USUAL, POSSIBLE):
        nearest = min(rates, key=lambda one: abs(one - measured))
        # Each of the two times may be off by a tick: FLV and WMV count milliseconds, an AVI places.
        if abs(nearest / measured - 1) <= 2 * Fraction(stream.time_base) / span:
            return nearest
    return measured.limit_denominator(MOST)


def resampled(ticks: Ticks, base: Fraction, mean: Fraction) -> tuple[Fraction, list[int] | None]:
    """A constant rate for a video, and for each of its frames then the number of the one that it shows.

    base: seconds a tick. mean: frames a second, of all of it. None for the numbers, and the mean for the
    rate, where every frame is within half a frame of its place at a constant rate already. Otherwise the
    rate is that of most frames, but at most twice the mean: pauses are filled, and frames are lost only where
    most of the time is a pause.
    """
    times = (np.array(ticks, np.float64) - ticks[0]) * float(base) if ticks else np.zeros(0)
    steps = np.diff(times)
    if len(times) < 3 or steps.min() <= 0:  # that say nothing
        return mean, None
    even = np.linspace(0, times[-1], len(times))
    if np.abs(times - even).max() <= even[1] / 2:
        return mean, None
    of_all = (len(times) - 1) / times[-1]
    of_most = 1 / float(np.median(steps))
    fps = min(USUAL, key=lambda one: abs(one - min(of_most, 2 * of_all)))
    count = round(times[-1] * float(fps)) + 1
    shown = np.searchsorted(times, (np.arange(count) + 0.5) / float(fps), side="right") - 1
    return fps, [int(number) for number in shown]
