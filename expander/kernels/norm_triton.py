"""Batch norm, activation and what lies between them, on a GPU, in Triton: each array is read once a pass.

Clips are contiguous (N, T, H, W, C), seen as (N, R, L): R rows of L numbers a clip, L = C times a few
places, so that rows fill whole loads; L = units * UNIT tells the compiler how wide a load may be. Four
passes make a layer: `_moments` and `_affine` forward, `_sums` and `_gradient` backward; between them
`_settle` and `_settle_back` turn the sums of all programs into tables of C channels. Tables are float32,
(N, C) or with a step of 0 from clip to clip. Sums have a fixed order: results repeat to the bit. Under
TRITON_INTERPRET=1 the same code runs on a CPU.

    u = a * x + b [+ rest],  y = act(u),  a, b of clip and channel
    du = dy * act'(u),  dx = p * du + q * (x - mean) + r,  p and r of clip and channel, q of channel
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from __future__ import annotations

import triton
import triton.language as tl

NONE, RELU, SILU = 0, 1, 2
SIZES = ("R", "share", "step", "C", "units", "rows", "values", "share_new", "eps")
"""Numbers that no kernel is compiled anew for."""
TABLES = ("table", "parts", "found", "weight", "bias", "mean", "a", "b", "p", "q", "r_")
"""Arrays of channels: rows of tables begin anywhere, and no kernel is compiled anew for where."""
compiled = triton.jit(do_not_specialize=SIZES, do_not_specialize_on_alignment=TABLES)


@triton.jit
def _keep(parts, first, second, lane, L):
    """Both sums of a program, over its rows, to its place in parts (2, N, chunks, L)."""
    chunks, clips = tl.num_programs(0), tl.num_programs(1)
    to = parts + (tl.program_id(1) * chunks + tl.program_id(0)) * L + lane
    tl.store(to, tl.sum(first, 0), lane < L)
    tl.store(to + clips * chunks * L, tl.sum(second, 0), lane < L)


@triton.jit
def _totals(parts, rows, C, c, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr):
    """Both sums of parts (2, rows, C) over the rows, for channels c."""
    first = tl.zeros((BLOCK_R, BLOCK_C), tl.float32)
    second = first
    for start in tl.range(0, rows, BLOCK_R):
        r = start + tl.arange(0, BLOCK_R)
        place = parts + (r * C)[:, None] + c[None, :]
        mask = (r < rows)[:, None] & (c < C)[None, :]
        first += tl.load(place, mask, 0.0)
        second += tl.load(place + rows * C, mask, 0.0)
    return tl.sum(first, 0), tl.sum(second, 0)


@compiled
def _moments(x, parts, R, share, C, units, UNIT: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_L: tl.constexpr):
    """parts (2, N, chunks, L): sums of x and of its squares, both less the first number of the channel."""
    L = units * UNIT
    lane = tl.program_id(2) * BLOCK_L + tl.arange(0, BLOCK_L)
    pivot = tl.load(x + lane % C).to(tl.float32)[None, :]
    first = tl.program_id(0) * share
    clip = x + tl.program_id(1).to(tl.int64) * R * L
    total = tl.zeros((BLOCK_R, BLOCK_L), tl.float32)
    square = total
    for start in tl.range(first, tl.minimum(first + share, R), BLOCK_R):
        r = start + tl.arange(0, BLOCK_R)
        there = (r < R)[:, None] & (lane < L)[None, :]
        value = tl.load(clip + (r * L)[:, None] + lane[None, :], there, 0.0).to(tl.float32)
        value = tl.where(there, value - pivot, 0.0)
        total += value
        square += value * value
    _keep(parts, total, square, lane, L)


@compiled
def _settle(
    x, parts, weight, bias, running_mean, running_var, table, rows, values, share_new, eps, C,
    BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """table (4, C): mean, 1 / deviation, a, b, from parts (2, rows, C). The running statistics move on."""
    c = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    there = c < C
    total, square = _totals(parts, rows, C, c, BLOCK_R, BLOCK_C)
    moved = total / values
    var = tl.maximum(square / values - moved * moved, 0.0)
    mean = moved + tl.load(x + c, there, 0.0).to(tl.float32)
    old = tl.load(running_mean + c, there, 0.0)
    tl.store(running_mean + c, old + share_new * (mean - old), there)
    old = tl.load(running_var + c, there, 0.0)
    tl.store(running_var + c, old + share_new * (var * values / (values - 1) - old), there)
    rate = 1 / tl.sqrt(var + eps)
    a = tl.load(weight + c, there, 0.0) * rate
    tl.store(table + c, mean, there)
    tl.store(table + C + c, rate, there)
    tl.store(table + 2 * C + c, a, there)
    tl.store(table + 3 * C + c, tl.load(bias + c, there, 0.0) - a * mean, there)


@triton.jit
def _act(u, ACT: tl.constexpr):
    if ACT == 1:
        u = tl.maximum(u, 0.0)
    elif ACT == 2:
        u = u * tl.sigmoid(u)
    return u


@triton.jit
def _through(dy, u, ACT: tl.constexpr):
    """dy * act'(u)."""
    if ACT == 1:
        dy = tl.where(u > 0, dy, 0.0)
    elif ACT == 2:
        s = tl.sigmoid(u)
        dy = dy * s * (1 + u * (1 - s))
    return dy


