"""What is done to a batch and its targets: mixup and label smoothing.

Source: mixup (arXiv 1710.09412), with the batch in reverse order as the partner of each clip.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor
from torch.nn.functional import cross_entropy


def mixed(clips_NCTHW: Tensor, alpha: float, rng: np.random.Generator) -> tuple[Tensor, float]:
    """Each clip mixed with its partner, and the share that is its own; alpha 0 mixes nothing."""
    if alpha == 0:
        return clips_NCTHW, 1.0
    share = float(rng.beta(alpha, alpha))
    return clips_NCTHW.lerp(clips_NCTHW.flip(0), 1 - share), share


def mixed_loss(logits_NK: Tensor, labels_N: Tensor, share: float | Tensor, smoothing: float) -> Tensor:
    """Cross-entropy of clips that are `share` of their own label and the rest of their partner's."""
    own = cross_entropy(logits_NK, labels_N, label_smoothing=smoothing)
    if isinstance(share, float) and share == 1:  # a tensor's value is not asked for: it may be on a GPU
        return own
    other = cross_entropy(logits_NK, labels_N.flip(0), label_smoothing=smoothing)
    loss: Tensor = share * own + (1 - share) * other
    return loss
