"""The two layers of squeeze-excite on the means of clips, with their gradients.

excite: weight (hidden, C), bias, weight (C, hidden), bias of its two layers.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

Excite = tuple[Tensor, ...]


def gates_of(squeezed_NC: Tensor, excite: Excite) -> tuple[Tensor, Tensor]:
    """The gates (N, C) in (0, 1), and the hidden layer (N, hidden)."""
    hidden = F.linear(squeezed_NC, excite[0], excite[1]).relu_()
    return F.linear(hidden, excite[2], excite[3]).sigmoid_(), hidden


def excite_backward(
    dgates: Tensor, gates: Tensor, squeezed: Tensor, hidden: Tensor, excite: Excite
) -> tuple[Tensor, ...]:
    """The gradients of the input of squeeze-excite (N, C), and of its two layers."""
    d2 = dgates * gates * (1 - gates)
    d1 = (d2 @ excite[2]) * (hidden > 0)
    return d1 @ excite[0], d1.t() @ squeezed, d1.sum(0), d2.t() @ hidden, d2.sum(0)
