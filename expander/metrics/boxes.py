"""Arithmetic of boxes.

Shapes: n and m boxes of x1, y1, x2, y2. Of shares, pixels or whatever both have in common.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def areas(boxes: Floats) -> Floats:
    """(n,) of boxes (n, 4); 0 where a box is turned inside out."""
    found: Floats = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)
    return found


def iou(boxes: Floats, others: Floats) -> Floats:
    """(n, m) intersection over union of boxes (n, 4) and (m, 4); 0 of two boxes without area."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=2)
    union = areas(boxes)[:, None] + areas(others)[None] - shared
    found: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return found