@compiled
def _affine(
    x, a, b, rest, y, R, step, C, units, UNIT: tl.constexpr, ACT: tl.constexpr, REST: tl.constexpr,
    BLOCK_R: tl.constexpr, BLOCK_L: tl.constexpr,
):  # fmt: skip
    """y = act(a * x + b [+ rest]). step: from one clip's row of a and b to the next."""
    L = units * UNIT
    lane = tl.program_id(2) * BLOCK_L + tl.arange(0, BLOCK_L)
    r, n = tl.program_id(0) * BLOCK_R + tl.arange(0, BLOCK_R), tl.program_id(1)
    there = (r < R)[:, None] & (lane < L)[None, :]
    place = n.to(tl.int64) * R * L + (r * L)[:, None] + lane[None, :]
    row = n * step + lane % C
    u = tl.load(x + place, there, 0.0).to(tl.float32) * tl.load(a + row)[None, :] + tl.load(b + row)[None, :]
    if REST:
        u += tl.load(rest + place, there, 0.0).to(tl.float32)
    tl.store(y + place, _act(u, ACT).to(y.dtype.element_ty), there)


@compiled
def _sums(
    dy, x, y, mean, a, b, du, parts, R, share, step, C, units,
    UNIT: tl.constexpr, ACT: tl.constexpr, REST: tl.constexpr,
    BLOCK_R: tl.constexpr, BLOCK_L: tl.constexpr,
):  # fmt: skip
    """parts (2, N, chunks, L): sums of du and of du * (x - mean). REST: by the sign of y, and du is kept."""
    L = units * UNIT
    lane, n = tl.program_id(2) * BLOCK_L + tl.arange(0, BLOCK_L), tl.program_id(1)
    row = n * step + lane % C
    scale, shift = tl.load(a + row)[None, :], tl.load(b + row)[None, :]
    centre = tl.load(mean + lane % C)[None, :]
    first = tl.program_id(0) * share
    total = tl.zeros((BLOCK_R, BLOCK_L), tl.float32)
    moment = total
    for start in tl.range(first, tl.minimum(first + share, R), BLOCK_R):
        r = start + tl.arange(0, BLOCK_R)
        there = (r < R)[:, None] & (lane < L)[None, :]
        place = n.to(tl.int64) * R * L + (r * L)[:, None] + lane[None, :]
        value = tl.load(x + place, there, 0.0).to(tl.float32)
        upstream = tl.load(dy + place, there, 0.0).to(tl.float32)
        if REST:
            upstream = _through(upstream, tl.load(y + place, there, 0.0).to(tl.float32), ACT)
            tl.store(du + place, upstream.to(du.dtype.element_ty), there)
        else:
            upstream = _through(upstream, value * scale + shift, ACT)
        total += upstream
        moment += upstream * (value - centre)
    _keep(parts, total, moment, lane, L)


@compiled
def _settle_back(
    parts, table, found, rows, values, C, BATCH: tl.constexpr,
    BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """found (4, C): gradients of weight and bias, q, r, from parts (2, rows, C). BATCH: in training."""
    c = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    there = c < C
    added, moved = _totals(parts, rows, C, c, BLOCK_R, BLOCK_C)
    rate, a = tl.load(table + C + c, there, 0.0), tl.load(table + 2 * C + c, there, 0.0)
    tl.store(found + c, moved * rate, there)
    tl.store(found + C + c, added, there)
    whole = values if BATCH else float("inf")
    tl.store(found + 2 * C + c, -a * rate * rate * moved / whole, there)
    tl.store(found + 3 * C + c, -a * added / whole, there)


@compiled
def _gradient(
    dy, x, mean, a, b, p, q, r_, dx, R, step, C, units,
    UNIT: tl.constexpr, ACT: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_L: tl.constexpr,
):  # fmt: skip
    """dx = p * du + q * (x - mean) + r."""
    L = units * UNIT
    lane = tl.program_id(2) * BLOCK_L + tl.arange(0, BLOCK_L)
    r, n = tl.program_id(0) * BLOCK_R + tl.arange(0, BLOCK_R), tl.program_id(1)
    there = (r < R)[:, None] & (lane < L)[None, :]
    place = n.to(tl.int64) * R * L + (r * L)[:, None] + lane[None, :]
    channel, row = lane % C, n * step + lane % C
    value = tl.load(x + place, there, 0.0).to(tl.float32)
    upstream = tl.load(dy + place, there, 0.0).to(tl.float32)
    upstream = _through(upstream, value * tl.load(a + row)[None, :] + tl.load(b + row)[None, :], ACT)
    grown = (value - tl.load(mean + channel)[None, :]) * tl.load(q + channel)[None, :]
    grown += upstream * tl.load(p + row)[None, :] + tl.load(r_ + row)[None, :]
    tl.store(dx + place, grown.to(dx.dtype.element_ty), there)
