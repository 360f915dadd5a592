"""What a test is measured by, in numpy: top-k accuracy, mean class accuracy, confusion, intervals.

scores: (V, classes), higher is more likely; labels: (V,), from 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
RESAMPLES = 2000


def in_top(scores: npt.NDArray[np.floating], labels: Ints, k: int) -> npt.NDArray[np.bool_]:
    """(V,) whether the label is among the k highest scores; of equal scores the lower class comes first."""
    own = scores[np.arange(len(labels)), labels][:, None]
    earlier = np.arange(scores.shape[1]) < labels[:, None]
    ahead = (scores > own) | ((scores == own) & earlier)
    found: npt.NDArray[np.bool_] = ahead.sum(1) < k
    return found


def confusion(predicted: Ints, labels: Ints, classes: int) -> Ints:
    """(classes, classes) counts: row true, column predicted."""
    counts = np.bincount(labels * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)


def class_accuracy(counts: Ints) -> Floats:
    """(classes,) share right of each class's videos; nan for a class without any."""
    total = counts.sum(1)
    found: Floats = np.divide(np.diag(counts), total, out=np.full(len(total), np.nan), where=total > 0)
    return found


def mean_class_accuracy(counts: Ints, predicted_too: bool = False) -> float:
    """Mean of `class_accuracy` over the classes that have videos.

    predicted_too: as MMAction2 has it, classes that were predicted and have no videos count as 0.
    """
    accuracy = class_accuracy(counts)
    present = counts.sum(1) > 0
    seen = present | (counts.sum(0) > 0) if predicted_too else present
    return float(np.nansum(accuracy) / seen.sum())


def resampled(
    right: Sequence[npt.NDArray[np.bool_]], predicted: Ints, labels: Ints, classes: int,
    predicted_too: bool = False,
) -> Floats:  # fmt: skip
    """(metrics, RESAMPLES): each mean of `right`, then the mean class accuracy, of the same resamples.

    A resample draws as many videos as there are, with replacement.
    """
    count = len(labels)
    hits = predicted == labels
    found = np.empty((len(right) + 1, RESAMPLES))
    for column, weights in enumerate(draws(count)):
        for row, each in enumerate(right):
            found[row, column] = weights[each].sum() / count
        total = np.bincount(labels, weights, classes)
        good = np.bincount(labels[hits], weights[hits], classes)
        seen = total > 0
        mean = good[seen] / total[seen]
        if predicted_too:
            seen |= np.bincount(predicted, weights, classes) > 0
        found[-1, column] = mean.sum() / seen.sum()
    return found


def draws(count: int) -> Iterator[Ints]:
    """RESAMPLES times (count,): how often each of `count` videos is drawn, with replacement."""
    rng = np.random.default_rng(0)
    for _ in range(RESAMPLES):
        yield np.bincount(rng.integers(count, size=count), minlength=count)


def interval(draws: Floats) -> tuple[float, float]:
    """The middle 95 % of resampled values."""
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)
