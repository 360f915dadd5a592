"""Channel-wise convolution with its own backward: the one entry to the kernels.

`convolve` is for networks of plain layers: Triton on a GPU, else the library. `depthwise` and `temporal`
are for the CPU layout of `norm`. EXPANDER_KERNELS=reference turns all of them off: the library alone.

Shapes: N clips, T frames, H height, W width, C channels, F = N * T frames.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
import platform
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from expander.kernels import depthwise_cuda
from expander.kernels.choice import enabled

GROUPS = 16
"""Sums that a gradient of a weight is made of: enough for as many threads, and the same for any number."""

TRITON_KINDS = (torch.float32, torch.bfloat16, torch.float16)
PROCESSORS = ("x86_64", "AMD64")
"""Names of the processor, by system, whose vector instructions the CPU kernels are made for."""
log = logging.getLogger(__name__)


@functools.cache
def compiles() -> bool:
    """Whether the CPU kernels can be compiled here; where not, the library computes the same.

    Says once what is to be installed. Nothing can be done about another processor.
    """
    if platform.machine() not in PROCESSORS:
        return False
    try:
        importlib.import_module("numba")
    except ImportError as error:  # not installed, or not made for this numpy
        reason = " ".join(str(error).split())[:200]
        log.warning("%s: convolutions by the library, several times slower (pip install numba)", reason)
        return False
    return True


@functools.cache
def installed(package: str) -> bool:
    """Whether what compiles the GPU kernels is there; says it once when not."""
    if importlib.util.find_spec(package) is not None:
        return True
    log.warning("%s is not installed: convolutions by the library, several times slower", package)
    return False


def convolve(conv: nn.Conv3d, x_NCTHW: Tensor) -> Tensor:
    """conv(x) of a channel-wise convolution (3x3x3 or 5x1x1, padded to keep T), channels-last on a GPU."""
    own = conv.dilation[1] == 1 and x_NCTHW.is_cuda and enabled() and _runs_here()
    if not (own and installed("triton")):
        y: Tensor = conv(x_NCTHW)
        return y
    kind = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else x_NCTHW.dtype
    if kind not in TRITON_KINDS:
        return conv(x_NCTHW)  # type: ignore[no-any-return]
    x_NTHWC = x_NCTHW.to(kind).permute(0, 2, 3, 4, 1).contiguous()
    y = depthwise_cuda.depthwise(x_NTHWC, conv.weight.to(kind), conv.stride[1])
    if conv.bias is not None:
        y = y + conv.bias.to(kind)
    return y.permute(0, 4, 1, 2, 3)


def pointwise(conv: nn.Conv3d, x_NCTHW: Tensor) -> Tensor:
    """conv(x) of a 1x1x1 convolution: on a GPU a product of matrices over channels-last clips."""
    if not (x_NCTHW.is_cuda and enabled() and _runs_here()):
        y: Tensor = conv(x_NCTHW)
        return y
    x_NTHWC = x_NCTHW.permute(0, 2, 3, 4, 1)
    return F.linear(x_NTHWC, conv.weight.flatten(1), conv.bias).permute(0, 4, 1, 2, 3)


def _runs_here() -> bool:
    """Not traced or exported: files get standard layers, so that they can be opened without this package."""
    return not torch.jit.is_tracing() and not torch.compiler.is_exporting()  # type: ignore[attr-defined, no-untyped-call]


def depthwise(x_NTHWC: Tensor, weight: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Convolve contiguous clips with `weight` (C, 1, 3, 3, 3), padding 1, spatial stride 1 or 2.

    Equal to `conv3d` up to rounding. Also the moments (F, 2, C) of every frame of the result: means
    and sums of squared deviations, as `norm.moments` gives them (no gradient flows through them).
    """
    return _Depthwise.apply(x_NTHWC, weight, stride)  # type: ignore[no-any-return, no-untyped-call]


def temporal(x_NTHWC: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Convolve contiguous clips over time with `weight` (C, 1, 5, 1, 1), padding 2; moments as above."""
    return _Temporal.apply(x_NTHWC, weight)  # type: ignore[no-any-return, no-untyped-call]


def _taps(weight: Tensor) -> Tensor:
    """(C, 1, taps...) -> (taps, C)."""
    return weight.detach().flatten(1).t().contiguous()


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> tuple[Tensor, Tensor]:
        from expander.kernels.depthwise_numba import forward
        from expander.kernels.launch import launch

        n, t, h, w, c = x.shape
        y = x.new_empty(n, t, (h - 1) // stride + 1, (w - 1) // stride + 1, c)
        moments, taps = x.new_empty(n * t, 2, c), _taps(weight)
        ctx.save_for_backward(x, taps)
        ctx.mark_non_differentiable(moments)
        ctx.stride, ctx.sizes = stride, (t, h, w, *y.shape[2:4], c)
        launch(forward, n * t, x, taps, y, moments, *ctx.sizes, stride)
        return y, moments

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, _: Any) -> tuple[Tensor | None, Tensor, None]:
        from expander.kernels.depthwise_numba import forward, scatter, weight_gradient
        from expander.kernels.launch import launch

        (x, taps), dy = ctx.saved_tensors, dy.contiguous()
        frames, dx = x.shape[0] * x.shape[1], torch.empty_like(x)
        if ctx.stride == 1:  # the gradient of the input is a convolution with the reversed kernel
            launch(forward, frames, dy, taps.flip(0), dx, x[:0], *ctx.sizes, 1)
        else:
            launch(scatter, frames, dy, taps, dx, *ctx.sizes)
        parts = x.new_empty(min(GROUPS, frames), *taps.shape)
        launch(weight_gradient, len(parts), x, dy, parts, frames, len(parts), *ctx.sizes, ctx.stride)
        return dx, parts.sum(0).t().reshape(-1, 1, 3, 3, 3), None


class _Temporal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        from expander.kernels.launch import launch
        from expander.kernels.temporal_numba import temporal as kernel

        n, t, h, w, c = x.shape
        y, moments, taps = torch.empty_like(x), x.new_empty(n * t, 2, c), _taps(weight)
        ctx.save_for_backward(x, taps)
        ctx.mark_non_differentiable(moments)
        launch(kernel, n * t, x, taps, y, moments, t, h * w, c)
        return y, moments

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, _: Any) -> tuple[Tensor, Tensor]:
        from expander.kernels.launch import launch
        from expander.kernels.temporal_numba import temporal as kernel
        from expander.kernels.temporal_numba import weight_gradient

        (x, taps), dy = ctx.saved_tensors, dy.contiguous()
        n, t, h, w, c = x.shape
        dx = torch.empty_like(x)
        launch(kernel, n * t, dy, taps.flip(0), dx, x[:0], t, h * w, c)
        parts = x.new_empty(min(GROUPS, n * t), *taps.shape)
        launch(weight_gradient, len(parts), x, dy, parts, n * t, len(parts), t, h * w, c)
        return dx, parts.sum(0).t().reshape(-1, 1, 5, 1, 1)
