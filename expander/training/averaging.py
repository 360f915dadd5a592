"""Averages over a training: of the weights (EMA), and of batch norm's statistics (precise BN)."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import update_bn

from expander.data.clips import Batch
from expander.model.network import X3D
from expander.training.distributed import Workers


class WeightAverage:
    """Exponential moving average of the weights of a network, in a copy of it."""

    def __init__(self, network: X3D, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.decay = decay

    def update(self, network: nn.Module, step: int) -> None:
        """After optimiser step `step`, from 1. The first steps count more: they start from noise."""
        decay = min(self.decay, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.network.parameters()), list(network.parameters()), 1 - decay)

    def take_statistics(self, network: nn.Module) -> None:
        """The running statistics of `network`."""
        for own, other in zip(self.network.buffers(), network.buffers(), strict=True):
            own.copy_(other)


@torch.no_grad()
def measure_statistics(network: nn.Module, batches: Iterable[Batch], team: Workers) -> None:
    """Gives batch norm the mean of the statistics of `batches`: every process its own, then all together.

    network: is called with clips alone. Source: precise BN (arXiv 2105.07576, section 3); as fvcore does it,
    equal weight for each batch.
    """
    update_bn((batch.clips.to(team.device, non_blocking=True) for batch in batches), network)
    for norm in network.modules():
        if isinstance(norm, _BatchNorm):
            for statistic in (norm.running_mean, norm.running_var):
                assert statistic is not None
                team.mean(statistic)
