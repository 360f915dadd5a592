"""Batch norm and what follows it on a CPU, as kernels for numba: each reads its arrays once.

Arrays are flat memory of (F, P, C): frames, positions, channels; sums of (F, 2, C). scale, shift and
the other coefficients are of (rows, C), a row for `per` frames each (per = F: one for all). A work
item is a frame. Positions are walked in chunks that stay in the nearest cache, channels in vectors.
"""

from __future__ import annotations

from expander.model.compiled import compiled
from expander.model.kernels_depthwise import add_moments, settle_moments
from expander.model.lanes import WIDTH, at_least, exp, load, spread, store, where_positive

CHUNK = 32  # positions


@compiled
def moments(x, sums, P, C, start, stop):  # type: ignore[no-untyped-def]
    """sums = mean and sum of squared deviations of every frame and channel; zeros before."""
    for frame in range(start, stop):
        first = frame * P
        for chunk in range(first, first + P, CHUNK):
            add_moments(x, sums, chunk, min(CHUNK, first + P - chunk), first, frame, C)
        settle_moments(x, sums, first, frame, P, C)


@compiled
def affine(x, scale, shift, floor, y, P, C, start, stop):  # type: ignore[no-untyped-def]
    """y = max(floor, x * scale + shift); y may be x."""
    for chunk in range(start * P, stop * P, CHUNK):
        for c in range(0, C, WIDTH):
            n = min(WIDTH, C - c)
            a, b, low = load(scale, c, n), load(shift, c, n), spread(x, floor)
            for position in range(chunk, min(chunk + CHUNK, stop * P)):
                place = position * C + c
                store(y, place, n, at_least(load(x, place, n) * a + b, low))


@compiled
def affine_add(x, scale, shift, rest, y, P, C, start, stop):  # type: ignore[no-untyped-def]
    """y = relu(x * scale + shift + rest); y may be x."""
    for chunk in range(start * P, stop * P, CHUNK):
        for c in range(0, C, WIDTH):
            n = min(WIDTH, C - c)
            a, b, zero = load(scale, c, n), load(shift, c, n), spread(x, 0.0)
            for position in range(chunk, min(chunk + CHUNK, stop * P)):
                place = position * C + c
                total = load(x, place, n) * a + b + load(rest, place, n)
                store(y, place, n, at_least(total, zero))


@compiled
def affine_silu(x, scale, shift, y, per, P, C, start, stop):  # type: ignore[no-untyped-def]
    """y = silu(x * scale + shift); y may be x."""
    for frame in range(start, stop):
        row = frame // per * C
        for chunk in range(frame * P, (frame + 1) * P, CHUNK):
            for c in range(0, C, WIDTH):
                n = min(WIDTH, C - c)
                a, b = load(scale, row + c, n), load(shift, row + c, n)
                one, zero = spread(x, 1.0), spread(x, 0.0)
                for position in range(chunk, min(chunk + CHUNK, (frame + 1) * P)):
                    place = position * C + c
                    v = load(x, place, n) * a + b
                    store(y, place, n, v / (one + exp(zero - v)))


@compiled
def relu_sums(dy, m, scale, shift, x, centre, sums, P, C, start, stop):  # type: ignore[no-untyped-def]
    """sums of d and d * (x - centre), where d is dy where m * scale + shift is positive, else 0."""
    for frame in range(start, stop):
        for chunk in range(frame * P, (frame + 1) * P, CHUNK):
            for c in range(0, C, WIDTH):
                n, to = min(WIDTH, C - c), frame * 2 * C + c
                a, b, middle = load(scale, c, n), load(shift, c, n), load(centre, c, n)
                first, second = load(sums, to, n), load(sums, to + C, n)
                for position in range(chunk, min(chunk + CHUNK, (frame + 1) * P)):
                    place = position * C + c
                    d = where_positive(load(m, place, n) * a + b, load(dy, place, n))
                    first = first + d
                    second = second + d * (load(x, place, n) - middle)
                store(sums, to, n, first)
                store(sums, to + C, n, second)


@compiled
def relu_gradient(dy, m, scale, shift, x, k, kx, k1, dx, kept, P, C, start, stop):  # type: ignore[no-untyped-def]
    """dx = d * k + x * kx + k1 with d as in `relu_sums`; kept = d, if it has room for it."""
    for chunk in range(start * P, stop * P, CHUNK):
        for c in range(0, C, WIDTH):
            n = min(WIDTH, C - c)
            a, b, ka, kb, kc = load(scale, c, n), load(shift, c, n), load(k, c, n), load(kx, c, n), load(k1, c, n)
            keep = n if len(kept) > 0 else 0
            for position in range(chunk, min(chunk + CHUNK, stop * P)):
                place = position * C + c
                d = where_positive(load(m, place, n) * a + b, load(dy, place, n))
                store(kept, place, keep, d)
                store(dx, place, n, d * ka + load(x, place, n) * kb + kc)


@compiled
def silu_sums(dy, x, scale, shift, centre, dv, sums, per, P, C, start, stop):  # type: ignore[no-untyped-def]
    """dv = dy * silu'(x * scale + shift); the sums of dv and dv * (x - centre). dv may be dy."""
    for frame in range(start, stop):
        row = frame // per * C
        for chunk in range(frame * P, (frame + 1) * P, CHUNK):
            for c in range(0, C, WIDTH):
                n, to = min(WIDTH, C - c), frame * 2 * C + c
                a, b, middle = load(scale, row + c, n), load(shift, row + c, n), load(centre, c, n)
                first, second = load(sums, to, n), load(sums, to + C, n)
                one, zero = spread(x, 1.0), spread(x, 0.0)
                for position in range(chunk, min(chunk + CHUNK, (frame + 1) * P)):
                    place = position * C + c
                    value = load(x, place, n)
                    v = value * a + b
                    s = one / (one + exp(zero - v))
                    d = load(dy, place, n) * s * (one + v * (one - s))
                    store(dv, place, n, d)
                    first = first + d
                    second = second + d * (value - middle)
                store(sums, to, n, first)
                store(sums, to + C, n, second)


@compiled
def combine(d, x, k, kx, k1, dx, per, P, C, start, stop):  # type: ignore[no-untyped-def]
    """dx = d * k + x * kx + k1; dx may be d."""
    for frame in range(start, stop):
        row = frame // per * C
        for chunk in range(frame * P, (frame + 1) * P, CHUNK):
            for c in range(0, C, WIDTH):
                n = min(WIDTH, C - c)
                ka, kb, kc = load(k, row + c, n), load(kx, c, n), load(k1, row + c, n)
                for position in range(chunk, min(chunk + CHUNK, (frame + 1) * P)):
                    place = position * C + c
                    store(dx, place, n, load(d, place, n) * ka + load(x, place, n) * kb + kc)
