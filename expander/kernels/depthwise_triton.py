"""Channel-wise convolution of channels-last clips on a GPU, in Triton: forward and both gradients.

One kernel each for 3x3x3 of stride 1 and (1, 2, 2) and for 5x1x1. Memory is (N, T, H, W, C); G and V are
height and width of the result. C = units * UNIT: for large arrays all channels are a constant, else
one that divides them and says how wide a load may be, so that no kernel is compiled anew for the other
channels that every step of a search has. Sums are float32 whatever the tensors are; no atomics and no
order that depends on time, so that results repeat to the bit. Under TRITON_INTERPRET=1 the same code runs
on a CPU.
"""

# Tuples of growing length are a matter of the kernels' compiler.
# mypy: disable-error-code="assignment, misc, no-any-return, var-annotated"

from __future__ import annotations

import math
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

PAIRS = 256
"""Numbers of a program's tile: two for each thread of four warps, so that the taps stay in registers."""
REGISTERS = 128
"""Of a thread: with more, a processor holds fewer programs, and waits for memory."""
STRIPS = (5, 4, 7)
"""Places beside each other that a thread computes; what their neighbours share is loaded once."""
LARGE = 1 << 25
"""Numbers of an array for which a kernel is compiled that knows the channels: faster, but seconds to make."""
WIDEST = 8
"""Channels that one load takes at most."""
LONG_STRIP = 8
"""For convolutions over time alone, where neighbours share nothing but loads in flight pay."""
SIZES = ("T", "H", "W", "G", "V", "segments", "positions", "share", "tiles")
"""Numbers that no kernel is compiled anew for."""
WEIGHT_PROGRAMS = 1056
"""Programs that share the strips of a gradient of a weight: a few for each of a GPU's processors."""


@triton.jit  # type: ignore[untyped-decorator]
def _row(place, inside, first, end, C, COUNT: tl.constexpr):  # type: ignore[no-untyped-def]
    """COUNT places beside each other from `first` on, as far as they lie in 0 to `end`; else zeros."""
    values = ()
    for j in tl.static_range(COUNT):
        mask = inside & ((first + j >= 0) & (first + j < end))[:, None]
        values = values + (tl.load(place + j * C, mask, 0.0).to(tl.float32),)
    return values


