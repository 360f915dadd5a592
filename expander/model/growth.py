"""A network that begins as a smaller one, of which it is an expansion.

Exact at first, in evaluation: new blocks are identities, and what reads a new channel weighs it with zero
(as Net2Net, arXiv 1511.05641, but with new channels of their own instead of copies). Over more frames, other
strides and larger crops the weights stay as they are, and the function does not.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from expander.model.network import X3D


@torch.no_grad()
def grow(network: X3D, parent: Mapping[str, Tensor]) -> None:
    """Gives a new network the weights of one that is no larger along any axis.

    parent: its state_dict. Raises ValueError for one that is larger, or of another base.
    """
    own = network.state_dict()
    if missing := sorted(set(parent) - set(own)):
        raise ValueError(f"the parent is deeper: it has {missing[0]}")
    for name, old in parent.items():
        new = own[name]
        if new.ndim != old.ndim or any(now < was for now, was in zip(new.shape, old.shape, strict=True)):
            raise ValueError(f"{name}: {tuple(old.shape)} of the parent does not fit into {tuple(new.shape)}")
        place = tuple(slice(size) for size in old.shape)
        if new.ndim > 1:
            new[: old.shape[0], old.shape[1] :] = 0
        new[place] = old
