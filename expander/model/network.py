"""X3D(spec): the network of a Spec.

Shapes: N batch, C channels, T frames, H height, W width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from expander.model import fused_forward
from expander.model.blocks import Block, Head, Stem
from expander.specs.spec import Spec


class X3D(nn.Module):
    """The network of `spec` (arXiv 2004.04730): clips (N, 3, T, H, W) -> logits (N, classes).

    Any clip length and any crop; logits, never probabilities, in training and in evaluation.
    `plain` makes it use ordinary layers everywhere (slower; needed for forward hooks
    on the submodules and for second derivatives). `dilation`: see `detector.Detector`.
    """

    def __init__(self, spec: Spec, dropout: float = 0.5, he_head: bool = False) -> None:
        super().__init__()
        self.plain = False
        self.dilation = 1
        self.he_head = he_head
        self.stem = Stem(spec.stem_width)
        widths, inner_widths = spec.widths, spec.inner_widths
        sizes = zip((spec.stem_width, *widths), inner_widths, widths, spec.depths, strict=False)
        self.stages = nn.ModuleList(_stage(*size) for size in sizes)
        inner, classes = inner_widths[-1], spec.base.classes
        self.head = Head(widths[-1], inner, spec.base.head_width, classes, dropout)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """MSRA (fan out) convolutions, N(0, 0.01) linears, and blocks that start as identity.

        he_head: the first linear from He instead. Two linears of 0.01 in a row are meant for the
        published width of 2048; through a narrow head almost no gradient flows at first.
        """
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
            elif isinstance(module, nn.BatchNorm3d):
                module.reset_parameters()
            if isinstance(module, nn.Conv3d | nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        if self.he_head:
            nn.init.kaiming_normal_(self.head.fc1.weight, nonlinearity="relu")
        for module in self.modules():
            if isinstance(module, Block):
                nn.init.zeros_(module.bn_c.weight)

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        """Logits (N, classes) of float clips (N, 3, T, H, W)."""
        if not self.plain and (kernels := fused_forward.kernels_for(x_NCTHW)) is not None:
            return fused_forward.forward(kernels, self.stem, self.stages, self.head, x_NCTHW)
        x_NCTHW = self.stem(laid_out(x_NCTHW))
        for stage in self.stages:
            x_NCTHW = stage(x_NCTHW)
        logits: Tensor = self.head(x_NCTHW)
        return logits


def laid_out(x_NCTHW: Tensor) -> Tensor:
    """Clips in the order of memory that standard layers are quick with."""
    return x_NCTHW.contiguous(memory_format=torch.channels_last_3d) if x_NCTHW.is_cuda else x_NCTHW


def _stage(channels: int, inner: int, out: int, depth: int) -> nn.Sequential:
    """`depth` blocks; the first one changes channels and resolution, every second one excites."""
    return nn.Sequential(
        *(Block(out if i else channels, inner, out, i == 0, i % 2 == 0) for i in range(depth))
    )
