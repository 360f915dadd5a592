"""The forward pass of `network.X3D` laid out for CPUs: same parameters, same result, other kernels.

PyTorch's channel-wise 3-D convolution is slow on CPUs, its backward above all, and what lies between
convolutions costs as much again: memory is passed over many times. Here every array is (N, T, H, W, C)
from the clips to the head, the channel-wise convolutions are kernels of our own that also give the
statistics for the batch norm after them, and a norm and its activation are one operation.

Shapes: N clips, T frames, H height, W width, C channels.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from expander.kernels.depthwise import compiles, depthwise, enabled, temporal
from expander.model.blocks import STEM_TAPS, Block, Head, SqueezeExcite, Stem


def usable(x_NCTHW: Tensor) -> bool:
    """Whether to compute this way: eagerly on a CPU. Tracers and exporters get standard layers."""
    return (
        x_NCTHW.device.type == "cpu"
        and x_NCTHW.dtype in (torch.float32, torch.float64)
        and enabled()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        and not torch.compiler.is_compiling()
        and not torch.is_autocast_enabled("cpu")
        and compiles()
    )


def forward(stem: Stem, stages: Iterable[nn.Module], head: Head, x_NCTHW: Tensor) -> Tensor:
    """Clips (N, 3, T, H, W) -> logits (N, classes)."""
    from expander.kernels.norm import conv_norm_relu

    x_NTHWC = _stem(stem, x_NCTHW)
    for stage in stages:
        for block in stage.children():
            assert isinstance(block, Block)
            x_NTHWC = _block(block, x_NTHWC)
    x_NTHWC = conv_norm_relu(x_NTHWC, head.conv, head.bn)
    return head.classify(x_NTHWC.mean((1, 2, 3)))


def _stem(stem: Stem, x_NCTHW: Tensor) -> Tensor:
    """(N, 3, T, H, W) -> (N, T, H / 2, W / 2, C)."""
    from expander.kernels.norm import moments, norm_relu

    clips, _, frames = x_NCTHW.shape[:3]
    x_FHWC = x_NCTHW.permute(0, 2, 3, 4, 1).contiguous().flatten(0, 1)
    weight = stem.conv_xy.weight.squeeze(2)
    if frames == 1:  # only the middle tap sees a frame: both convolutions are one
        weight = weight * stem.conv_t.weight[:, :, STEM_TAPS // 2]
    y_FCHW = F.conv2d(x_FHWC.permute(0, 3, 1, 2), weight, None, 2, 1)
    y_NTHWC = y_FCHW.permute(0, 2, 3, 1).contiguous()
    y_NTHWC = y_NTHWC.view(clips, frames, *y_NTHWC.shape[1:])
    if frames == 1:
        return norm_relu(y_NTHWC, stem.bn, moments(y_NTHWC))
    y_NTHWC, found = temporal(y_NTHWC, stem.conv_t.weight)
    return norm_relu(y_NTHWC, stem.bn, found)


def _block(block: Block, x_NTHWC: Tensor) -> Tensor:
    """(N, T, H, W, C) -> (N, T, H / stride, W / stride, out)."""
    from expander.kernels.norm import conv_norm_relu, norm_silu

    y = conv_norm_relu(x_NTHWC, block.conv_a, block.bn_a)
    y, found = depthwise(y, block.conv_b.weight, block.conv_b.stride[1])
    y = norm_silu(y, block.bn_b, found, _excite(block.se))
    if (shortcut := block.shortcut) is not None:
        x_NTHWC = conv_norm_relu(x_NTHWC, shortcut.conv, shortcut.bn, relu=False)
    return conv_norm_relu(y, block.conv_c, block.bn_c, x_NTHWC)


def _excite(se: SqueezeExcite | None) -> tuple[Tensor, ...]:
    """Its parameters as `norm_silu` takes them."""
    if se is None:
        return ()
    assert se.fc1.bias is not None
    assert se.fc2.bias is not None
    return se.fc1.weight.flatten(1), se.fc1.bias, se.fc2.weight.flatten(1), se.fc2.bias
