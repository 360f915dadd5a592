"""Resize and crop of decoded frames: by the own kernel, or where numba is not by torch, up to rounding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from expander.kernels.choice import compiled_by_numba


@dataclass(frozen=True, slots=True)
class Taps:
    """Along one side: of each place both its neighbours in the source, (2, places), and the weight of the
    second, (places,). Places rise or fall. Not to be written to: they are kept.
    """

    neighbours: NDArray[np.int64]
    weight: NDArray[np.float32]


def resize_crop(frames_THWC: Tensor, down: Taps, across: Taps, scale: float, shift: float) -> Tensor:
    """(T, H, W, 3) bytes to floats at the places of `down` and `across`, divided by scale, less shift."""
    kernels = compiled_by_numba("frames.resize_numba")
    if kernels is None:
        return _by_torch(frames_THWC, down, across).div_(scale).sub_(shift)
    frames = np.ascontiguousarray(frames_THWC.numpy())
    out = np.empty((len(frames), len(down.weight), len(across.weight), frames.shape[3]), np.float32)
    kernels.resize_crop(frames, down.neighbours, down.weight, across.neighbours, across.weight,
                        np.float32(scale), np.float32(shift), out)  # fmt: skip
    return torch.from_numpy(out)


def _by_torch(frames_THWC: Tensor, down: Taps, across: Taps) -> Tensor:
    (above, below), rows = torch.from_numpy(down.neighbours), torch.from_numpy(down.weight)[:, None, None]
    (left, right), columns = torch.from_numpy(across.neighbours), torch.from_numpy(across.weight)[:, None]
    low, high = int(across.neighbours.min()), int(across.neighbours.max()) + 1
    seen = frames_THWC[:, :, low:high]
    first, second = seen.index_select(1, above).float(), seen.index_select(1, below).float()
    lines = torch.lerp(first, second, rows)
    return torch.lerp(lines.index_select(2, left - low), lines.index_select(2, right - low), columns)
