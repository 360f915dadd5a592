"""Resize and crop of decoded frames in one pass, on a CPU: the kernel for numba.

Bytes are read once and floats written once; between them lies one row of the source, which stays in the
cache of the processor. The arithmetic is that of torch.lerp, number by number.
"""

from __future__ import annotations

import numpy as np

from expander.kernels.compilation import compiled

COLOURS = 3


@compiled
def resize_crop(frames, down, down_weight, across, across_weight, scale, shift, out):  # type: ignore[no-untyped-def]
    """out (T, h, w, 3) of frames (T, H, W, 3) bytes: their bilinear mean, divided by scale, less shift.

    down: (2, h), of every row of out the two rows of a frame that it lies between; down_weight: (h,), of the
    second one. across: the same for columns, which rise or fall.
    """
    low = COLOURS * min(across[0, 0], across[0, -1])
    high = COLOURS * (max(across[1, 0], across[1, -1]) + 1)
    half, one, line = np.float32(0.5), np.float32(1), np.empty(high - low, np.float32)
    for t in range(out.shape[0]):
        frame = frames[t].reshape(frames.shape[1], -1)
        for y in range(out.shape[1]):
            first, second, weight = frame[down[0, y]], frame[down[1, y]], down_weight[y]
            for place in range(len(line)):
                a, b = np.float32(first[low + place]), np.float32(second[low + place])
                line[place] = a + weight * (b - a) if weight < half else b + (weight - one) * (b - a)
            for x in range(out.shape[2]):
                left, right = COLOURS * across[0, x] - low, COLOURS * across[1, x] - low
                weight = across_weight[x]
                for c in range(COLOURS):
                    a, b = line[left + c], line[right + c]
                    mean = a + weight * (b - a) if weight < half else b + (weight - one) * (b - a)
                    out[t, y, x, c] = mean / scale - shift
