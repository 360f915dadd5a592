"""Batch norm over the clips of all processes of a training.

torch.nn.SyncBatchNorm computes on GPUs only; this is made of plain operations and runs on both, so
that what is tested with processes on CPUs is what runs on GPUs. Every process must have the same number
of clips.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from expander.model.network import X3D


class SyncedBatchNorm(nn.BatchNorm3d):
    """As BatchNorm3d; in training, mean and variance are those of all processes together."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalises (N, C, ...) over all but C."""
        if not self.training or not dist.is_initialized():
            normed: Tensor = super().forward(input)
            return normed
        x = input.float()
        dims = [0, *range(2, x.dim())]
        shape = (1, -1, *[1] * (x.dim() - 2))
        count = x.numel() // x.shape[1] * dist.get_world_size()
        mean_C = _total(x.sum(dims)) / count
        centred = x - mean_C.view(shape)
        var_C = _total(centred.square().sum(dims)) / count
        self._track(mean_C.detach(), var_C.detach() * count / max(1, count - 1))
        scale_C = self.weight * (var_C + self.eps).rsqrt()
        return (centred * scale_C.view(shape) + self.bias.view(shape)).to(input.dtype)

    @torch.no_grad()
    def _track(self, mean_C: Tensor, var_C: Tensor) -> None:
        assert self.num_batches_tracked is not None
        assert self.running_mean is not None
        assert self.running_var is not None
        self.num_batches_tracked += 1
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean_C, share)
        self.running_var.lerp_(var_C, share)


class _Sum(torch.autograd.Function):
    """The sum of a tensor over the processes; so every process's loss has a share in its gradient."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:  # noqa: ARG004
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:  # noqa: ARG004
        total = grads[0].contiguous().clone()
        dist.all_reduce(total)
        return total


def _total(value: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(value)  # type: ignore[no-untyped-call]
    return total


def synced(network: nn.Module) -> nn.Module:
    """`network` with every BatchNorm3d replaced by one that is synced; names and values stay.

    The network then runs its plain layers: the kernels for CPUs have a norm of their own, of one process.
    """
    if isinstance(network, X3D):
        network.plain = True
    for name, module in list(network.named_children()):
        if isinstance(module, nn.BatchNorm3d):
            new = SyncedBatchNorm(module.num_features, module.eps, module.momentum)
            new.load_state_dict(module.state_dict())
            setattr(network, name, new.to(module.weight.device))
        else:
            synced(module)
    return network
