"""The forward pass of `network.X3D` laid out for CPUs: same parameters, same result, other kernels.

PyTorch's channel-wise 3-D convolution is slow on CPUs, its backward above all. Here the frames of
the batch lie time-major in one 2-D batch, channels last in memory. Then a 1xkxk convolution is a
2-D one, a 1x1x1 convolution a matrix product, a shift in time a slice without a copy, and batch
norm and activations need no change.

Shapes: N clips, C channels, T frames, H height, W width, F = T * N frames with index t * N + n.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from expander.model.blocks import STEM_TAPS, Block, Head, SqueezeExcite, Stem
from expander.model.depthwise import depthwise_3x3x3


def usable(x_NCTHW: Tensor) -> bool:
    """Whether to compute this way: eagerly on a CPU. Tracers and exporters get standard layers."""
    return (
        x_NCTHW.device.type == "cpu"
        and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        and not torch.compiler.is_compiling()
        and not torch.is_autocast_enabled("cpu")
    )


def forward(stem: Stem, stages: Iterable[nn.Module], head: Head, x_NCTHW: Tensor) -> Tensor:
    """Clips (N, 3, T, H, W) -> logits (N, classes)."""
    clips = x_NCTHW.shape[0]
    x_FCHW = _stem(stem, x_NCTHW)
    for stage in stages:
        for block in stage.children():
            assert isinstance(block, Block)
            x_FCHW = _block(block, x_FCHW, clips)
    x_FCHW = F.relu_(head.bn(_pointwise(head.conv, x_FCHW)))
    return head.classify(_clip_mean(x_FCHW, clips))


def _stem(stem: Stem, x_NCTHW: Tensor) -> Tensor:
    """(N, 3, T, H, W) -> (F, C, H / 2, W / 2)."""
    frames = x_NCTHW.shape[2]
    x_FCHW = x_NCTHW.permute(2, 0, 3, 4, 1).flatten(0, 1).contiguous().permute(0, 3, 1, 2)
    weight = stem.conv_xy.weight.squeeze(2)
    if frames == 1:  # only the middle tap sees a frame: both convolutions are one
        weight = weight * stem.conv_t.weight[:, :, STEM_TAPS // 2]
    x_FCHW = F.conv2d(x_FCHW, weight, None, 2, 1)
    if frames > 1:
        x_FCHW = _temporal(x_FCHW, stem.conv_t.weight, frames)
    return F.relu_(stem.bn(x_FCHW))


def _temporal(x_FCHW: Tensor, weight: Tensor, frames: int) -> Tensor:
    """The depthwise temporal convolution as one 2-D convolution over an image (T, N * H * W)."""
    x_FHWC = x_FCHW.permute(0, 2, 3, 1)
    reach = min(STEM_TAPS // 2, frames - 1)  # the taps beyond it see padding only
    taps, first = 2 * reach + 1, STEM_TAPS // 2 - reach
    x_1TPC = x_FHWC.reshape(1, frames, -1, len(weight))
    if frames < taps:  # oneDNN's weight gradient is several times slower where the kernel overhangs
        x_1TPC = F.pad(x_1TPC, (0, 0, 0, 0, 0, taps - frames))
    kernel = weight[:, :, first : first + taps, :, 0]
    y_1CTP = F.conv2d(x_1TPC.permute(0, 3, 1, 2), kernel, None, 1, (reach, 0), 1, len(weight))
    y_1TPC = y_1CTP.permute(0, 2, 3, 1)
    if frames < taps:
        y_1TPC = y_1TPC[:, :frames]
    return y_1TPC.reshape(x_FHWC.shape).permute(0, 3, 1, 2)


def _block(block: Block, x_FCHW: Tensor, clips: int) -> Tensor:
    """(F, C, H, W) -> (F, out, H / stride, W / stride)."""
    y = F.relu_(block.bn_a(_pointwise(block.conv_a, x_FCHW)))
    y = depthwise_3x3x3(y, block.conv_b.weight, block.conv_b.stride[1], clips)
    y = block.bn_b(y)
    y = F.silu(y if block.se is None else _excite(block.se, y, clips))
    y = block.bn_c(_pointwise(block.conv_c, y))
    if block.shortcut is not None:
        x_FCHW = block.shortcut.bn(_pointwise(block.shortcut.conv, x_FCHW))
    return F.relu_(y + x_FCHW)


def _excite(se: SqueezeExcite, x_FCHW: Tensor, clips: int) -> Tensor:
    hidden = F.relu_(F.linear(_clip_mean(x_FCHW, clips), se.fc1.weight.flatten(1), se.fc1.bias))
    gate_NC = F.linear(hidden, se.fc2.weight.flatten(1), se.fc2.bias).sigmoid()
    if x_FCHW.shape[0] == clips:
        return x_FCHW * gate_NC[:, :, None, None]
    x_TNCHW = x_FCHW.view(-1, clips, *x_FCHW.shape[1:])
    return (x_TNCHW * gate_NC[:, :, None, None]).flatten(0, 1)


def _clip_mean(x_FCHW: Tensor, clips: int) -> Tensor:
    """(F, C, H, W) -> the mean of each clip (N, C)."""
    mean_FC = x_FCHW.mean((2, 3))
    return mean_FC if len(mean_FC) == clips else mean_FC.view(-1, clips, mean_FC.shape[1]).mean(0)


def _pointwise(conv: nn.Conv3d, x_FCHW: Tensor) -> Tensor:
    """A 1x1x1 convolution without bias, of the stride that it has."""
    x_FHWC, stride = x_FCHW.permute(0, 2, 3, 1), conv.stride[1]
    if stride > 1:  # sliced here, channels last, so that the gradient is channels last too
        x_FHWC = x_FHWC[:, ::stride, ::stride]
    return F.linear(x_FHWC, conv.weight.flatten(1)).permute(0, 3, 1, 2)
