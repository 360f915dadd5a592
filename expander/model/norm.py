"""Batch norm with the activation after it, and their gradients, in as few passes as there can be.

Clips (N, T, H, W, C) contiguous, on a CPU. Statistics come from `moments`, or from the convolution
that made the clips; small sums per channel are finished in float64. Without gradients the result
overwrites the input, which must then belong to the caller alone.

Shapes: N clips, T frames, H height, W width, C channels, F = N * T frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from expander.model import kernels_norm
from expander.model.compiled import flat, launch

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a norm subtracts and multiplies by, (C,) each. batch: whether they depend on the input."""

    mean: Vector
    inverse: Vector
    batch: bool


def moments(x_NTHWC: Tensor) -> Tensor:
    """(F, 2, C): the mean of every frame and its sum of squared deviations from it."""
    frames, positions, channels = _sizes(x_NTHWC)
    found = x_NTHWC.new_zeros(frames, 2, channels)
    launch(kernels_norm.moments, frames, flat(x_NTHWC), flat(found), positions, channels)
    return found


def norm_relu(
    x_NTHWC: Tensor, norm: nn.BatchNorm3d, found: Tensor, rest: Tensor | None = None, relu: bool = True
) -> Tensor:
    """relu(norm(x) + rest); `found`: the moments of x. relu=False (without rest): the norm alone."""
    statistics = _statistics(norm, found, x_NTHWC)
    arguments = x_NTHWC, norm.weight, norm.bias, rest, relu, statistics
    if torch.is_grad_enabled():
        y: Tensor = _NormRelu.apply(*arguments)  # type: ignore[no-untyped-call]
        return y
    return _norm_relu(*arguments, x_NTHWC)


def norm_silu(
    x_NTHWC: Tensor, norm: nn.BatchNorm3d, found: Tensor, excite: tuple[Tensor, ...] = ()
) -> Tensor:
    """silu(gate * norm(x)) with the gate of squeeze-excite, or none; `found`: the moments of x.

    excite: weight (hidden, C), bias, weight (C, hidden), bias of its two layers.
    """
    statistics = _statistics(norm, found, x_NTHWC)
    means_NC = found[:, 0].view(x_NTHWC.shape[0], x_NTHWC.shape[1], -1).mean(1)
    arguments = x_NTHWC, norm.weight, norm.bias, means_NC, statistics, *excite
    if torch.is_grad_enabled():
        y: Tensor = _NormSilu.apply(*arguments)  # type: ignore[no-untyped-call]
        return y
    return _norm_silu(*arguments, y=x_NTHWC)[0]


def _sizes(x: Tensor) -> tuple[int, int, int]:
    """Frames, positions of a frame, channels."""
    n, t, h, w, c = x.shape
    return n * t, h * w, c


def _array(tensor: Tensor) -> Vector:
    return tensor.detach().numpy().astype(np.float64)


def _statistics(norm: nn.BatchNorm3d, found: Tensor, x: Tensor) -> Statistics:
    """Of the batch in training, whose running ones move on; else the running ones."""
    running_mean, running_var = norm.running_mean, norm.running_var
    assert running_mean is not None
    assert running_var is not None
    if not norm.training:
        return Statistics(_array(running_mean), 1 / np.sqrt(_array(running_var) + norm.eps), False)
    means, squares = np.moveaxis(_array(found), 1, 0)
    count, positions = x.numel() // x.shape[-1], x.numel() // x.shape[-1] // len(means)
    mean = means.mean(0)
    squared = squares.sum(0) + positions * np.square(means - mean).sum(0)
    if count == 1:
        raise ValueError("batch norm in training needs more than one value per channel")
    momentum = norm.momentum
    assert momentum is not None
    for running, value in ((running_mean, mean), (running_var, squared / (count - 1))):
        memory = running.numpy()
        memory += momentum * (value - memory)
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked += 1
    return Statistics(mean, 1 / np.sqrt(squared / count + norm.eps), True)


def _scale_shift(weight: Tensor, bias: Tensor, statistics: Statistics) -> tuple[Vector, Vector]:
    """The norm as one multiply-add."""
    scale = _array(weight) * statistics.inverse
    return scale, _array(bias) - statistics.mean * scale


def _cast(values: Vector, like: Tensor) -> Any:
    """A flat array of the kind of numbers of a tensor."""
    return values.astype(np.float32 if like.dtype == torch.float32 else np.float64).ravel()


def _norm_relu(
    x: Tensor, weight: Tensor, bias: Tensor, rest: Tensor | None, relu: bool, statistics: Statistics, y: Tensor
) -> Tensor:
    frames, positions, channels = _sizes(x)
    scale, shift = (_cast(values, x) for values in _scale_shift(weight, bias, statistics))
    if rest is None:
        floor = 0.0 if relu else -np.inf
        launch(kernels_norm.affine, frames, flat(x), scale, shift, floor, flat(y), positions, channels)
    else:
        arrays = flat(x), scale, shift, flat(rest.contiguous()), flat(y)
        launch(kernels_norm.affine_add, frames, *arrays, positions, channels)
    return y


