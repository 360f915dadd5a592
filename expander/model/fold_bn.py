"""Batch norm folded into the convolutions before it: fewer operations in evaluation, the same function."""

from __future__ import annotations

import copy

import torch
from torch import nn

from expander.model.network import X3D


def fold_batch_norm(network: X3D) -> X3D:
    """A copy of `network` for evaluation whose convolutions have their norms' scale and a bias.

    For inference on plain layers; it cannot be trained and its state dict is not the network's.
    """
    folded = copy.deepcopy(network).eval()
    folded.plain = True
    for module in list(folded.modules()):
        children = dict(module.named_children())
        for conv, norm in PAIRS.items():
            if conv in children and isinstance(children.get(norm), nn.BatchNorm3d):
                setattr(module, conv, _folded(children[conv], children[norm]))
                setattr(module, norm, nn.Identity())
    return folded


PAIRS = {"conv_a": "bn_a", "conv_b": "bn_b", "conv_c": "bn_c", "conv_t": "bn", "conv": "bn"}
"""The convolutions of `blocks` and the norms after them."""


@torch.no_grad()
def _folded(conv: nn.Module, norm: nn.Module) -> nn.Conv3d:
    """One convolution with bias that does what both do in evaluation."""
    assert isinstance(conv, nn.Conv3d)
    assert isinstance(norm, nn.BatchNorm3d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    conv.weight.mul_(scale[:, None, None, None, None])
    conv.bias = nn.Parameter(norm.bias - norm.running_mean * scale)
    return conv
