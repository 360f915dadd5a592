"""1x1x1 convolution, batch norm and activation of clips on a CPU, in as few passes as there can be.

Clips (N, T, H, W, C) contiguous. What a norm needs of its input, the moments, comes from the
convolution that made it or from `moments`. Without gradients results overwrite inputs of norms, which
then must belong to the caller alone.

Shapes: N clips, T frames, H height, W width, C channels, F = N * T frames.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from expander.kernels import norm_numba as kernels
from expander.kernels.depthwise import depthwise, temporal
from expander.kernels.excite import Excite, excite_backward, gates_of
from expander.kernels.launch import launch

__all__ = ["conv_norm_relu", "depthwise", "moments", "norm_relu", "norm_silu", "temporal"]

BY_NORM, BY_RESULT, NO_RELU = 0, 1, 2  # masks of kernels.settle_norm
ROWS = 6  # of a norm's table


def _sizes(x_NTHWC: Tensor) -> tuple[int, int, int]:
    """Frames, positions of a frame, channels."""
    n, t, h, w, c = x_NTHWC.shape
    return n * t, h * w, c


def moments(x_NTHWC: Tensor) -> Tensor:
    """(F, 2, C): the mean of every frame and its sum of squared deviations from it."""
    frames, positions, channels = _sizes(x_NTHWC)
    found = x_NTHWC.new_empty(frames, 2, channels)
    launch(kernels.moments, frames, x_NTHWC, found, positions, channels)
    return found


def norm_relu(x_NTHWC: Tensor, norm: nn.BatchNorm3d, found: Tensor) -> Tensor:
    """relu(norm(x)); found: the moments of x."""
    if not torch.is_grad_enabled():
        return _affine(x_NTHWC, _table(norm, x_NTHWC, found, BY_NORM), None, True, x_NTHWC)
    y: Tensor = _ConvNormRelu.apply(x_NTHWC, None, norm.weight, norm.bias, None, norm, True, found)  # type: ignore[no-untyped-call]
    return y


def conv_norm_relu(
    x_NTHWC: Tensor, conv: nn.Conv3d, norm: nn.BatchNorm3d, rest: Tensor | None = None, relu: bool = True
) -> Tensor:
    """relu(norm(conv(x)) + rest) of a 1x1x1 convolution without bias; relu=False (no rest): no ReLU."""
    if (stride := conv.stride[1]) > 1:
        x_NTHWC = x_NTHWC[:, :, ::stride, ::stride].contiguous()
    weight = conv.weight.flatten(1)
    if not torch.is_grad_enabled():
        y = F.linear(x_NTHWC, weight)
        table = _table(norm, y, moments(y) if norm.training else None, BY_NORM)
        return _affine(y, table, rest, relu, y)
    z: Tensor = _ConvNormRelu.apply(x_NTHWC, weight, norm.weight, norm.bias, rest, norm, relu, None)  # type: ignore[no-untyped-call]
    return z


def norm_silu(x_NTHWC: Tensor, norm: nn.BatchNorm3d, found: Tensor, excite: Excite = ()) -> Tensor:
    """silu(gate * norm(x)) with the gate of squeeze-excite, or none; found: the moments of x."""
    if not torch.is_grad_enabled():
        return _gated_silu(x_NTHWC, norm, found, excite, x_NTHWC)[0]
    y: Tensor = _NormSilu.apply(x_NTHWC, norm.weight, norm.bias, found, norm, *excite)  # type: ignore[no-untyped-call]
    return y


def _table(norm: nn.BatchNorm3d, x: Tensor, found: Tensor | None, mask: int) -> Tensor:
    """What `norm` does to x, (6, C) as the kernels say. In training its running statistics move on."""
    frames, positions, channels = _sizes(x)
    running_mean, running_var = norm.running_mean, norm.running_var
    assert running_mean is not None
    assert running_var is not None
    if norm.training:
        if frames * positions <= 1:
            raise ValueError("batch norm in training needs more than one value per channel")
        assert norm.num_batches_tracked is not None
        norm.num_batches_tracked.add_(1)  # not `+=`: a module takes long to set what it has
    table = x.new_empty(ROWS, channels)
    launch(
        kernels.settle_norm, channels, table[:0] if found is None else found, norm.weight, norm.bias,
        running_mean, running_var, _share(norm), float(norm.eps), norm.training, mask, positions, table,
    )  # fmt: skip
    return table


def _share(norm: nn.BatchNorm3d) -> float:
    """Of a batch in the running statistics; without momentum they are the mean over all batches."""
    if norm.momentum is not None:
        return float(norm.momentum)
    assert norm.num_batches_tracked is not None
    return 1 / max(1, int(norm.num_batches_tracked))


def _affine(x: Tensor, table: Tensor, rest: Tensor | None, relu: bool, y: Tensor) -> Tensor:
    frames, positions, channels = _sizes(x)
    more = x[:0] if rest is None else rest.contiguous()
    floor = 0.0 if relu else -float("inf")
    launch(kernels.affine, frames, x, table, more, floor, y, positions, channels)
    return y


class _ConvNormRelu(torch.autograd.Function):
    """Of the result of the convolution and of its input; a norm alone where `weight` is none."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, gamma: Tensor, beta: Tensor, rest: Tensor | None,
        norm: nn.BatchNorm3d, relu: bool, found: Tensor | None,
    ) -> Tensor:  # fmt: skip
        del gamma, beta  # those of norm
        u = x if weight is None else F.linear(x, weight)
        mask = NO_RELU if not relu else BY_NORM if rest is None else BY_RESULT
        table = _table(norm, u, moments(u) if found is None and norm.training else found, mask)
        y = _affine(u, table, rest, relu, torch.empty_like(u))
        kept = None if weight is None else u, None if rest is None else y
        ctx.save_for_backward(x, weight, *kept, table)
        ctx.batch = norm.training
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, u, y, table = ctx.saved_tensors
        u = x if u is None else u
        (frames, positions, channels), dy = _sizes(u), dy.contiguous()
        told = u if y is None else y
        sums, k = u.new_empty(frames, 2, channels), u.new_empty(4, channels)
        launch(kernels.relu_sums, frames, dy, told, table, u, sums, positions, channels)
        launch(kernels.settle_relu, channels, sums, table, ctx.batch, positions, k)
        du, kept = torch.empty_like(u), u[:0] if y is None else torch.empty_like(u)
        launch(kernels.relu_gradient, frames, dy, told, table, u, k, du, kept, positions, channels)
        dx, dweight = (du, None) if weight is None else _linear_backward(du, x, weight)
        return dx, dweight, k[0], k[1], None if y is None else kept, None, None, None


