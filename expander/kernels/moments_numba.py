"""Mean and deviations of every frame of clips on a CPU: parts of the kernels that come before a norm."""

from __future__ import annotations

from expander.kernels.compilation import inlined
from expander.kernels.vectors import WIDTH, load, store

CHUNK = 32  # positions that stay in the nearest cache


@inlined
def clear(sums, start, count):  # type: ignore[no-untyped-def]
    """Zeros in `count` places from `start`."""
    for place in range(start, start + count):
        sums[place] = 0.0


@inlined
def add_moments(y, sums, start, count, first, frame, C):  # type: ignore[no-untyped-def]
    """Add `count` positions of y from `start` to the sums (F, 2, C) of y - y[first] and its square."""
    for c in range(0, C, WIDTH):
        n, place = min(WIDTH, C - c), frame * 2 * C + c
        origin = load(y, first * C + c, n)
        total, squares = load(sums, place, n), load(sums, place + C, n)
        for position in range(start, start + count):
            value = load(y, position * C + c, n) - origin
            total = total + value
            squares = squares + value * value
        store(sums, place, n, total)
        store(sums, place + C, n, squares)


@inlined
def settle_moments(y, sums, first, frame, count, C):  # type: ignore[no-untyped-def]
    """The sums of a frame of `count` positions become its mean and its sum of squared deviations."""
    for place in range(frame * 2 * C, frame * 2 * C + C):
        total = sums[place]
        sums[place] = y[first * C + place - frame * 2 * C] + total / count
        sums[place + C] -= total * total / count
