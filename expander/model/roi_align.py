"""RoIAlign: what a feature map shows inside a box, as a small grid (arXiv 1703.06870, section 3).

Half a pixel is subtracted from the box, as Detectron2 and torchvision (`aligned=True`) do. Bilinear
interpolation in a plane is one along its rows after one along its columns, and a bin is the mean of its
samples: so a box is cut out by two small matrices, and gradients need no code of their own. That is what
every CPU computes, torchvision installed or not; on a GPU its operator is used, where it works.

Shapes: K boxes, N clips, C channels, H height, W width, B bins a side, S samples a bin and side.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable

import torch
from torch import Tensor


def roi_align(
    x_NCHW: Tensor, boxes_K4: Tensor, clips_K: Tensor, bins: int, scale: float, samples: int = 0
) -> Tensor:
    """(K, C, B, B): the features of each box x1, y1, x2, y2 of the clip whose number stands in `clips_K`.

    boxes_K4: in pixels of the input. scale: feature cells a pixel. samples: a bin and side; 0: as many as a
    bin has cells, rounded up. A sample more than a cell outside of the map is 0, others outside are as the
    edge. Boxes get no gradient. Computed in single precision at least: in bfloat16 a box would be off by a
    pixel in a hundred.
    """
    if x_NCHW.is_cuda and torchvisions("cuda") is not None:
        return by_torchvision(x_NCHW, boxes_K4, clips_K, bins, scale, samples)
    precise = torch.promote_types(x_NCHW.dtype, torch.float32)
    with torch.autocast(x_NCHW.device.type, enabled=False):
        placed_K4 = boxes_K4.detach().to(precise) * scale - 0.5
        height, width = x_NCHW.shape[2:]
        rows_KBH = _weights(placed_K4[:, 1], placed_K4[:, 3], bins, height, samples)
        columns_KBW = _weights(placed_K4[:, 0], placed_K4[:, 2], bins, width, samples)
        seen_KCHW = x_NCHW[clips_K].to(precise)
        across_KCHB = torch.matmul(seen_KCHW, columns_KBW.transpose(1, 2)[:, None])
        return torch.matmul(rows_KBH[:, None], across_KCHB).to(x_NCHW.dtype)


def by_torchvision(
    x_NCHW: Tensor, boxes_K4: Tensor, clips_K: Tensor, bins: int, scale: float, samples: int = 0
) -> Tensor:
    """The same by torchvision's operator, which must work on the device of the features."""
    align, precise = torchvisions(x_NCHW.device.type), torch.promote_types(x_NCHW.dtype, torch.float32)
    assert align is not None
    with torch.autocast(x_NCHW.device.type, enabled=False):
        rows_K5 = torch.cat([clips_K[:, None].to(precise), boxes_K4.detach().to(precise)], 1)
        found = align(x_NCHW.to(precise), rows_K5, bins, scale, samples, aligned=True)
        return found.to(x_NCHW.dtype)


@functools.cache
def torchvisions(device: str) -> Callable[..., Tensor] | None:
    """torchvision's operator; none where it does not work on a kind of device, tried on a box.

    One built for another torch raises RuntimeError when it is imported, one for CPUs when it is called on a
    GPU.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its readers of pictures
            from torchvision.ops import roi_align as align
        align(torch.zeros(1, 1, 1, 1, device=device), torch.zeros(1, 5, device=device), 1)
    except (ImportError, OSError, RuntimeError, AttributeError):
        return None
    return align  # type: ignore[no-any-return]


def _weights(begin_K: Tensor, end_K: Tensor, bins: int, size: int, samples: int) -> Tensor:
    """(K, B, size): how much each cell of a line of `size` counts in each bin from `begin_K` to `end_K`."""
    bin_K = (end_K - begin_K) / bins
    count_K = bin_K.ceil() if samples == 0 else torch.full_like(bin_K, samples)
    most = int(count_K.max()) if len(count_K) else 0
    number_S = torch.arange(most, device=begin_K.device, dtype=begin_K.dtype)
    number_B = torch.arange(bins, device=begin_K.device, dtype=begin_K.dtype)
    within_KS = (number_S + 0.5) / count_K.clamp_min(1)[:, None]
    places_KBS = begin_K[:, None, None] + (number_B[:, None] + within_KS[:, None]) * bin_K[:, None, None]
    counted_KBS = (number_S < count_K[:, None])[:, None] & (places_KBS >= -1) & (places_KBS <= size)
    cells = torch.arange(size, device=begin_K.device, dtype=begin_K.dtype)
    # A cell counts by its nearness, down to 0 at a distance of 1: both neighbours of a place add up to 1.
    near_KBSW = (1 - (places_KBS.clamp(0, size - 1)[..., None] - cells).abs()).clamp_min(0)
    found_KBW = (near_KBSW * counted_KBS[..., None]).sum(2)
    return found_KBW / count_K.clamp_min(1)[:, None, None]
