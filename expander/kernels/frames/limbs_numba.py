"""Limbs of drawn people painted into frames, on a CPU: the kernel for numba.

The same numbers to the bit as `data.embedded.drawing` has them from numpy, so that a set of videos has the
same bytes everywhere: nothing is fused, and a distance is rounded once.
"""

from __future__ import annotations

import math

import numpy as np

from expander.kernels.compilation import exactly

ZERO, HALF, ONE, EDGE, SHORTEST = (np.float32(value) for value in (0, 0.5, 1, 0.62, 1e-6))


@exactly
def paint(video, starts, ends, radii, order, colours, opacities, rise):  # type: ignore[no-untyped-def]
    """Limbs (L) into video (T, H, W, 3), in place; in frame t in the order of order[t].

    starts, ends: (L, T, 2) x and y; radii: (L, 2); colours: (L, 3); opacities: (L,); rise: of the shade, a
    pixel from the edge inward.
    """
    frames, height, width, _ = video.shape
    for t in range(frames):
        for limb in order[t]:
            near, far = radii[limb, 0], radii[limb, 1]
            (ax, ay), (bx, by) = starts[limb, t], ends[limb, t]
            dx, dy = bx - ax, by - ay
            length = max(dx * dx + dy * dy, SHORTEST)
            ux, uy, reach = dx / length, dy / length, max(near, far) + ONE
            top, low = math.floor(min(ay, by) - reach), math.ceil(max(ay, by) + reach)
            left, right = math.floor(min(ax, bx) - reach), math.ceil(max(ax, bx) + reach)
            for row in range(max(top, 0), min(low + 1, height)):
                y = np.float32(row) - ay
                for column in range(max(left, 0), min(right + 1, width)):
                    x = np.float32(column) - ax
                    along = min(max(x * ux + y * uy, ZERO), ONE)
                    aside, above = np.float64(x - along * dx), np.float64(y - along * dy)
                    distance = np.float32(math.sqrt(aside * aside + above * above))
                    inside = near + (far - near) * along - distance
                    cover = min(max(inside + HALF, ZERO), ONE) * opacities[limb]
                    shade = cover * min(max(EDGE + inside * rise, EDGE), ONE)
                    for colour in range(3):
                        behind = video[t, row, column, colour] * (ONE - cover)
                        video[t, row, column, colour] = behind + shade * colours[limb, colour]
