"""Batch norm and what follows it on a CPU, as kernels for numba: each reads its arrays once.

Arrays are flat memory of (F, P, C): frames, positions, channels; sums of (F, 2, C). A norm is a table
of (6, C): mean, inverse standard deviation, scale, shift (the norm as one multiply-add), and the
multiply-add whose sign tells where the ReLU let values pass. Work item: a frame. Positions are walked
in chunks that stay in the nearest cache, channels in vectors. `settle_norm` and the kernels after it
finish small sums, in float64, and have no work items.
"""

from __future__ import annotations

import math

from expander.kernels.compilation import compiled, inlined
from expander.kernels.moments_numba import CHUNK, add_moments, clear, settle_moments
from expander.kernels.vectors import WIDTH, at_least, exp, load, spread, store, where_positive


@compiled
def moments(x, sums, P, C, start, stop):  # type: ignore[no-untyped-def]
    """sums = mean and sum of squared deviations of every frame and channel."""
    clear(sums, start * 2 * C, (stop - start) * 2 * C)
    for frame in range(start, stop):
        first = frame * P
        for chunk in range(first, first + P, CHUNK):
            add_moments(x, sums, chunk, min(CHUNK, first + P - chunk), first, frame, C)
        settle_moments(x, sums, first, frame, P, C)


@compiled
def affine(x, table, rest, floor, y, P, C, start, stop):  # type: ignore[no-untyped-def]
    """y = max(floor, x * scale + shift + rest), where `rest` may be empty; y may be x."""
    for chunk in range(start * P, stop * P, CHUNK):
        for c in range(0, C, WIDTH):
            n = min(WIDTH, C - c)
            more = n if len(rest) > 0 else 0
            a, b, low = load(table, 2 * C + c, n), load(table, 3 * C + c, n), spread(x, floor)
            for position in range(chunk, min(chunk + CHUNK, stop * P)):
                place = position * C + c
                total = load(x, place, n) * a + b + load(rest, place, more)
                store(y, place, n, at_least(total, low))


