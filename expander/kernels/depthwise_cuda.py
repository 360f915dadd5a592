"""Channel-wise convolution on a GPU as operators of PyTorch, so that its compiler sees through them.

`depthwise` has a meaning for shapes alone (fake) and a gradient, itself made of operators: autocast,
torch.compile and checks by torch.library.opcheck work as with operators of PyTorch. The Triton kernels
behind them are imported at the first call. Under TRITON_INTERPRET=1 the operators take CPU tensors too.

Shapes: N clips, T frames, H height, W width, C channels; G and V height and width of the result.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


@torch.library.custom_op("expander::depthwise", mutates_args=())
def depthwise(x_NTHWC: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Convolve contiguous clips with `weight` (C, 1, 3, 3, 3) or (C, 1, 5, 1, 1), padded to keep T."""
    from expander.kernels import depthwise_triton

    return depthwise_triton.forward(x_NTHWC.contiguous(), weight, stride)


@torch.library.custom_op("expander::depthwise_input_gradient", mutates_args=())
def input_gradient(dy_NTGVC: Tensor, weight: Tensor, stride: int, height: int, width: int) -> Tensor:
    """The gradient of the clips (N, T, height, width, C)."""
    from expander.kernels import depthwise_triton

    return depthwise_triton.input_gradient(dy_NTGVC.contiguous(), weight, stride, height, width)


@torch.library.custom_op("expander::depthwise_weight_gradient", mutates_args=())
def weight_gradient(x_NTHWC: Tensor, dy_NTGVC: Tensor, weight: Tensor, stride: int) -> Tensor:
    """The gradient of `weight`, of its shape and kind."""
    from expander.kernels import depthwise_triton

    return depthwise_triton.weight_gradient(x_NTHWC.contiguous(), dy_NTGVC.contiguous(), weight, stride)


@depthwise.register_fake
def _(x_NTHWC: Tensor, weight: Tensor, stride: int) -> Tensor:  # noqa: ARG001
    n, t, h, w, c = x_NTHWC.shape
    return x_NTHWC.new_empty(n, t, (h - 1) // stride + 1, (w - 1) // stride + 1, c)


@input_gradient.register_fake
def _(
    dy_NTGVC: Tensor,
    weight: Tensor,  # noqa: ARG001
    stride: int,  # noqa: ARG001
    height: int,
    width: int,
) -> Tensor:
    n, t, _, _, c = dy_NTGVC.shape
    return dy_NTGVC.new_empty(n, t, height, width, c)


@weight_gradient.register_fake
def _(x_NTHWC: Tensor, dy_NTGVC: Tensor, weight: Tensor, stride: int) -> Tensor:  # noqa: ARG001
    return weight.new_empty(weight.shape)


def _remember(ctx: Any, inputs: tuple[Tensor, Tensor, int], output: Tensor) -> None:  # noqa: ARG001
    x, weight, ctx.stride = inputs
    ctx.save_for_backward(x, weight)


def _backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
    (x, weight), dx, dw = ctx.saved_tensors, None, None
    if ctx.needs_input_grad[0]:
        dx = input_gradient(dy, weight, ctx.stride, x.shape[2], x.shape[3])
    if ctx.needs_input_grad[1]:
        dw = weight_gradient(x, dy, weight, ctx.stride)
    return dx, dw, None


depthwise.register_autograd(_backward, setup_context=_remember)
