"""The processes that train one network together: who this one is, and what they tell each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from expander.errors import EnvironmentFault


def device_for(gpu: bool | None = None) -> torch.device:
    """The GPU or the CPU, as wanted; none: the GPU where there is one. Raises EnvironmentFault."""
    there = torch.cuda.is_available()
    if gpu and not there:
        raise EnvironmentFault("--gpus (backend.gpus_per_trial) asks for a GPU, and torch sees none here")
    return torch.device("cuda" if there and gpu is not False else "cpu")


@dataclass(frozen=True, slots=True)
class Workers:
    """rank: number of this process, of `size`. device: where it computes. Alone by default.

    With more than one, a process group of torch.distributed must be there.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=device_for)

    @property
    def leads(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def mean(self, value: Tensor) -> Tensor:
        """The mean of `value` over the processes, the same bits in each of them."""
        if self.size > 1:
            dist.all_reduce(value)
            value /= self.size
        return value

    def agreed(self, asked: bool) -> bool:
        """What the first process was asked: the same answer in each of them."""
        if self.size == 1:
            return asked
        answer = torch.tensor([asked])  # on the CPU: a GPU need not be waited for
        dist.broadcast(answer, 0)
        return bool(answer)

    def gather(self, value: Any) -> list[Any]:
        """`value` of every process, in the order of their ranks."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value)
        return found

    def wrapped(self, network: nn.Module) -> nn.Module:
        """What to call in training: gradients come out as their mean over the processes."""
        if self.size == 1:
            return network
        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(network, device_ids=devices)
