"""Channel-wise convolution over time, of the stem, on a CPU: kernels for numba.

Every array is flat memory of (N, T, P, C), positions P of a frame; weights of (5, C). The channels are the
vector, positions are walked in chunks. A work item is a frame (of N * T), for gradients of weights a group
of frames with a sum of its own.
"""

from __future__ import annotations

from expander.kernels.compilation import compiled
from expander.kernels.moments_numba import CHUNK, add_moments, clear, settle_moments
from expander.kernels.vectors import WIDTH, load, store


@compiled
def temporal(x, w, y, sums, T, P, C, start, stop):  # type: ignore[no-untyped-def]
    """y of x (N, T, P, C) and w (5, C), over time; the moments of every frame if `sums` has room."""
    for frame in range(start, stop):
        t, step = frame % T, P * C
        clear(sums, frame * 2 * C, 2 * C if len(sums) > 0 else 0)
        for first in range(0, P, CHUNK):
            last = min(first + CHUNK, P)
            for c in range(0, C, WIDTH):
                n = min(WIDTH, C - c)
                w0, w1, w2 = load(w, c, n), load(w, C + c, n), load(w, 2 * C + c, n)
                w3, w4 = load(w, 3 * C + c, n), load(w, 4 * C + c, n)
                n0, n1, n3, n4 = n * (t > 1), n * (t > 0), n * (t + 1 < T), n * (t + 2 < T)
                for position in range(first, last):
                    here = (frame * P + position) * C + c
                    before, after = here - step * (t > 0), here + step * (t + 1 < T)
                    early, late = here - 2 * step * (t > 1), here + 2 * step * (t + 2 < T)
                    total = load(x, early, n0) * w0 + load(x, before, n1) * w1 + load(x, here, n) * w2
                    total = total + load(x, after, n3) * w3 + load(x, late, n4) * w4
                    store(y, here, n, total)
            if len(sums) > 0:
                add_moments(y, sums, frame * P + first, last - first, frame * P, frame, C)
        if len(sums) > 0:
            settle_moments(y, sums, frame * P, frame, P, C)


@compiled
def weight_gradient(x, dy, dw, frames, groups, T, P, C, start, stop):  # type: ignore[no-untyped-def]
    """dw (groups, 5, C): of the frames of each group."""
    for group in range(start, stop):
        clear(dw, group * 5 * C, 5 * C)
        for frame in range(group * frames // groups, (group + 1) * frames // groups):
            t = frame % T
            for first in range(frame * P, (frame + 1) * P, CHUNK):
                for tap in range(max(0, 2 - t), min(5, T + 2 - t)):
                    shift = (tap - 2) * P * C
                    for c in range(0, C, WIDTH):
                        n, place = min(WIDTH, C - c), (group * 5 + tap) * C + c
                        total = load(dw, place, n)
                        for position in range(first, min(first + CHUNK, (frame + 1) * P)):
                            here = position * C + c
                            total = total + load(dy, here, n) * load(x, here + shift, n)
                        store(dw, place, n, total)
