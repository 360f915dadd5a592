"""Two tests of one network, on two copies of the same videos: differences with paired intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from expander.evaluation.scores import Scores
from expander.metrics.accuracy import Floats, Ints, draws, in_top, interval
from expander.metrics.average_precision import Bools, mean_average_precision, resampled


def accuracy_differences(
    scores: Scores, others: Scores, labels: Ints, topk: Sequence[int]
) -> dict[str, dict[str, float]]:
    """By name (top1, …): accuracy by `scores` less that by `others`, low and high end of its 95 % interval.

    scores, others: (V, classes) of the same videos in the same order, each resampled with its twin.
    """
    lead = np.array([in_top(scores, labels, k).astype(int) - in_top(others, labels, k) for k in topk])
    means = np.array([lead @ weights for weights in draws(len(labels))]).T / len(labels)
    return {f"top{k}": _row(row.mean(), drawn) for k, row, drawn in zip(topk, lead, means, strict=True)}


def precision_difference(scores: Scores, others: Scores, truth: Bools) -> dict[str, dict[str, float]]:
    """The same of the mean average precision. truth: (V, classes) of booleans."""
    weights = np.array([row.astype(np.uint16) for row in draws(len(truth))])
    drawn = resampled(scores, truth, weights) - resampled(others, truth, weights)
    value = mean_average_precision(scores, truth) - mean_average_precision(others, truth)
    return {"mean_average_precision": _row(value, drawn)}


def _row(value: npt.NDArray[np.floating] | float, drawn: Floats) -> dict[str, Any]:
    low, high = interval(drawn)
    return {"value": float(value), "low": low, "high": high}
