"""Average precision per class over videos of several labels, its mean (mAP), and what each video gives to it.

AP of a class is the area under precision over recall, step by step over the distinct scores, as
scikit-learn, SlowFast and MMAction2 count it: sum over the positives of the precision among all videos
that score at least as high, divided by their number. Videos of one score are one step, in any order.

scores: (V, classes), higher is likelier, -inf for a video that could not be read. truth: (V, classes) of
booleans. Classes without a positive video have no AP (nan) and leave the mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Counts = npt.NDArray[np.integer]
Bools = npt.NDArray[np.bool_]

CHUNK = 2_000_000
"""Numbers held at once: bounds the memory of resampling for long lists."""


def average_precisions(scores: npt.NDArray[np.floating], truth: Bools) -> Floats:
    """(classes,) AP of each class; nan for a class without positives."""
    ranked = [_Ranked.of(scores[:, k], truth[:, k]) for k in range(truth.shape[1])]
    return np.array([row.average_precision() for row in ranked])


def mean_average_precision(scores: npt.NDArray[np.floating], truth: Bools) -> float:
    """Mean AP over the classes with positives. Raises ValueError when no class has any."""
    if not truth.any():
        raise ValueError("no video has a label, so there is no average precision")
    return float(np.nanmean(average_precisions(scores, truth)))


def credits(scores: npt.NDArray[np.floating], truth: Bools) -> Floats:
    """(V,) what each video gives to mAP: their mean is mAP, as the mean of hits is accuracy.

    mAP plus V times its derivative by the weight of the video (the infinitesimal jackknife: Efron 1982,
    The Jackknife, the Bootstrap and Other Resampling Plans, chapter 6). To draw videos again and take
    the mean of their credits is, to first order, to draw them again and compute mAP.
    """
    with_positives = np.flatnonzero(truth.any(0))
    if not len(with_positives):
        raise ValueError("no video has a label, so there is no average precision")
    derivative, mean = np.zeros(len(truth)), 0.0
    for k in with_positives:
        ranked = _Ranked.of(scores[:, k], truth[:, k])
        derivative += ranked.derivative() / len(with_positives)
        mean += ranked.average_precision() / len(with_positives)
    found: Floats = mean + len(truth) * derivative
    return found


def resampled(scores: npt.NDArray[np.floating], truth: Bools, weights: Counts) -> Floats:
    """(R,) mAP of each resample; weights: (R, V), how often it drew each video.

    A class whose positives a resample did not draw leaves that resample's mean.
    """
    step = max(1, CHUNK // len(truth))
    total, seen = np.zeros(len(weights)), np.zeros(len(weights))
    for k in np.flatnonzero(truth.any(0)):
        ranked = _Ranked.of(scores[:, k], truth[:, k])
        for start in range(0, len(weights), step):
            part = slice(start, start + step)
            each = ranked.weighted(weights[part])
            total[part] += np.nan_to_num(each)
            seen[part] += ~np.isnan(each)
    found: Floats = np.divide(total, seen, out=np.full(len(total), np.nan), where=seen > 0)
    return found


@dataclass(frozen=True, slots=True)
class _Ranked:
    """One class, best score first. order: (V,) places in the list. ends: (V,) the last of equal score.

    begins: (V,) the first of equal score.
    """

    order: Ints
    positive: Bools
    begins: Ints
    ends: Ints

    @classmethod
    def of(cls, scores: npt.NDArray[np.floating], truth: Bools) -> _Ranked:
        order = np.argsort(-scores, kind="stable")
        ranked = scores[order]
        changes = np.flatnonzero(ranked[1:] != ranked[:-1]) + 1
        begins = np.concatenate([[0], changes])
        counts = np.diff(np.append(begins, len(ranked)))
        return cls(order, truth[order], np.repeat(begins, counts), np.repeat(begins + counts - 1, counts))

    def _precision(self) -> tuple[Floats, Floats]:
        """(V,) precision among all that score at least as high, and how many these are."""
        above = (self.ends + 1).astype(np.float64)
        return np.cumsum(self.positive)[self.ends] / above, above

    def average_precision(self) -> float:
        """nan without positives."""
        precision, _ = self._precision()
        return float(precision[self.positive].mean()) if self.positive.any() else np.nan

    def weighted(self, weights: Counts) -> Floats:
        """(R,) AP where videos count as often as `weights`, (R, V), say; nan without positives."""
        drawn = weights[:, self.order].astype(np.float64)
        hits = drawn * self.positive
        found, above = (np.cumsum(each, axis=1)[:, self.ends] for each in (hits, drawn))
        precision = np.divide(found, above, out=np.zeros_like(found), where=above > 0)
        count = hits.sum(1)
        area: Floats = np.divide((hits * precision).sum(1), count, out=np.full(len(count), np.nan),
                                 where=count > 0)  # fmt: skip
        return area

    def derivative(self) -> Floats:
        """(V,) of AP by the weight of each video, in list order; its sum is 0."""
        precision, above = self._precision()
        count = self.positive.sum()
        mean = precision[self.positive].sum() / count
        # A video counts among those above every positive that scores no higher than it.
        lower = [np.cumsum((self.positive * each)[::-1])[::-1][self.begins]
                 for each in (1 / above, precision / above)]  # fmt: skip
        ranked = self.positive * (precision - mean + lower[0]) - lower[1]
        found = np.empty(len(ranked))
        found[self.order] = ranked / count
        return found
