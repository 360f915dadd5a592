"""Channel-wise convolution of channels-last clips on a GPU, in Triton: forward and both gradients.

One kernel each for 3x3x3 of stride 1 and (1, 2, 2) and for 5x1x1. Memory is (N, T, H, W, C); G and V are
height and width of the result. Taps and channels are compile-time constants: C tells the compiler how
wide a load may be, where a number known at run time allows only single numbers. Sums are float32
whatever the tensors are; no atomics and no order that depends on time, so that results repeat to the
bit. Under TRITON_INTERPRET=1 the same code runs on a CPU.
"""

# Tuples of growing length are a matter of the kernels' compiler.
# mypy: disable-error-code="assignment, misc, no-any-return, var-annotated"

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

FRAMES = 13
"""Frames of the result that a program computes at most: each frame that it loads serves all their taps."""
MANY_FRAMES = 8
"""More than these leave registers for half as many places."""
SIZES = ("T", "H", "W", "G", "V", "chunks", "tiles", "positions", "share")
"""Numbers that no kernel is compiled anew for."""
WEIGHT_PROGRAMS = 1024
"""Programs that share the positions of a gradient of a weight, for each row of taps and block of channels."""


@triton.jit(do_not_specialize=SIZES)  # type: ignore[untyped-decorator]
def _forward(  # type: ignore[no-untyped-def]
    x, w, y, T, H, W, G, V, chunks, tiles,
    C: tl.constexpr, KT: tl.constexpr, K: tl.constexpr, S: tl.constexpr,
    FRAMES: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """A program: FRAMES frames of one clip, BLOCK_P places of each, BLOCK_C channels."""
    program = tl.program_id(0)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    tile, chunk, n = program % tiles, program // tiles % chunks, program // (tiles * chunks)
    p = tile * BLOCK_P + tl.arange(0, BLOCK_P)
    g, v = p // V, p % V
    first = chunk * FRAMES
    there = (p < G * V)[:, None] & (c < C)[None, :]
    clip = x + n.to(tl.int64) * T * H * W * C
    place = (g * S * W + v * S)[:, None] * C + c[None, :]
    totals = ()
    for _ in tl.static_range(FRAMES):
        totals = totals + (tl.zeros((BLOCK_P, BLOCK_C), tl.float32),)
    for kh in tl.range(K):  # not unrolled: loads of all taps at once would not fit into registers
        for kw in tl.static_range(K):
            h, column = g * S + kh - K // 2, v * S + kw - K // 2
            inside = there & ((h >= 0) & (h < H) & (column >= 0))[:, None]
            at = place + ((kh - K // 2) * W + kw - K // 2) * C
            values, taps, sums = (), (), ()
            for f in tl.static_range(FRAMES + KT - 1):
                t = first + f - KT // 2
                mask = inside & (column < tl.where((t >= 0) & (t < T), W, 0))[:, None]  # none in padding
                values = values + (tl.load(clip + t * (H * W * C) + at, mask, 0.0).to(tl.float32),)
            for kt in tl.static_range(KT):
                tap = tl.load(w + ((kt * K + kh) * K + kw) * C + c, c < C, 0.0)
                taps = taps + (tap.to(tl.float32)[None, :],)
            for f in tl.static_range(FRAMES):
                total = totals[f]
                for kt in tl.static_range(KT):
                    total += values[f + kt] * taps[kt]
                sums = sums + (total,)
            totals = sums
    result = y + n.to(tl.int64) * T * G * V * C + p[:, None] * C + c[None, :]
    for f in tl.static_range(FRAMES):
        mask = there & (p < tl.where(first + f < T, G * V, 0))[:, None]
        tl.store(result + (first + f) * (G * V * C), totals[f].to(y.dtype.element_ty), mask)


@triton.jit(do_not_specialize=SIZES)  # type: ignore[untyped-decorator]
def _scatter(  # type: ignore[no-untyped-def]
    dy, w, dx, T, H, W, G, V, tiles,
    C: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """The gradient of the input of 3x3x3 with stride 2. A program: one frame, BLOCK_P squares of 2x2."""
    program = tl.program_id(0)
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
    x, dy, parts, positions, share, T, H, W, G, V,
    C: tl.constexpr, KT: tl.constexpr, K: tl.constexpr, S: tl.constexpr,
    BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """parts (programs, KT * K * K, C). A program: one row of taps in every frame, its share of positions."""
    kh, program = tl.program_id(0), tl.program_id(1)
    c = tl.program_id(2) * BLOCK_C + tl.arange(0, BLOCK_C)
    channel = (c < C)[None, :]
    sums = ()
    for _ in tl.static_range(KT * K):
        sums = sums + (tl.zeros((BLOCK_P, BLOCK_C), tl.float32),)
    for start in range(program * share, tl.minimum((program + 1) * share, positions), BLOCK_P):
        p = start + tl.arange(0, BLOCK_P)
        v, g, frame = p % V, p // V % G, p // (V * G)
        t, h = frame % T, g * S + kh - K // 2
        there = p < positions
        source = dy + p.to(tl.int64)[:, None] * C + c[None, :]
        row = ((frame.to(tl.int64) * H + h) * W + v * S)[:, None] * C + c[None, :]
        upstream, grown = (), ()
        for kt in tl.static_range(KT):
            shift = KT // 2 - kt  # the frame of the result that reads this one by tap kt
            mask = there & (t + shift >= 0) & (t + shift < T)
            place = source + shift * G * V * C
            upstream = upstream + (tl.load(place, mask[:, None] & channel, 0.0).to(tl.float32),)
        for kw in tl.static_range(K):
            column = v * S + kw - K // 2
            mask = there & (h >= 0) & (h < H) & (column >= 0) & (column < W)
            value = tl.load(x + row + (kw - K // 2) * C, mask[:, None] & channel, 0.0).to(tl.float32)
            for kt in tl.static_range(KT):
                grown = grown + (sums[kw * KT + kt] + value * upstream[kt],)
        sums = grown
    to = parts + program * (KT * K * K * C) + kh * (K * C) + c
    for kw in tl.static_range(K):
        for kt in tl.static_range(KT):
            tl.store(to + (kt * K * K + kw) * C, tl.sum(sums[kw * KT + kt], 0), c < C)


def _channels(channels: int) -> int:
    """Channels of a program."""
    return min(64, triton.next_power_of_2(channels))


def _frames(frames: int) -> int:
    """Frames of a program: as few programs as FRAMES allows, of equal shares."""
    return triton.cdiv(frames, triton.cdiv(frames, FRAMES))


def _taps(weight: Tensor) -> Tensor:
    """(C, 1, KT, K, K) -> (taps, C)."""
    return weight.detach().flatten(1).t().contiguous()


def forward(x_NTHWC: Tensor, weight: Tensor, stride: int, **blocks: int) -> Tensor:
    """Convolve contiguous clips with `weight` (C, 1, 3, 3, 3) or (C, 1, 5, 1, 1), padded to keep T."""
    return _convolved(x_NTHWC, _taps(weight), weight.shape[2], weight.shape[3], stride, **blocks)


def _convolved(
    x_NTHWC: Tensor, taps: Tensor, depth: int, size: int, stride: int, **blocks: int
) -> Tensor:
    n, t, h, w, c = x_NTHWC.shape
    y = x_NTHWC.new_empty(n, t, (h - 1) // stride + 1, (w - 1) // stride + 1, c)
    g, v = y.shape[2:4]
    together = _frames(t)
    places = 8 if together > MANY_FRAMES else 16
    chosen = {"FRAMES": together, "BLOCK_P": places, "BLOCK_C": _channels(c), "num_warps": 4, **blocks}
    chunks, tiles = triton.cdiv(t, chosen["FRAMES"]), triton.cdiv(g * v, chosen["BLOCK_P"])
    grid: Any = n * chunks * tiles, triton.cdiv(c, chosen["BLOCK_C"])
    _forward[grid](x_NTHWC, taps, y, t, h, w, g, v, chunks, tiles, C=c, KT=depth, K=size, S=stride, **chosen)
    return y


def input_gradient(
    dy_NTGVC: Tensor, weight: Tensor, stride: int, height: int, width: int, **blocks: int
) -> Tensor:
    """The gradient of the clips (N, T, height, width, C)."""
    taps = _taps(weight)
    if stride == 1:  # a convolution with the reversed kernel
        return _convolved(dy_NTGVC, taps.flip(0), weight.shape[2], weight.shape[3], 1, **blocks)
    n, t, g, v, c = dy_NTGVC.shape
    dx = dy_NTGVC.new_empty(n, t, height, width, c)
    chosen = {"BLOCK_P": 16, "BLOCK_C": _channels(c), "num_warps": 4, **blocks}
    tiles = triton.cdiv(g * v, chosen["BLOCK_P"])
    grid: Any = n * t * tiles, triton.cdiv(c, chosen["BLOCK_C"])
    _scatter[grid](dy_NTGVC, taps, dx, t, height, width, g, v, tiles, C=c, **chosen)
    return dx


def weight_gradient(x_NTHWC: Tensor, dy_NTGVC: Tensor, weight: Tensor, stride: int, **blocks: int) -> Tensor:
    """The gradient of `weight`, of its shape and kind."""
    _, t, h, w, c = x_NTHWC.shape
    depth, size, (g, v) = weight.shape[2], weight.shape[3], dy_NTGVC.shape[2:4]
    positions = dy_NTGVC.numel() // c
    chosen = {"BLOCK_P": 16, "BLOCK_C": _channels(c), "num_warps": 4, **blocks}
    channels = triton.cdiv(c, chosen["BLOCK_C"])
    most = max(1, chosen.pop("programs", WEIGHT_PROGRAMS) // channels)
    share = triton.cdiv(triton.cdiv(positions, most), chosen["BLOCK_P"]) * chosen["BLOCK_P"]
    programs = triton.cdiv(positions, share)
    parts = x_NTHWC.new_empty((programs, depth * size * size, c), dtype=torch.float32)
    arguments = x_NTHWC, dy_NTGVC, parts, positions, share, t, h, w, g, v
    grid: Any = size, programs, channels
    _weight_gradient[grid](*arguments, C=c, KT=depth, K=size, S=stride, **chosen)
    return parts.sum(0).t().contiguous().view(weight.shape).to(weight.dtype)
