"""Frame mAP of action detection: are the right actions found where people are, in single key frames?

As the Pascal VOC challenge counts it from 2010 on, and AVA after it: the detections of a class in all key
frames together, the likeliest first. Each takes the box of the ground truth of its key frame that it overlaps
most; it is right if they overlap enough and no likelier one has taken that box. AP is the area under
precision over recall, precision made to fall only. Detections of one score are taken as they come.

Shapes: n boxes and m boxes of a key frame, C classes, D detections, V videos. Boxes are x1, y1, x2, y2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from expander.metrics.boxes import Floats, iou

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
IOU = 0.5
RESAMPLES = 1000
SEED = 0
CHUNK = 4_000_000
"""Numbers of an array of hits by draws at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A key frame: what is true, and what was found.

    video: its number. truth: (n, 4) boxes with labels (n, C); a label may be true of several. found: (m, 4)
    boxes with scores (m, C), higher is likelier; nan says that a class was not asked for.
    """

    video: int
    truth: Floats
    labels: Bools
    found: Floats
    scores: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """The detections of one class, the likeliest first.

    right: (D,) whether each takes a box of the ground truth. video: (D,) whose it is. positives: (V,) boxes
    of the ground truth by video.
    """

    right: Bools
    video: Ints
    positives: Ints

    def average_precision(self, weights: Ints | None = None) -> float:
        """nan where nothing is there to be found. weights: (V,) how often each video counts; none: once."""
        times = np.ones(len(self.positives), np.int64) if weights is None else weights
        total = int((self.positives * times).sum())
        if total == 0:
            return np.nan
        each = times[self.video]
        seen, hits = np.cumsum(each), np.cumsum(each * self.right)
        precision = np.divide(hits, seen, out=np.zeros(len(seen)), where=seen > 0)
        envelope = np.maximum.accumulate(precision[::-1])[::-1]
        return float((envelope * each * self.right).sum() / total)

    def resampled(self, weights: Ints) -> Floats:
        """(R,) `average_precision` with each of the weights (R, V), many at a time."""
        hits = np.flatnonzero(self.right)
        total = weights @ self.positives
        # Precision rises at hits only, so they alone are looked at: (H, V) of each video up to each hit.
        above, own = (np.zeros((len(hits), len(self.positives))) for _ in range(2))
        place = np.searchsorted(hits, np.arange(len(self.right)))
        before = place < len(hits)
        np.add.at(above, (place[before], self.video[before]), 1)
        own[np.arange(len(hits)), self.video[hits]] = 1
        above, own_so_far = above.cumsum(axis=0), own.cumsum(axis=0)
        area = np.zeros(len(weights))
        step = max(1, CHUNK // max(1, len(hits)))
        for first in range(0, len(weights), step):
            part = weights[first : first + step].T.astype(np.float64)
            seen = above @ part
            precision = np.divide(own_so_far @ part, seen, out=np.zeros_like(seen), where=seen > 0)
            envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
            area[first : first + step] = (envelope * part[self.video[hits]]).sum(axis=0)
        found: Floats = np.divide(area, total, out=np.full(len(area), np.nan), where=total > 0)
        return found

    def derivative(self) -> Floats:
        """(V,) of AP by the weight of each video; its sum is 0. nan where nothing is there to be found."""
        total, count = int(self.positives.sum()), len(self.right)
        if total == 0:
            return np.full(len(self.positives), np.nan)
        seen, hits = np.arange(1, count + 1), np.cumsum(self.right)
        precision = hits / seen
        # Precision that is made to fall: of each place the best at or after it, and where that is.
        best = np.maximum.accumulate(precision[::-1])[::-1]
        changes = np.append(best[1:] != best[:-1], True)[:count]
        last = np.flatnonzero(changes)
        where = last[np.searchsorted(last, np.arange(count))]
        used = np.bincount(where[self.right], minlength=count)
        more, fewer = (np.cumsum((used * each)[::-1])[::-1] for each in (1 / seen, hits / seen**2))
        each = self.right * (best + more) - fewer
        by_video = np.bincount(self.video, each, len(self.positives))
        found: Floats = (by_video - self.positives * (best * self.right).sum() / total) / total
        return found


def ranked(scenes: Sequence[Scene], classes: int, least: float = IOU) -> tuple[Ranked, ...]:
    """Of each of `classes` classes. Raises ValueError when there is no key frame."""
    if not scenes:
        raise ValueError("no key frame: there is nothing to measure")
    videos = max(scene.video for scene in scenes) + 1
    positives = np.zeros((videos, classes), np.int64)
    counts = [len(scene.scores) for scene in scenes]
    scores = np.concatenate([scene.scores.reshape(-1, classes) for scene in scenes])
    video = np.repeat([scene.video for scene in scenes], counts)
    right = np.zeros(scores.shape, np.bool_)
    for scene, begin in zip(scenes, np.cumsum([0, *counts[:-1]]).tolist(), strict=True):
        positives[scene.video] += scene.labels.sum(0)
        near = iou(scene.found, scene.truth)
        for number in np.flatnonzero(scene.labels.any(0)):  # where a class is not, nothing is right
            asked = np.flatnonzero(~np.isnan(scene.scores[:, number]))
            order = asked[np.argsort(-scene.scores[asked, number], kind="stable")]
            right[begin + order, number] = _matched(near[order][:, scene.labels[:, number]], least)
    found = []
    for column in range(classes):
        asked = np.flatnonzero(~np.isnan(scores[:, column]))
        order = asked[np.argsort(-scores[asked, column], kind="stable")]
        found.append(Ranked(right[order, column], video[order], positives[:, column]))
    return tuple(found)


def _matched(near: Floats, least: float) -> Bools:
    """(m,) whether each detection of a key frame, the likeliest first, is right; near: (m, n) overlaps."""
    found = np.zeros(len(near), np.bool_)
    if not near.shape[1]:
        return found
    taken = np.zeros(near.shape[1], np.bool_)
    for number, row in enumerate(near):
        best = int(row.argmax())
        if row[best] >= least and not taken[best]:
            found[number] = taken[best] = True
    return found


def average_precisions(each: Sequence[Ranked], weights: Ints | None = None) -> Floats:
    """(C,) nan where a class has no ground truth. weights: (V,) how often each video counts."""
    return np.array([one.average_precision(weights) for one in each])


def mean_over(precisions: Floats, evaluated: Sequence[int]) -> float:
    """Over the classes that are counted and have ground truth; nan where there is none of these."""
    chosen = precisions[list(evaluated)]
    return float(np.nanmean(chosen)) if not np.isnan(chosen).all() else np.nan


def credits(each: Sequence[Ranked], evaluated: Sequence[int]) -> Floats:
    """(V,) what each video gives to mAP, which is their mean: mAP, and V times its derivative by the weight
    of the video (the infinitesimal jackknife). Over drawn videos their mean is mAP of the draw, to first
    order.
    """
    chosen = [each[number] for number in evaluated]
    slopes = np.array([one.derivative() for one in chosen])
    counted = ~np.isnan(slopes).any(axis=1)
    slope: Floats = slopes[counted].mean(axis=0)
    mean = mean_over(average_precisions(chosen), range(len(chosen)))
    found: Floats = mean + len(slope) * (slope - slope.mean())
    return found


def interval(each: Sequence[Ranked], evaluated: Sequence[int]) -> tuple[float, float]:
    """The middle 95 % of mAP over RESAMPLES draws of as many videos, with replacement."""
    rng, videos = np.random.default_rng(SEED), len(each[0].positives)
    weights = np.stack([_drawn(rng, videos) for _ in range(RESAMPLES)])
    drawn = np.stack([each[number].resampled(weights) for number in evaluated])
    counted = (~np.isnan(drawn)).sum(axis=0)
    draws = np.divide(np.nansum(drawn, axis=0), counted, out=np.full(RESAMPLES, np.nan), where=counted > 0)
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return float(low), float(high)


def _drawn(rng: np.random.Generator, videos: int) -> Ints:
    return np.bincount(rng.integers(videos, size=videos), minlength=videos)
