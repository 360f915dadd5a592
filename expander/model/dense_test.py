"""Classifying every position of the last feature map, where a test crop is larger than the training crop.

SlowFast and PyTorchVideo pool with the kernel of the training crop and classify what is left: 2 x 2
positions of X3D-S and M at their three-crop sizes, 3 x 3 of X3D-L.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from expander.model.network import X3D
from expander.specs.spec import Spec


def feature_size(spec: Spec, crop: int) -> int:
    """Height and width of the last feature map: the stem and every stage halve, rounding up."""
    for _ in range(1 + len(spec.base.depths)):
        crop = -(-crop // 2)
    return crop


def positions(spec: Spec, crop: int) -> int:
    """How many are classified along each side at a crop."""
    return max(1, feature_size(spec, crop) - _kernel(spec) + 1)


def _kernel(spec: Spec) -> int:
    """The training crop over the total stride, rounded up."""
    return math.ceil(spec.crop / (1 << (1 + len(spec.base.depths))))


def position_logits(network: X3D, spec: Spec, x_NCTHW: Tensor) -> Tensor:
    """Clips (N, 3, T, H, W) -> logits (N, P, classes) of the P positions; the network is in evaluation."""
    side = positions(spec, x_NCTHW.shape[-1])
    if side == 1:
        logits: Tensor = network(x_NCTHW)
        return logits[:, None]
    x_NCTHW = network.stem(x_NCTHW)
    for stage in network.stages:
        x_NCTHW = stage(x_NCTHW)
    head = network.head
    x_NCTHW = F.relu_(head.bn(head.conv(x_NCTHW)))
    kernel = (x_NCTHW.shape[2], _kernel(spec), _kernel(spec))
    pooled_NCPP = F.avg_pool3d(x_NCTHW, kernel, stride=1).squeeze(2)
    features_NPC = pooled_NCPP.flatten(2).transpose(1, 2)
    classified: Tensor = head.classify(features_NPC.flatten(0, 1))
    return classified.view(*features_NPC.shape[:2], -1)
