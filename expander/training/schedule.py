"""The optimiser and its learning-rate schedule: SGD with Nesterov momentum, warm-up, then half a cosine.

Source of the recipe: X3D (arXiv 2004.04730), as in SlowFast's configurations: no weight decay on
batch normalisation, the learning rate set at every step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from expander.config.settings import Recipe

WARMUP_START = 0.1
"""Share of the peak learning rate at the first step of the warm-up."""


def lr_at(progress: float, recipe: Recipe) -> float:
    """The learning rate at `progress` in [0, 1) of the training: linear up, then half a cosine to 0."""
    peak = recipe.lr * (1 + math.cos(math.pi * progress)) / 2
    if progress >= recipe.warmup:
        return peak
    end = recipe.lr * (1 + math.cos(math.pi * recipe.warmup)) / 2
    return end * (WARMUP_START + (1 - WARMUP_START) * progress / recipe.warmup)


def _bare(method: Callable[..., Any]) -> Any:
    """What PyTorch has wrapped so that torch.compile leaves it alone; the wrapping imports the compiler."""
    return getattr(method, "__wrapped__", method)


class SGD(torch.optim.SGD):
    """PyTorch's, of a process that compiles nothing: it starts a second sooner."""

    add_param_group = _bare(torch.optim.SGD.add_param_group)
    zero_grad = _bare(torch.optim.SGD.zero_grad)
    state_dict = _bare(torch.optim.SGD.state_dict)
    load_state_dict = _bare(torch.optim.SGD.load_state_dict)
    step = torch.no_grad()(_bare(torch.optim.SGD.step))


def optimizer(network: nn.Module, recipe: Recipe) -> SGD:
    """SGD with weight decay on convolutions and linears only (parameters of one dimension: none)."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    nesterov = recipe.momentum > 0
    return SGD(groups, recipe.lr, recipe.momentum, nesterov=nesterov, fused=True)
