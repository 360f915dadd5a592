"""Stem, residual block and head of X3D as plain 3-D convolutions: the definition of the network.

Source: X3D (arXiv 2004.04730), table 1; the details agree with the released SlowFast code.
Shapes: N batch, C channels, T frames, H height, W width; no layer here changes T.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from expander.kernels.depthwise import convolve, pointwise
from expander.specs.spec import SE_RATIO, round_width

STEM_TAPS = 5  # frames that the temporal convolution of the stem sees


class Stem(nn.Module):
    """1x3x3 convolution of stride 2, then a depthwise 5x1x1 convolution, batch norm and ReLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_xy = nn.Conv3d(3, width, (1, 3, 3), (1, 2, 2), (0, 1, 1), bias=False)
        taps, padding = (STEM_TAPS, 1, 1), (STEM_TAPS // 2, 0, 0)
        self.conv_t = nn.Conv3d(width, width, taps, 1, padding, groups=width, bias=False)
        self.bn = nn.BatchNorm3d(width)

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """(N, 3, T, H, W) -> (N, width, T, H / 2, W / 2)."""
        return F.relu_(self.bn(convolve(self.conv_t, self.conv_xy(x_NCTHW))))


class SqueezeExcite(nn.Module):
    """Scales each channel by a gate in (0, 1) computed from the channel means of the whole clip."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = round_width(channels * SE_RATIO)
        self.fc1 = nn.Conv3d(channels, hidden, 1)
        self.fc2 = nn.Conv3d(hidden, channels, 1)

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """(N, C, T, H, W) -> the same shape."""
        mean_NC111 = x_NCTHW.mean((2, 3, 4), keepdim=True)
        gate_NC111: Tensor = self.fc2(F.relu_(self.fc1(mean_NC111))).sigmoid()
        return x_NCTHW * gate_NC111


class Shortcut(nn.Module):
    """1x1x1 convolution and batch norm, where a block changes the channels or the resolution."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(channels, out, 1, (1, stride, stride), bias=False)
        self.bn = nn.BatchNorm3d(out)

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """(N, channels, T, H, W) -> (N, out, T, H / stride, W / stride)."""
        normed: Tensor = self.bn(self.conv(x_NCTHW))
        return normed


class Block(nn.Module):
    """Inverted bottleneck: 1x1x1 up, depthwise 3x3x3, [squeeze-excite], SiLU, 1x1x1 down, sum.

    The first block of a stage halves the resolution and has a projection shortcut.
    """

    def __init__(self, channels: int, inner: int, out: int, first: bool, excite: bool) -> None:
        super().__init__()
        stride = 2 if first else 1
        self.conv_a = nn.Conv3d(channels, inner, 1, bias=False)
        self.bn_a = nn.BatchNorm3d(inner)
        self.conv_b = nn.Conv3d(inner, inner, 3, (1, stride, stride), 1, groups=inner, bias=False)
        self.bn_b = nn.BatchNorm3d(inner)
        self.se = SqueezeExcite(inner) if excite else None
        self.conv_c = nn.Conv3d(inner, out, 1, bias=False)
        self.bn_c = nn.BatchNorm3d(out)
        self.shortcut = Shortcut(channels, out, stride) if first else None

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """(N, channels, T, H, W) -> (N, out, T, H / stride, W / stride)."""
        y = F.relu_(self.bn_a(pointwise(self.conv_a, x_NCTHW)))
        y = self.bn_b(convolve(self.conv_b, y))
        y = F.silu(y if self.se is None else self.se(y))
        y = self.bn_c(pointwise(self.conv_c, y))
        return F.relu_(y + (x_NCTHW if self.shortcut is None else self.shortcut(x_NCTHW)))


class Head(nn.Module):
    """1x1x1 convolution to the inner width, global average, hidden linear, dropout, classifier."""

    def __init__(self, channels: int, inner: int, hidden: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.conv = nn.Conv3d(channels, inner, 1, bias=False)
        self.bn = nn.BatchNorm3d(inner)
        self.fc1 = nn.Linear(inner, hidden, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.fc2 = nn.Linear(hidden, classes)

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """(N, channels, T, H, W) -> logits (N, classes)."""
        x_NCTHW = F.relu_(self.bn(pointwise(self.conv, x_NCTHW)))
        return self.classify(F.adaptive_avg_pool3d(x_NCTHW, 1).flatten(1))

    def classify(self, x_NC: Tensor) -> Tensor:
        """Pooled features (N, inner) -> logits (N, classes)."""
        logits: Tensor = self.fc2(self.dropout(F.relu_(self.fc1(x_NC))))
        return logits