@compiled
def gated_silu(x, table, gates, y, per, P, C, start, stop):  # type: ignore[no-untyped-def]
    """y = silu(gate * (x * scale + shift)), a row of gates (·, C) for `per` frames each; y may be x."""
    for frame in range(start, stop):
        for chunk in range(frame * P, (frame + 1) * P, CHUNK):
            for c in range(0, C, WIDTH):
                n = min(WIDTH, C - c)
                gate, one, zero = load(gates, frame // per * C + c, n), spread(x, 1.0), spread(x, 0.0)
                a, b = load(table, 2 * C + c, n) * gate, load(table, 3 * C + c, n) * gate
                for position in range(chunk, min(chunk + CHUNK, (frame + 1) * P)):
                    place = position * C + c
                    v = load(x, place, n) * a + b
                    store(y, place, n, v / (one + exp(zero - v)))


@compiled
def relu_sums(dy, m, table, x, sums, P, C, start, stop):  # type: ignore[no-untyped-def]
    """sums of d and d * (x - mean); d is dy where the ReLU let values pass (told by m), else 0."""
    clear(sums, start * 2 * C, (stop - start) * 2 * C)
    for frame in range(start, stop):
        for chunk in range(frame * P, (frame + 1) * P, CHUNK):
            for c in range(0, C, WIDTH):
                n, to = min(WIDTH, C - c), frame * 2 * C + c
                mean, a, b = load(table, c, n), load(table, 4 * C + c, n), load(table, 5 * C + c, n)
                first, second = load(sums, to, n), load(sums, to + C, n)
                for position in range(chunk, min(chunk + CHUNK, (frame + 1) * P)):
                    place = position * C + c
                    d = where_positive(load(m, place, n) * a + b, load(dy, place, n))
                    first = first + d
                    second = second + d * (load(x, place, n) - mean)
                store(sums, to, n, first)
                store(sums, to + C, n, second)


@compiled
def relu_gradient(dy, m, table, x, k, dx, kept, P, C, start, stop):  # type: ignore[no-untyped-def]
    """dx = d * scale + x * kx + k1 with d as in `relu_sums`; kept = d, if it has room for it.

    k (4, C): gradients of weight and bias, kx, k1.
    """
    for chunk in range(start * P, stop * P, CHUNK):
        for c in range(0, C, WIDTH):
            n = min(WIDTH, C - c)
            a, b, scale = load(table, 4 * C + c, n), load(table, 5 * C + c, n), load(table, 2 * C + c, n)
            kx, k1, keep = load(k, 2 * C + c, n), load(k, 3 * C + c, n), n if len(kept) > 0 else 0
            for position in range(chunk, min(chunk + CHUNK, stop * P)):
                place = position * C + c
                d = where_positive(load(m, place, n) * a + b, load(dy, place, n))
                store(kept, place, keep, d)
                store(dx, place, n, d * scale + load(x, place, n) * kx + k1)


@compiled
def silu_sums(dy, x, table, gates, dv, sums, per, P, C, start, stop):  # type: ignore[no-untyped-def]
    """dv = dy * silu'(v) with v as in `gated_silu`; the sums of dv and dv * (x - mean)."""
    clear(sums, start * 2 * C, (stop - start) * 2 * C)
    for frame in range(start, stop):
        for chunk in range(frame * P, (frame + 1) * P, CHUNK):
            for c in range(0, C, WIDTH):
                n, to = min(WIDTH, C - c), frame * 2 * C + c
                gate, mean = load(gates, frame // per * C + c, n), load(table, c, n)
                a, b = load(table, 2 * C + c, n) * gate, load(table, 3 * C + c, n) * gate
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
                    second = second + d * (value - mean)
                store(sums, to, n, first)
                store(sums, to + C, n, second)


@compiled
def silu_gradient(x, table, gates, k, rows, dv, per, P, C, start, stop):  # type: ignore[no-untyped-def]
    """dv becomes dx = dv * scale * gate + x * kx + its clip's row of `rows`; k as in `relu_gradient`."""
    for frame in range(start, stop):
        row = frame // per * C
        for chunk in range(frame * P, (frame + 1) * P, CHUNK):
            for c in range(0, C, WIDTH):
                n = min(WIDTH, C - c)
                kd = load(table, 2 * C + c, n) * load(gates, row + c, n)
                kx, k1 = load(k, 2 * C + c, n), load(rows, row + c, n)
                for position in range(chunk, min(chunk + CHUNK, (frame + 1) * P)):
                    place = position * C + c
                    store(dv, place, n, load(dv, place, n) * kd + load(x, place, n) * kx + k1)


@compiled
def settle_norm(found, weight, bias, mean, variance, momentum, eps, batch, mask, P, table, start, stop):  # type: ignore[no-untyped-def]
    """The table of a norm. batch: of the moments `found`, and the running mean and variance move on.

    mask: what tells where the ReLU let values pass: 0 the norm itself, 1 the result, 2 no ReLU.
    """
    C = len(weight)
    frames = len(found) // (2 * C)
    for c in range(start, stop):
        centre, spread_ = float(mean[c]), float(variance[c])
        if batch:
            centre, squares = 0.0, 0.0
            for frame in range(frames):
                centre += found[frame * 2 * C + c] / frames
            for frame in range(frames):
                off = found[frame * 2 * C + c] - centre
                squares += found[frame * 2 * C + C + c] + P * off * off
            spread_ = squares / (frames * P)
            mean[c] += momentum * (centre - mean[c])
            variance[c] += momentum * (squares / (frames * P - 1) - variance[c])
        inverse = 1 / math.sqrt(spread_ + eps)
        scale = weight[c] * inverse
        table[c], table[C + c] = centre, inverse
        table[2 * C + c], table[3 * C + c] = scale, bias[c] - centre * scale
        table[4 * C + c] = scale if mask == 0 else 1 if mask == 1 else 0
        table[5 * C + c] = table[3 * C + c] if mask == 0 else 0 if mask == 1 else 1


@inlined
def settle_gradient(total, moment, table, count, batch, c, C, k):  # type: ignore[no-untyped-def]
    """Column c of k (see `relu_gradient`) from the sums of the gradient and its product with x - mean."""
    inverse, scale = table[C + c], table[2 * C + c]
    k[c], k[C + c] = moment * inverse, total
    kx = -scale * inverse * inverse * moment / count if batch else 0.0
    k[2 * C + c] = kx
    k[3 * C + c] = -scale * total / count - kx * table[c] if batch else 0.0


@compiled
def settle_relu(sums, table, batch, P, k, start, stop):  # type: ignore[no-untyped-def]
    """k of `relu_gradient` from the sums of `relu_sums`."""
    C = len(k) // 4
    frames = len(sums) // (2 * C)
    for c in range(start, stop):
        total, moment = 0.0, 0.0
        for frame in range(frames):
            total += sums[frame * 2 * C + c]
            moment += sums[frame * 2 * C + C + c]
        settle_gradient(total, moment, table, frames * P, batch, c, C, k)


@compiled
def squeeze(found, table, per, C, means, squeezed, start, stop):  # type: ignore[no-untyped-def]
    """The mean of every clip before the norm and after it, (N, C) each."""
    for clip in range(start, stop):
        for c in range(C):
            total = 0.0
            for frame in range(clip * per, (clip + 1) * per):
                total += found[frame * 2 * C + c]
            means[clip * C + c] = total / per
            squeezed[clip * C + c] = total / per * table[2 * C + c] + table[3 * C + c]


@compiled
def gate_gradient(sums, table, bias, per, C, totals, dgates, start, stop):  # type: ignore[no-untyped-def]
    """The gradient of every clip's gates (N, C), and its totals (N, 2, C) of the sums of `silu_sums`."""
    for clip in range(start, stop):
        for c in range(C):
            total, moment = 0.0, 0.0
            for frame in range(clip * per, (clip + 1) * per):
                total += sums[frame * 2 * C + c]
                moment += sums[frame * 2 * C + C + c]
            totals[clip * 2 * C + c], totals[clip * 2 * C + C + c] = total, moment
            dgates[clip * C + c] = table[2 * C + c] * moment + bias[c] * total


@compiled
def settle_silu(totals, table, gates, means, dmeans, batch, per, P, k, rows, start, stop):  # type: ignore[no-untyped-def]
    """k and the clips' rows of `silu_gradient` from the totals of clips; dmeans: of what was squeezed."""
    C = len(k) // 4
    clips = len(gates) // C
    for c in range(start, stop):
        total, moment = 0.0, 0.0
        for clip in range(clips):
            gate, dmean = gates[clip * C + c], dmeans[clip * C + c]
            total += gate * totals[clip * 2 * C + c] + dmean
            moment += gate * totals[clip * 2 * C + C + c] + dmean * (means[clip * C + c] - table[c])
        settle_gradient(total, moment, table, clips * per * P, batch, c, C, k)
        for clip in range(clips):
            rows[clip * C + c] = table[2 * C + c] * dmeans[clip * C + c] / (per * P) + k[3 * C + c]
