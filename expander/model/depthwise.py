"""The depthwise 3x3x3 convolution as three 2-D ones, for CPUs.

Shapes: N clips, C channels, T frames, H height, W width, F = T * N frames with index t * N + n, so
that one frame earlier or later is a slice N frames off, and no clip sees its neighbour.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def depthwise_3x3x3(x_FCHW: Tensor, weight: Tensor, stride: int, clips: int) -> Tensor:
    """Convolve (F, C, H, W) frames of `clips` clips with `weight` (C, 1, 3, 3, 3), padding 1.

    `stride` is the spatial one. Equal to `conv3d` up to rounding.
    """
    if x_FCHW.shape[0] == clips:  # of one frame a clip: only the middle slice sees it
        return F.conv2d(x_FCHW, weight[:, :, 1], None, stride, 1, 1, weight.shape[0])
    y: Tensor = _Depthwise.apply(x_FCHW, weight, stride, clips)  # type: ignore[no-untyped-call]
    return y


class _Depthwise(torch.autograd.Function):
    """Written out because autograd of the slices copies every frame several times."""

    @staticmethod
    def forward(ctx: Any, x_FCHW: Tensor, weight: Tensor, stride: int, clips: int) -> Tensor:
        ctx.save_for_backward(x_FCHW, weight)
        ctx.stride, ctx.clips = stride, clips
        before, now, after = weight.unbind(2)
        y_FCHW = F.conv2d(x_FCHW, now, None, stride, 1, 1, len(weight))
        y_FCHW[clips:] += F.conv2d(x_FCHW[:-clips], before, None, stride, 1, 1, len(weight))
        y_FCHW[:-clips] += F.conv2d(x_FCHW[clips:], after, None, stride, 1, 1, len(weight))
        return y_FCHW

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_FCHW: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x_FCHW, weight = ctx.saved_tensors
        stride, clips = ctx.stride, ctx.clips
        before, now, after = weight.unbind(2)
        grad_x, grad_now = _gradients(grad_FCHW, x_FCHW, now, stride)
        part, grad_before = _gradients(grad_FCHW[clips:], x_FCHW[:-clips], before, stride)
        grad_x[:-clips] += part
        part, grad_after = _gradients(grad_FCHW[:-clips], x_FCHW[clips:], after, stride)
        grad_x[clips:] += part
        return grad_x, torch.stack((grad_before, grad_now, grad_after), 2), None, None


def _gradients(grad: Tensor, x: Tensor, weight: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Of one 2-D depthwise convolution: the gradients of its input and of its weight."""
    grad_x, grad_weight, _ = torch.ops.aten.convolution_backward(
        grad, x, weight, None, [stride] * 2, [1, 1], [1, 1], False, [0, 0], len(weight),
        [True, True, False],
    )  # fmt: skip
    return grad_x, grad_weight