class _NormRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        x, weight, bias, rest, relu, statistics = arguments
        y = _norm_relu(*arguments, torch.empty_like(x))
        ctx.save_for_backward(x, weight, bias, y if rest is not None else None)
        ctx.relu, ctx.statistics = relu, statistics
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, y = ctx.saved_tensors
        statistics: Statistics = ctx.statistics
        (frames, positions, channels), dy = _sizes(x), dy.contiguous()
        scale, shift = _scale_shift(weight, bias, statistics)
        # What tells where the ReLU let values pass: its result, or x again, or nothing.
        ones, zeros = np.ones(channels), np.zeros(channels)
        passed = (ones, zeros) if y is not None else (scale, shift) if ctx.relu else (zeros, ones)
        mask = flat(x if y is None else y), *(_cast(values, x) for values in passed)
        sums, centre = x.new_zeros(frames, 2, channels), _cast(statistics.mean, x)
        arrays = flat(dy), *mask, flat(x), centre, flat(sums)
        launch(kernels_norm.relu_sums, frames, *arrays, positions, channels)
        dbias, dweight = _array(sums).sum(0)
        dweight *= statistics.inverse
        kx, k1 = _through_statistics(statistics, scale, dweight, dbias, frames * positions)
        dx, kept = torch.empty_like(x), torch.empty_like(x if y is not None else x[:0])
        coefficients = (_cast(values, x) for values in (scale, kx, k1))
        arrays = flat(dy), *mask, flat(x), *coefficients, flat(dx), flat(kept)
        launch(kernels_norm.relu_gradient, frames, *arrays, positions, channels)
        gradients = (torch.from_numpy(_cast(values, x)) for values in (dweight, dbias))
        return dx, *gradients, kept if y is not None else None, None, None


def _through_statistics(
    statistics: Statistics, scale: Vector, dweight: Vector, dbias: Vector, count: int
) -> tuple[Vector, Vector]:
    """The part of dx that flows through mean and variance, as kx * x + k1."""
    if not statistics.batch:
        return np.zeros_like(scale), np.zeros_like(scale)
    kx = -scale * statistics.inverse * dweight / count
    return kx, -scale * dbias / count - kx * statistics.mean


def _norm_silu(
    x: Tensor, weight: Tensor, bias: Tensor, means: Tensor, statistics: Statistics, *excite: Tensor, y: Tensor
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The result in y; of squeeze-excite its input, hidden layer and gate, (N, ·) each."""
    frames, positions, channels = _sizes(x)
    scale, shift = _scale_shift(weight, bias, statistics)
    inner: tuple[Tensor, ...] = ()
    if excite:
        squeezed = torch.from_numpy(_array(means) * scale + shift).to(x.dtype)
        hidden = F.linear(squeezed, excite[0], excite[1]).relu_()
        gate = F.linear(hidden, excite[2], excite[3]).sigmoid_()
        inner = squeezed, hidden, gate
        scale, shift = scale * _array(gate), shift * _array(gate)
    arrays = flat(x), _cast(scale, x), _cast(shift, x), flat(y)
    launch(kernels_norm.affine_silu, frames, *arrays, _per(x, inner), positions, channels)
    return y, inner


def _per(x: Tensor, inner: tuple[Tensor, ...]) -> int:
    """Frames for each row of the coefficients: those of a clip where clips differ."""
    return x.shape[1] if inner else x.shape[0] * x.shape[1]


class _NormSilu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        x, weight, bias, means, statistics, *excite = arguments
        y, inner = _norm_silu(*arguments, y=torch.empty_like(x))
        ctx.save_for_backward(x, weight, bias, means, *excite, *inner)
        ctx.statistics = statistics
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, means, *rest = ctx.saved_tensors
        excite, inner, statistics = rest[:4], tuple(rest[4:]), ctx.statistics
        (frames, positions, channels), dy = _sizes(x), dy.contiguous()
        scale, shift = _scale_shift(weight, bias, statistics)
        gate = _array(inner[2]) if inner else np.ones((1, channels))
        dv, sums, per = torch.empty_like(x), x.new_zeros(frames, 2, channels), _per(x, inner)
        coefficients = (_cast(values, x) for values in (scale * gate, shift * gate, statistics.mean))
        arrays = flat(dy), flat(x), *coefficients, flat(dv), flat(sums)
        launch(kernels_norm.silu_sums, frames, *arrays, per, positions, channels)
        total, moment = np.moveaxis(_array(sums).reshape(-1, per, 2, channels).sum(1), 1, 0)
        dexcite: tuple[Tensor, ...] = ()
        dmean = np.zeros_like(total)
        if inner:
            dmean, dexcite = _excite_backward(scale * moment + _array(bias) * total, excite, inner)
        dbias = (gate * total + dmean).sum(0)
        off_centre = _array(means) - statistics.mean if inner else 0.0
        dweight = (gate * moment + dmean * off_centre).sum(0) * statistics.inverse
        kx, k1 = _through_statistics(statistics, scale, dweight, dbias, frames * positions)
        rows = scale * gate, kx, scale * dmean / (per * positions) + k1
        arrays = flat(dv), flat(x), *(_cast(values, x) for values in rows), flat(dv)
        launch(kernels_norm.combine, frames, *arrays, per, positions, channels)
        gradients = (torch.from_numpy(_cast(values, x)) for values in (dweight, dbias))
        return dv, *gradients, None, None, *dexcite


def _excite_backward(
    dgate: Vector, excite: list[Tensor], inner: tuple[Tensor, ...]
) -> tuple[Vector, tuple[Tensor, ...]]:
    """The gradients of the input of squeeze-excite (N, C) and of its two layers."""
    squeezed, hidden, gate = inner
    d2 = torch.from_numpy(dgate).to(gate.dtype) * gate * (1 - gate)
    d1 = (d2 @ excite[2]) * (hidden > 0)
    return _array(d1 @ excite[0]), (d1.t() @ squeezed, d1.sum(0), d2.t() @ hidden, d2.sum(0))
