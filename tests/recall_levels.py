"""Average precision counted another way than `expander.metrics.frame_map` does: by levels of recall."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from expander.metrics.frame_map import Scene


def shared(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def another_ap(scenes: Sequence[Scene], number: int) -> float:
    """By recall levels: for each level the best precision at any depth of the list that reaches it."""
    everything, total = [], 0
    for frame, each in enumerate(scenes):
        total += int(each.labels[:, number].sum())
        everything += [(-score, frame, i) for i, score in enumerate(each.scores[:, number].tolist())]
    if not total:
        return float("nan")
    free = {(frame, j) for frame, each in enumerate(scenes) for j in np.flatnonzero(each.labels[:, number])}
    points, hits = [], 0
    for depth, (_, frame, i) in enumerate(sorted(everything), 1):
        each = scenes[frame]
        boxes = [j for j in range(len(each.truth)) if each.labels[j, number]]
        best = max(boxes, key=lambda j: shared(each.found[i].tolist(), each.truth[j].tolist()), default=None)
        if best is not None and shared(each.found[i].tolist(), each.truth[best].tolist()) >= 0.5:
            hits += (frame, best) in free
            free.discard((frame, best))
        points.append((hits, hits / depth))
    levels = [max((p for h, p in points if h >= level), default=0.0) for level in range(1, total + 1)]
    return sum(levels) / total
