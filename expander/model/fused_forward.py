"""The forward pass of `network.X3D` laid out for CPUs: same parameters, same result, other kernels.

PyTorch's channel-wise 3-D convolution is slow on CPUs, its backward above all, and what lies between
convolutions costs as much again: memory is passed over many times. Here every array is (N, T, H, W, C)
from the clips to the head, the channel-wise convolutions are kernels of our own that also give the
statistics for the batch norm after them, and a norm and its activation are one operation.

Shapes: N clips, T frames, H height, W width, C channels.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from expander.kernels.choice import enabled
from expander.kernels.depthwise import TRITON_KINDS, compiles, installed
from expander.kernels.excite import Excite
from expander.model.blocks import STEM_TAPS, Block, Head, SqueezeExcite, Stem


def kernels_for(x_NCTHW: Tensor) -> Any:
    """`kernels.norm` or `kernels.norm_cuda`, or none: tracers and exporters get standard layers."""
    traced = torch.jit.is_tracing() or torch.compiler.is_compiling()  # type: ignore[attr-defined, no-untyped-call]
    if traced or not enabled():
        return None
    if x_NCTHW.is_cuda:
        kind = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else x_NCTHW.dtype
        if kind not in TRITON_KINDS or not installed("triton"):
            return None
        from expander.kernels import norm_cuda

        return norm_cuda
    floats = x_NCTHW.dtype in (torch.float32, torch.float64) and not torch.is_autocast_enabled("cpu")
    if x_NCTHW.device.type != "cpu" or not floats or not compiles():
        return None
    from expander.kernels import norm

    return norm


def forward(kernels: Any, stem: Stem, stages: Iterable[nn.Module], head: Head, x_NCTHW: Tensor) -> Tensor:
    """Clips (N, 3, T, H, W) -> logits (N, classes)."""
    return head.classify(features(kernels, stem, stages, head, x_NCTHW).mean((1, 2, 3)))


def features(kernels: Any, stem: Stem, stages: Iterable[nn.Module], head: Head, x_NCTHW: Tensor) -> Tensor:
    """Clips (N, 3, T, H, W) -> (N, T, H / stride, W / stride, C) after the first convolution of the head."""
    x_NTHWC = _stem(kernels, stem, x_NCTHW)
    for stage in stages:
        for block in stage.children():
            assert isinstance(block, Block)
            x_NTHWC = _block(kernels, block, x_NTHWC)
    return kernels.conv_norm_relu(x_NTHWC, head.conv, head.bn)  # type: ignore[no-any-return]


def _stem(kernels: Any, stem: Stem, x_NCTHW: Tensor) -> Tensor:
    """(N, 3, T, H, W) -> (N, T, H / 2, W / 2, C)."""
    clips, _, frames = x_NCTHW.shape[:3]
    x_FHWC = x_NCTHW.permute(0, 2, 3, 4, 1).contiguous().flatten(0, 1)
    weight = stem.conv_xy.weight.squeeze(2)
    if frames == 1:  # only the middle tap sees a frame: both convolutions are one
        weight = weight * stem.conv_t.weight[:, :, STEM_TAPS // 2]
    y_FCHW = F.conv2d(x_FHWC.permute(0, 3, 1, 2), weight, None, 2, 1)
    y_NTHWC = y_FCHW.permute(0, 2, 3, 1).contiguous()
    y_NTHWC = y_NTHWC.view(clips, frames, *y_NTHWC.shape[1:])
    if frames == 1:
        return kernels.norm_relu(y_NTHWC, stem.bn, kernels.moments(y_NTHWC))  # type: ignore[no-any-return]
    y_NTHWC, found = kernels.temporal(y_NTHWC, stem.conv_t.weight)
    return kernels.norm_relu(y_NTHWC, stem.bn, found)  # type: ignore[no-any-return]


def _block(kernels: Any, block: Block, x_NTHWC: Tensor) -> Tensor:
    """(N, T, H, W, C) -> (N, T, H / stride, W / stride, out)."""
    y = kernels.conv_norm_relu(x_NTHWC, block.conv_a, block.bn_a)
    y, found = _depthwise(kernels, block.conv_b, y)
    y = kernels.norm_silu(y, block.bn_b, found, _excite(block.se))
    if (shortcut := block.shortcut) is not None:
        x_NTHWC = kernels.conv_norm_relu(x_NTHWC, shortcut.conv, shortcut.bn, relu=False)
    return kernels.conv_norm_relu(y, block.conv_c, block.bn_c, x_NTHWC)  # type: ignore[no-any-return]


def _depthwise(kernels: Any, conv: nn.Conv3d, x_NTHWC: Tensor) -> tuple[Tensor, Any]:
    """conv(x) of a channel-wise 3x3x3 convolution, and the moments of the result.

    Dilated by d it sees every d-th row and column alone: each clip is d * d clips, convolved undilated.
    """
    if (apart := conv.dilation[1]) == 1:
        return kernels.depthwise(x_NTHWC, conv.weight, conv.stride[1])  # type: ignore[no-any-return]
    n, t, h, w, c = x_NTHWC.shape
    rows, columns = -(-h // apart), -(-w // apart)
    x_NTHWC = F.pad(x_NTHWC, (0, 0, 0, columns * apart - w, 0, rows * apart - h))
    parts = x_NTHWC.view(n, t, rows, apart, columns, apart, c).permute(0, 3, 5, 1, 2, 4, 6)
    y, _ = kernels.depthwise(parts.reshape(-1, t, rows, columns, c), conv.weight, 1)
    y = y.view(n, apart, apart, t, rows, columns, c).permute(0, 3, 4, 1, 5, 2, 6)
    y = y.reshape(n, t, rows * apart, columns * apart, c)[:, :, :h, :w].contiguous()
    return y, kernels.moments(y)


def _excite(se: SqueezeExcite | None) -> Excite:
    """Its parameters as `norm_silu` takes them."""
    if se is None:
        return ()
    assert se.fc1.bias is not None
    assert se.fc2.bias is not None
    return se.fc1.weight.flatten(1), se.fc1.bias, se.fc2.weight.flatten(1), se.fc2.bias
