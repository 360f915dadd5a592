"""Channel-wise convolution with its own backward: the one entry to the kernels.

Shapes: N clips, T frames, H height, W width, C channels, F = N * T frames.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

GROUPS = 16
"""Sums that a gradient of a weight is made of: enough for as many threads, and the same for any number."""


def depthwise(x_NTHWC: Tensor, weight: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Convolve contiguous clips with `weight` (C, 1, 3, 3, 3), padding 1, spatial stride 1 or 2.

    Equal to `conv3d` up to rounding. Also the moments (F, 2, C) of every frame of the result: means
    and sums of squared deviations, as `norm.moments` gives them (no gradient flows through them).
    """
    y, moments = _Depthwise.apply(x_NTHWC, weight, stride)  # type: ignore[no-untyped-call]
    return y, moments


def temporal(x_NTHWC: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Convolve contiguous clips over time with `weight` (C, 1, 5, 1, 1), padding 2; moments as above."""
    y, moments = _Temporal.apply(x_NTHWC, weight)  # type: ignore[no-untyped-call]
    return y, moments


def _taps(weight: Tensor) -> Tensor:
    """(C, 1, taps...) -> (taps, C)."""
    return weight.detach().flatten(1).t().contiguous()


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> tuple[Tensor, Tensor]:
        from expander.model.compiled import flat, launch
        from expander.model.kernels_depthwise import forward

        n, t, h, w, c = x.shape
        y = x.new_empty(n, t, (h - 1) // stride + 1, (w - 1) // stride + 1, c)
        moments = x.new_zeros(n * t, 2, c)
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.sizes = stride, (t, h, w, *y.shape[2:4], c)
        launch(forward, n * t, flat(x), flat(_taps(weight)), flat(y), flat(moments), *ctx.sizes, stride)
        ctx.mark_non_differentiable(moments)
        return y, moments

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, _: Any) -> tuple[Tensor | None, Tensor, None]:
        from expander.model.compiled import flat, launch
        from expander.model.kernels_depthwise import forward, scatter, weight_gradient

        (x, weight), dy = ctx.saved_tensors, dy.contiguous()
        frames, taps = x.shape[0] * x.shape[1], _taps(weight)
        dx = torch.empty_like(x)
        if ctx.stride == 1:  # the gradient of the input is a convolution with the reversed kernel
            sizes = ctx.sizes
            launch(forward, frames, flat(dy), flat(taps.flip(0)), flat(dx), flat(x[:0]), *sizes, 1)
        else:
            launch(scatter, frames, flat(dy), flat(taps), flat(dx), *ctx.sizes)
        groups = min(GROUPS, frames)
        dw = x.new_zeros(groups, 27, len(weight))
        launch(weight_gradient, groups, flat(x), flat(dy), flat(dw), frames, groups, *ctx.sizes, ctx.stride)
        return dx, dw.sum(0).t().reshape(weight.shape), None


class _Temporal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        from expander.model.compiled import flat, launch
        from expander.model.kernels_depthwise import temporal as kernel

        n, t, h, w, c = x.shape
        y, moments = torch.empty_like(x), x.new_zeros(n * t, 2, c)
        ctx.save_for_backward(x, weight)
        launch(kernel, n * t, flat(x), flat(_taps(weight)), flat(y), flat(moments), t, h * w, c)
        ctx.mark_non_differentiable(moments)
        return y, moments

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, _: Any) -> tuple[Tensor, Tensor]:
        from expander.model.compiled import flat, launch
        from expander.model.kernels_depthwise import temporal as kernel
        from expander.model.kernels_depthwise import temporal_weight_gradient

        (x, weight), dy = ctx.saved_tensors, dy.contiguous()
        n, t, h, w, c = x.shape
        dx, groups = torch.empty_like(x), min(GROUPS, n * t)
        taps = _taps(weight).flip(0)
        launch(kernel, n * t, flat(dy), flat(taps), flat(dx), flat(x[:0]), t, h * w, c)
        dw = x.new_zeros(groups, len(taps), c)
        launch(temporal_weight_gradient, groups, flat(x), flat(dy), flat(dw), n * t, groups, t, h * w, c)
        return dx, dw.sum(0).t().reshape(weight.shape)