def _linear_backward(dy: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of the input and of the weight of `F.linear`."""
    dy_PC = dy.view(-1, dy.shape[-1])
    return (dy_PC @ weight).view(x.shape), dy_PC.t() @ x.view(-1, x.shape[-1])


def _gated_silu(
    x: Tensor, norm: nn.BatchNorm3d, found: Tensor, excite: Excite, y: Tensor
) -> tuple[Tensor, ...]:
    """The result in y, the table, the gates; of squeeze-excite means, its input and hidden layer."""
    frames, positions, channels = _sizes(x)
    per = x.shape[1] if excite else frames
    table = _table(norm, x, found, BY_NORM)
    gates = x.new_ones(1, channels)
    inner: tuple[Tensor, ...] = ()
    if excite:
        means, squeezed = x.new_empty(2, x.shape[0], channels).unbind(0)
        launch(kernels.squeeze, x.shape[0], found, table, per, channels, means, squeezed)
        gates, hidden = gates_of(squeezed, excite)
        inner = means, squeezed, hidden
    launch(kernels.gated_silu, frames, x, table, gates, y, per, positions, channels)
    return y, table, gates, *inner


class _NormSilu(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, found: Tensor, norm: nn.BatchNorm3d, *excite: Tensor
    ) -> Tensor:
        del gamma
        y, *rest = _gated_silu(x, norm, found, excite, torch.empty_like(x))
        ctx.save_for_backward(x, beta, *rest, *excite)
        ctx.batch = norm.training
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, beta, table, gates, *rest = ctx.saved_tensors
        (frames, positions, channels), dy, dx = _sizes(x), dy.contiguous(), torch.empty_like(x)
        per = x.shape[1] if rest else frames
        ends = per, positions, channels
        sums, k = x.new_empty(frames, 2, channels), x.new_empty(4, channels)
        launch(kernels.silu_sums, frames, dy, x, table, gates, dx, sums, *ends)
        dgates, rows = torch.empty_like(gates), torch.empty_like(gates)
        totals = x.new_empty(len(gates), 2, channels)
        launch(kernels.gate_gradient, len(gates), sums, table, beta, per, channels, totals, dgates)
        means, dmeans = gates, torch.zeros_like(gates)
        dexcite: list[Tensor] = []
        if rest:
            means, squeezed, hidden, *excite = rest
            dmeans, *dexcite = excite_backward(dgates, gates, squeezed, hidden, tuple(excite))
        of_clips = totals, table, gates, means, dmeans
        launch(kernels.settle_silu, channels, *of_clips, ctx.batch, per, positions, k, rows)
        launch(kernels.silu_gradient, frames, x, table, gates, k, rows, dx, *ends)
        return dx, k[0], k[1], None, None, *dexcite