@triton.jit(do_not_specialize=SIZES)  # type: ignore[untyped-decorator]
def _forward(  # type: ignore[no-untyped-def]
    x, w, y, T, H, W, G, V, segments, positions, units,
    UNIT: tl.constexpr, KT: tl.constexpr, K: tl.constexpr, S: tl.constexpr, REVERSED: tl.constexpr,
    STRIP: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """A program walks through the frames of BLOCK_P strips of STRIP places each, BLOCK_C channels.

    A frame adds to the results of all frames that see it; the oldest of them is then complete.
    """
    C = units * UNIT
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    p = tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P)
    strip, g, n = p % segments, p // segments % G, p // (segments * G)
    there, channel, v = (p < positions)[:, None], (c < C)[None, :], strip * STRIP
    taps, totals = (), ()
    for k in tl.static_range(KT * K * K):
        place = w + (KT * K * K - 1 - k if REVERSED else k) * C
        taps = taps + (tl.load(place + c, c < C, 0.0).to(tl.float32)[None, :],)
    for _ in tl.static_range(KT * STRIP):
        totals = totals + (tl.zeros((BLOCK_P, BLOCK_C), tl.float32),)
    row, left = g * S - K // 2, v * S - K // 2
    source = x + (n.to(tl.int64) * T * H * W * C + (row * W + left) * C)[:, None] + c[None, :]
    result = y + (n.to(tl.int64) * T * G * V * C + (g * V + v) * C)[:, None] + c[None, :]
    for f in tl.range(T):
        grown = totals
        for kh in tl.static_range(K):
            inside = there & channel & ((row + kh >= 0) & (row + kh < H))[:, None]
            values = _row(source + kh * W * C, inside, left, W, C, S * (STRIP - 1) + K)
            sums = ()
            for o in tl.static_range(KT):  # of the frame f + o - KT // 2 of the result
                for i in tl.static_range(STRIP):
                    total = grown[o * STRIP + i]
                    for kw in tl.static_range(K):
                        total += values[i * S + kw] * taps[((KT - 1 - o) * K + kh) * K + kw]
                    sums = sums + (total,)
            grown = sums
        moved = ()
        for i in tl.static_range(STRIP):
            mask = there & channel & (v + i < tl.where(f >= KT // 2, V, 0))[:, None]
            tl.store(result + (f - KT // 2) * G * V * C + i * C, grown[i].to(y.dtype.element_ty), mask)
        for k in tl.static_range(KT * STRIP):
            moved = moved + (grown[k + STRIP] if k < (KT - 1) * STRIP else tl.zeros_like(grown[k]),)
        totals = moved
        source += H * W * C
    for o in tl.static_range(KT // 2):  # nothing follows that these last frames could see
        for i in tl.static_range(STRIP):
            t = T + o - KT // 2
            mask = there & channel & (v + i < tl.where(t >= 0, V, 0))[:, None]
            tl.store(result + t * G * V * C + i * C, totals[o * STRIP + i].to(y.dtype.element_ty), mask)


@triton.jit(do_not_specialize=SIZES)  # type: ignore[untyped-decorator]
def _scatter(  # type: ignore[no-untyped-def]
    dy, w, dx, T, H, W, G, V, tiles, units,
    UNIT: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """The gradient of the input of 3x3x3 with stride 2. A program: one frame, BLOCK_P squares of 2x2."""
    program = tl.program_id(0)
    C = units * UNIT
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    frame, tile = program // tiles, program % tiles
    t = frame % T
    p = tile * BLOCK_P + tl.arange(0, BLOCK_P)
    g, v = p // V, p % V
    there, channel = p < G * V, (c < C)[None, :]
    below, beside = there & (g + 1 < G), there & (v + 1 < V)
    a = tl.zeros((BLOCK_P, BLOCK_C), tl.float32)
    b, d, e = a, a, a
    for kt in tl.static_range(3):
        source = dy + (frame + 1 - kt).to(tl.int64) * (G * V * C) + p[:, None] * C + c[None, :]
        inside = (p < tl.where((t + 1 - kt >= 0) & (t + 1 - kt < T), G * V, 0))[:, None] & channel
        here = tl.load(source, inside, 0.0).to(tl.float32)
        right = tl.load(source + C, beside[:, None] & inside, 0.0).to(tl.float32)
        down = tl.load(source + V * C, below[:, None] & inside, 0.0).to(tl.float32)
        far = tl.load(source + (V + 1) * C, (below & beside)[:, None] & inside, 0.0).to(tl.float32)
        taps = ()
        for k in tl.static_range(9):
            taps = taps + (tl.load(w + (kt * 9 + k) * C + c, c < C, 0.0).to(tl.float32)[None, :],)
        a += here * taps[4]
        b += here * taps[5] + right * taps[3]
        d += here * taps[7] + down * taps[1]
        e += here * taps[8] + right * taps[6] + down * taps[2] + far * taps[0]
    kind = dx.dtype.element_ty
    place = dx + frame.to(tl.int64) * (H * W * C) + ((g * 2 * W + v * 2) * C)[:, None] + c[None, :]
    low, wide = there & (2 * g + 1 < H), there & (2 * v + 1 < W)
    tl.store(place, a.to(kind), there[:, None] & channel)
    tl.store(place + C, b.to(kind), wide[:, None] & channel)
    tl.store(place + W * C, d.to(kind), low[:, None] & channel)
    tl.store(place + (W + 1) * C, e.to(kind), (low & wide)[:, None] & channel)


@triton.jit(do_not_specialize=SIZES)  # type: ignore[untyped-decorator]
def _weight_gradient(  # type: ignore[no-untyped-def]
    x, dy, parts, positions, share, segments, T, H, W, G, V, units,
    UNIT: tl.constexpr, KT: tl.constexpr, K: tl.constexpr, S: tl.constexpr,
    STRIP: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """parts (programs, C, KT * K * K). A program: all frames of its share of strips, all taps."""
    program = tl.program_id(0)
    C = units * UNIT
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    channel = (c < C)[None, :]
    sums = ()
    for _ in tl.static_range(KT * K * K):
        sums = sums + (tl.zeros((BLOCK_P, BLOCK_C), tl.float32),)
    for start in tl.range(program * share, tl.minimum((program + 1) * share, positions), BLOCK_P):
        p = start + tl.arange(0, BLOCK_P)
        strip, g, n = p % segments, p // segments % G, p // (segments * G)
        there, v = (p < positions)[:, None] & channel, strip * STRIP
        row, left = g * S - K // 2, v * S - K // 2
        source = x + (n.to(tl.int64) * T * H * W * C + (row * W + left) * C)[:, None] + c[None, :]
        result = dy + (n.to(tl.int64) * T * G * V * C + (g * V + v) * C)[:, None] + c[None, :]
        upstream = ()
        for kt in tl.static_range(KT):  # the frame of the result that reads frame -1 by tap kt
            t = KT // 2 - 1 - kt
            end = tl.where((t >= 0) & (t < T), V, 0)
            upstream = upstream + _row(result + t * G * V * C, there, v, end, C, STRIP)
        for f in tl.range(T):
            end = tl.where(f + KT // 2 < T, V, 0)
            moved = _row(result + (f + KT // 2) * G * V * C, there, v, end, C, STRIP)
            for k in tl.static_range((KT - 1) * STRIP):
                moved = moved + (upstream[k],)
            upstream = moved
            grown = ()
            for kh in tl.static_range(K):
                inside = there & ((row + kh >= 0) & (row + kh < H))[:, None]
                values = _row(source + kh * W * C, inside, left, W, C, S * (STRIP - 1) + K)
                for kt in tl.static_range(KT):
                    for kw in tl.static_range(K):
                        total = sums[(kh * KT + kt) * K + kw]
                        for i in tl.static_range(STRIP):
                            total += values[i * S + kw] * upstream[kt * STRIP + i]
                        grown = grown + (total,)
            sums = grown
            source += H * W * C
    to = parts + (program * C + c) * (KT * K * K)
    for kh in tl.static_range(K):
        for kt in tl.static_range(KT):
            for kw in tl.static_range(K):
                tap = tl.sum(sums[(kh * KT + kt) * K + kw], 0)
                tl.store(to + (kt * K + kh) * K + kw, tap, c < C)


def _unit(x_NTHWC: Tensor) -> int:
    """All channels, as a constant, where the work repays compiling; else the most that one load takes."""
    channels = x_NTHWC.shape[-1]
    return channels if x_NTHWC.numel() >= LARGE else math.gcd(channels, WIDEST)


def _strip(places: int, size: int) -> int:
    """Places of a strip: the longest of those that leave the fewest idle."""
    if size == 1:
        return LONG_STRIP
    return min(STRIPS, key=lambda strip: -(-places // strip) * strip)


def _blocks(channels: int, places: int, size: int, blocks: dict[str, int]) -> dict[str, int]:
    """A program's tile."""
    width = min(64, triton.next_power_of_2(channels))
    chosen = {"STRIP": _strip(places, size), "BLOCK_P": PAIRS // width, "BLOCK_C": width, "num_warps": 4}
    return {**chosen, "maxnreg": REGISTERS, **blocks}


def _taps(weight: Tensor) -> Tensor:
    """(C, 1, KT, K, K) -> (taps, C)."""
    return weight.detach().flatten(1).t().contiguous()


def forward(x_NTHWC: Tensor, weight: Tensor, stride: int, reverse: bool = False, **blocks: int) -> Tensor:
    """Convolve contiguous clips with `weight` (C, 1, 3, 3, 3) or (C, 1, 5, 1, 1), padded to keep T.

    reverse: with the reversed kernel: at stride 1 it makes the gradient of the input of that of the result.
    """
    n, t, h, w, c = x_NTHWC.shape
    depth, size = weight.shape[2:4]
    y = x_NTHWC.new_empty(n, t, (h - 1) // stride + 1, (w - 1) // stride + 1, c)
    g, v = y.shape[2:4]
    chosen = _blocks(c, v, size, blocks)
    segments = triton.cdiv(v, chosen["STRIP"])
    positions = n * g * segments
    grid: Any = triton.cdiv(positions, chosen["BLOCK_P"]), triton.cdiv(c, chosen["BLOCK_C"])
    unit = _unit(x_NTHWC)
    sizes = t, h, w, g, v, segments, positions, c // unit
    kinds = {"UNIT": unit, "KT": depth, "K": size, "S": stride, "REVERSED": reverse}
    _forward[grid](x_NTHWC, _taps(weight), y, *sizes, **kinds, **chosen)
    return y


def input_gradient(
    dy_NTGVC: Tensor, weight: Tensor, stride: int, height: int, width: int, **blocks: int
) -> Tensor:
    """The gradient of the clips (N, T, height, width, C)."""
    if stride == 1:
        return forward(dy_NTGVC, weight, 1, reverse=True, **blocks)
    n, t, g, v, c = dy_NTGVC.shape
    dx = dy_NTGVC.new_empty(n, t, height, width, c)
    channels = min(64, triton.next_power_of_2(c))
    chosen = {"BLOCK_P": 16, "BLOCK_C": channels, "num_warps": 4, **blocks}
    tiles = triton.cdiv(g * v, chosen["BLOCK_P"])
    grid: Any = n * t * tiles, triton.cdiv(c, chosen["BLOCK_C"])
    unit = _unit(dx)
    sizes = t, height, width, g, v, tiles, c // unit
    _scatter[grid](dy_NTGVC, _taps(weight), dx, *sizes, UNIT=unit, **chosen)
    return dx


def weight_gradient(x_NTHWC: Tensor, dy_NTGVC: Tensor, weight: Tensor, stride: int, **blocks: int) -> Tensor:
    """The gradient of `weight`, of its shape and kind."""
    n, t, h, w, c = x_NTHWC.shape
    depth, size, (g, v) = weight.shape[2], weight.shape[3], dy_NTGVC.shape[2:4]
    chosen = _blocks(c, v, size, blocks)
    segments, channels = triton.cdiv(v, chosen["STRIP"]), triton.cdiv(c, chosen["BLOCK_C"])
    positions = n * g * segments
    most = max(1, chosen.pop("programs", WEIGHT_PROGRAMS) // channels)
    share = triton.cdiv(triton.cdiv(positions, most), chosen["BLOCK_P"]) * chosen["BLOCK_P"]
    programs = triton.cdiv(positions, share)
    parts = x_NTHWC.new_empty((programs, *weight.shape), dtype=torch.float32)
    unit = _unit(x_NTHWC)
    sizes = positions, share, segments, t, h, w, g, v, c // unit
    kinds = {"UNIT": unit, "KT": depth, "K": size, "S": stride}
    grid: Any = programs, channels
    _weight_gradient[grid](x_NTHWC, dy_NTGVC, parts, *sizes, **kinds, **chosen)
    return parts.sum(0).to(weight.dtype)
