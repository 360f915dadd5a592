"""Detector(spec): X3D that says of each person in a clip what that person does.

The network of a spec with the same tensors as X3D(spec), so that weights of classification fit; only the
class numbers differ. What differs: the last stage keeps its resolution (as the detection networks of SlowFast
do; arXiv 1812.03982, section 5) and may be dilated, and the head looks at a box each. Of the head, in this
order: 1x1x1 convolution, batch norm, ReLU; mean over time; RoIAlign to 7 x 7; maximum over these; hidden
linear, ReLU; dropout; classifier.

Shapes: N clips, C channels, T frames, H height, W width, K boxes of all clips together.
"""

from __future__ import annotations

from typing import get_args

import torch.nn.functional as F
from torch import Tensor, nn

from expander.config.bounds import MOST
from expander.config.settings import Task
from expander.errors import UsageError
from expander.kernels.depthwise import pointwise
from expander.model import fused_forward
from expander.model.blocks import Block
from expander.model.network import X3D, laid_out
from expander.model.roi_align import roi_align
from expander.specs.spec import Spec

BINS = 7
"""Along each side of a box."""


class Detector(X3D):
    """Clips (N, 3, T, H, W) and boxes (K, 4) -> logits (K, classes): each class is a question of its own.

    dilation: of the channel-wise convolutions in all blocks of the last stage, in height and width (as in
    SlowFast's configurations for AVA). With 2 the blocks after the first see as far as in classification,
    where the first one halves; the first sees twice as far. Raises UsageError for what is none.
    """

    def __init__(
        self, spec: Spec, dropout: float = 0.5, he_head: bool = False, dilation: int = 1
    ) -> None:  # fmt: skip
        most = MOST["dilation"].value
        if type(dilation) is not int or not 1 <= dilation <= most:
            raise UsageError(f"dilation must be a whole number from 1 to {most}, not {dilation!r}")
        super().__init__(spec, dropout, he_head)
        self.dilation = dilation
        last = self.stages[-1]
        assert isinstance(last, nn.Sequential)
        first = last[0]
        assert isinstance(first, Block)
        assert first.shortcut is not None
        for conv in (first.conv_b, first.shortcut.conv):
            conv.stride = (1, 1, 1)
        for block in last.children():
            assert isinstance(block, Block)
            block.conv_b.dilation = block.conv_b.padding = (1, dilation, dilation)
        self.scale = 1 / 2 ** len(self.stages)
        """Feature cells a pixel: the stem and all stages but the last halve."""

    def features(self, x_NCTHW: Tensor) -> Tensor:
        """(N, 3, T, H, W) -> (N, C, H * scale, W * scale), rounded up: the mean over time."""
        if not self.plain and (kernels := fused_forward.kernels_for(x_NCTHW)) is not None:
            x_NTHWC = fused_forward.features(kernels, self.stem, self.stages, self.head, x_NCTHW)
            return x_NTHWC.mean(1).permute(0, 3, 1, 2)
        x_NCTHW = self.stem(laid_out(x_NCTHW))
        for stage in self.stages:
            x_NCTHW = stage(x_NCTHW)
        return F.relu_(self.head.bn(pointwise(self.head.conv, x_NCTHW))).mean(2)

    def forward(self, x_NCTHW: Tensor, boxes_K4: Tensor, clips_K: Tensor) -> Tensor:  # type: ignore[override]
        """Logits (K, classes) of boxes x1, y1, x2, y2 in pixels; clips_K: the number of each one's clip."""
        x_KCBB = roi_align(self.features(x_NCTHW), boxes_K4, clips_K, BINS, self.scale)
        return self.head.classify(x_KCBB.amax((2, 3)))


def network_of(
    spec: Spec, task: Task, dropout: float = 0.5, he_head: bool = False, dilation: int = 1
) -> X3D:  # fmt: skip
    """The network of a spec for a task. Raises UsageError for one that there is not."""
    if task not in get_args(Task):
        raise UsageError(f"task must be {' or '.join(get_args(Task))}, not {task!r}")
    if task == "detection":
        return Detector(spec, dropout, he_head, dilation)
    if dilation != 1:
        raise UsageError(f"dilation {dilation!r} is of the task detection; leave it out of {task}")
    return X3D(spec, dropout, he_head)
