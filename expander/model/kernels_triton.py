"""Channel-wise convolution of channels-last clips on a GPU, in Triton: forward and both gradients.

One kernel each for 3x3x3 of stride 1 and (1, 2, 2) and for 5x1x1: the taps are compile-time constants.
Memory is (N, T, H, W, C); G and V are height and width of the result. A program takes BLOCK_P columns
of one row and BLOCK_C channels. Sums are float32 whatever the tensors are; no atomics, so that results
repeat to the bit. Under TRITON_INTERPRET=1 the same code runs on a CPU.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

WEIGHT_PROGRAMS = 128
"""Programs that share the positions of a gradient of a weight, for each slice of taps and channels."""


@triton.jit  # type: ignore[untyped-decorator]
def _forward(  # type: ignore[no-untyped-def]
    x, w, y, T, H, W, G, V, C,
    KT: tl.constexpr, K: tl.constexpr, S: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    row, block = tl.program_id(0), tl.program_id(1)
    c = tl.program_id(2) * BLOCK_C + tl.arange(0, BLOCK_C)
    v = block * BLOCK_P + tl.arange(0, BLOCK_P)
    g, frame = row % G, row // G
    t = frame % T
    total = tl.zeros((BLOCK_P, BLOCK_C), tl.float32)
    for kt in tl.static_range(KT):
        for kh in tl.static_range(K):
            h, shift = g * S + kh - K // 2, kt - KT // 2
            inside = (t + shift >= 0) & (t + shift < T) & (h >= 0) & (h < H)
            columns = tl.where(inside, W, 0)  # none in a row of padding
            base = x + ((frame + shift).to(tl.int64) * H + h) * W * C
            for kw in tl.static_range(K):
                column = v * S + kw - K // 2
                mask = (column >= 0) & (column < columns) & (v < V)
                place = base + column[:, None] * C + c[None, :]
                value = tl.load(place, mask[:, None] & (c < C)[None, :], 0.0)
                tap = tl.load(w + ((kt * K + kh) * K + kw) * C + c, c < C, 0.0)
                total += value.to(tl.float32) * tap.to(tl.float32)[None, :]
    place = y + (row.to(tl.int64) * V + v[:, None]) * C + c[None, :]
    tl.store(place, total.to(y.dtype.element_ty), (v < V)[:, None] & (c < C)[None, :])


@triton.jit  # type: ignore[untyped-decorator]
def _input_gradient(  # type: ignore[no-untyped-def]
    dy, w, dx, T, H, W, G, V, C,
    KT: tl.constexpr, K: tl.constexpr, S: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    row, block = tl.program_id(0), tl.program_id(1)
    c = tl.program_id(2) * BLOCK_C + tl.arange(0, BLOCK_C)
    column = block * BLOCK_P + tl.arange(0, BLOCK_P)
    h, frame = row % H, row // H
    t = frame % T
    total = tl.zeros((BLOCK_P, BLOCK_C), tl.float32)
    for kt in tl.static_range(KT):
        for kh in tl.static_range(K):
            # The rows of the result that read this row by this tap: (h + K // 2 - kh) / S, if whole.
            far, shift = h + K // 2 - kh, KT // 2 - kt
            g = far // S
            inside = (t + shift >= 0) & (t + shift < T) & (far >= 0) & (far % S == 0) & (g < G)
            columns = tl.where(inside, V, 0)
            base = dy + ((frame + shift).to(tl.int64) * G + g) * V * C
            for kw in tl.static_range(K):
                wide = column + K // 2 - kw
                v = wide // S
                mask = (wide >= 0) & (wide % S == 0) & (v < columns) & (column < W)
                value = tl.load(base + v[:, None] * C + c[None, :], mask[:, None] & (c < C)[None, :], 0.0)
                tap = tl.load(w + ((kt * K + kh) * K + kw) * C + c, c < C, 0.0)
                total += value.to(tl.float32) * tap.to(tl.float32)[None, :]
    place = dx + (row.to(tl.int64) * W + column[:, None]) * C + c[None, :]
    tl.store(place, total.to(dx.dtype.element_ty), (column < W)[:, None] & (c < C)[None, :])


@triton.jit  # type: ignore[untyped-decorator]
def _weight_gradient(  # type: ignore[no-untyped-def]
    x, dy, parts, positions, T, H, W, G, V, C,
    KT: tl.constexpr, K: tl.constexpr, S: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """parts (programs, KT * K * K, C): one row of taps and a share of the positions for each program."""
    program, taps = tl.program_id(0), tl.program_id(1)
    c = tl.program_id(2) * BLOCK_C + tl.arange(0, BLOCK_C)
    kt, kh = taps // K, taps % K
    left = tl.zeros((BLOCK_C,), tl.float32)
    middle = tl.zeros((BLOCK_C,), tl.float32)
    right = tl.zeros((BLOCK_C,), tl.float32)
    for start in range(program * BLOCK_P, positions, tl.num_programs(0) * BLOCK_P):
        p = start + tl.arange(0, BLOCK_P)
        v, g, frame = p % V, p // V % G, p // (V * G)
        t, h = frame % T + kt - KT // 2, g * S + kh - K // 2
        inside = (p < positions) & (t >= 0) & (t < T) & (h >= 0) & (h < H)
        place = dy + p.to(tl.int64)[:, None] * C + c[None, :]
        d = tl.load(place, (p < positions)[:, None] & (c < C)[None, :], 0.0).to(tl.float32)
        base = ((frame + kt - KT // 2).to(tl.int64) * H + h) * W + v * S
        place, columns = x + base[:, None] * C + c[None, :], v * S
        mask = inside[:, None] & (c < C)[None, :]
        middle += tl.sum(d * tl.load(place, mask, 0.0).to(tl.float32), 0)
        if K == 3:
            left += tl.sum(d * tl.load(place - C, mask & (columns > 0)[:, None], 0.0).to(tl.float32), 0)
            right += tl.sum(d * tl.load(place + C, mask & (columns + 1 < W)[:, None], 0.0).to(tl.float32), 0)
    to = parts + (program * KT * K * K + taps * K) * C + c
    if K == 3:
        tl.store(to, left, c < C)
        tl.store(to + C, middle, c < C)
        tl.store(to + 2 * C, right, c < C)
    else:
        tl.store(to, middle, c < C)


def _blocks(width: int, channels: int) -> dict[str, int]:
    """Columns and channels of a program: whole rows where they are short, 64 channels at most."""
    return {
        "BLOCK_P": min(16, triton.next_power_of_2(width)),
        "BLOCK_C": min(64, triton.next_power_of_2(channels)),
    }


def _grid(rows: int, width: int, channels: int, blocks: dict[str, int]) -> tuple[int, int, int]:
    return rows, triton.cdiv(width, blocks["BLOCK_P"]), triton.cdiv(channels, blocks["BLOCK_C"])


def _taps(weight: Tensor) -> tuple[Tensor, dict[str, int]]:
    """(C, 1, KT, K, K) -> (taps, C), and the size of the kernel."""
    return weight.detach().flatten(1).t().contiguous(), {"KT": weight.shape[2], "K": weight.shape[3]}


def forward(x_NTHWC: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Convolve contiguous clips with `weight` (C, 1, 3, 3, 3) or (C, 1, 5, 1, 1), padded to keep T."""
    n, t, h, w, c = x_NTHWC.shape
    y = x_NTHWC.new_empty(n, t, (h - 1) // stride + 1, (w - 1) // stride + 1, c)
    (taps, kernel), (g, v) = _taps(weight), y.shape[2:4]
    blocks = _blocks(v, c)
    _forward[_grid(n * t * g, v, c, blocks)](x_NTHWC, taps, y, t, h, w, g, v, c, S=stride, **kernel, **blocks)
    return y


def input_gradient(dy_NTGVC: Tensor, weight: Tensor, stride: int, shape: tuple[int, ...]) -> Tensor:
    """The gradient of the clips, of `shape` (N, T, H, W, C)."""
    n, t, h, w, c = shape
    dx = dy_NTGVC.new_empty(shape)
    (taps, kernel), (g, v), blocks = _taps(weight), dy_NTGVC.shape[2:4], _blocks(w, c)
    grid = _grid(n * t * h, w, c, blocks)
    _input_gradient[grid](dy_NTGVC, taps, dx, t, h, w, g, v, c, S=stride, **kernel, **blocks)
    return dx


def weight_gradient(x_NTHWC: Tensor, dy_NTGVC: Tensor, weight: Tensor, stride: int) -> Tensor:
    """The gradient of `weight`, of its shape and kind."""
    _, t, h, w, c = x_NTHWC.shape
    (_, kernel), (g, v) = _taps(weight), dy_NTGVC.shape[2:4]
    positions, rows = dy_NTGVC.numel() // c, kernel["KT"] * kernel["K"]
    blocks = {"BLOCK_P": 32, "BLOCK_C": min(64, triton.next_power_of_2(c))}
    programs = min(WEIGHT_PROGRAMS, triton.cdiv(positions, blocks["BLOCK_P"]))
    parts = x_NTHWC.new_empty((programs, rows * kernel["K"], c), dtype=torch.float32)
    grid: Any = programs, rows, triton.cdiv(c, blocks["BLOCK_C"])
    arguments = x_NTHWC, dy_NTGVC, parts, positions, t, h, w, g, v, c
    _weight_gradient[grid](*arguments, S=stride, **kernel, **blocks)
    return parts.sum(0).t().reshape(weight.shape).to(weight.dtype)
