"""The result of a test: metrics with their intervals, what it cost, what is published beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from expander.config.space import published_specs
from expander.data.test_list import HeldOut
from expander.errors import DataError
from expander.evaluation.multiview import Average, Outcome, Scorer, macs_per_view
from expander.metrics.accuracy import (
    class_accuracy,
    confusion,
    draws,
    in_top,
    interval,
    mean_class_accuracy,
    resampled,
)
from expander.metrics.average_precision import average_precisions, mean_average_precision
from expander.metrics.average_precision import resampled as resampled_precision
from expander.specs.spec import Spec
from expander.specs.zoo import PUBLISHED
from expander.video.view_protocols import MMACTION2, Protocol, Views

SCHEMA = 2
METRICS = ("top_k_accuracy", "mean_class_accuracy")
MULTI_LABEL_METRICS = ("mean_average_precision",)
"""Names as MMAction2 has them."""
SOURCES: dict[Protocol, tuple[str, ...]] = {
    # Strides in source frames and pooling are those of MMAction2 0.x, which has published S and M only.
    "expander": ("mmaction2-0.x", "slowfast"),
    "slowfast": ("slowfast",), "mmaction2": ("mmaction2",), "mmaction2-0.x": ("mmaction2-0.x",),
    "pytorchvideo": ("pytorchvideo",),
}  # fmt: skip
"""Whose published accuracy stands beside a protocol's, in this order; it was measured by its own protocol."""


def summary(
    scorer: Scorer, data: HeldOut, outcome: Outcome, classes: tuple[str, ...],
    metrics: Sequence[str] = METRICS, topk: Sequence[int] = (1, 5),
) -> dict[str, Any]:  # fmt: skip
    """All but the checkpoint, ready for JSON. Accuracies are shares of the videos that could be read."""
    how, videos = scorer.how, len(data.names) + len(data.lost)
    rows = ~np.isnan(outcome.scores).any(1)
    if scorer.multi_label:
        of_labels = _several_labels(outcome.scores[rows], data.videos.truth(len(classes))[rows], classes)
    else:
        labels = np.array(data.videos.labels)[rows]
        of_labels = _one_label(how.protocol, outcome.scores[rows], labels, classes, metrics, topk)
    macs = macs_per_view(how.spec, how.views, how.protocol)
    return {
        "schema": SCHEMA, "spec": asdict(how.spec), "protocol": how.protocol,
        "views": {"clips": how.views.clips, "crops": how.views.crops}, "average_clips": scorer.average,
        **of_labels,
        "n": int(rows.sum()), "n_failed": videos - int(rows.sum()),
        "failed": [{"path": path, "reason": reason} for path, reason in outcome.failed],
        "cost": {"macs_per_view": macs, "views": how.views.count, "macs_per_video": macs * how.views.count},
        "seconds": outcome.seconds,
        "videos_per_second": outcome.done / outcome.seconds if outcome.seconds else 0.0,
        "reference": reference(how.spec, how.views, how.protocol, scorer.average),
    }  # fmt: skip


def _one_label(
    protocol: Protocol, scores: Any, labels: Any, classes: tuple[str, ...], metrics: Sequence[str],
    topk: Sequence[int],
) -> dict[str, Any]:  # fmt: skip
    """What follows from the most probable class of each video."""
    counts = confusion(scores.argmax(1), labels, len(classes))
    return {
        "metrics": _metrics(protocol, scores, labels, counts, metrics, topk),
        "classes": list(classes),
        "per_class": [{"class": name, "accuracy": float(share), "n": int(n)} for name, share, n
                      in zip(classes, class_accuracy(counts), counts.sum(1), strict=True) if n],
        "confusion": [[int(t), int(p), int(counts[t, p])] for t, p in np.argwhere(counts)],
    }  # fmt: skip


def _several_labels(scores: Any, truth: Any, classes: tuple[str, ...]) -> dict[str, Any]:
    """mAP with its 95 % interval over the videos, and the average precision of each class that has any."""
    if not truth.any():
        raise DataError("none of the videos has a label, so there is no average precision")
    weights = np.array([row.astype(np.uint16) for row in draws(len(truth))])
    low, high = interval(resampled_precision(scores, truth, weights))
    row = {"value": mean_average_precision(scores, truth), "low": low, "high": high}
    each = zip(classes, average_precisions(scores, truth), truth.sum(0), strict=True)
    return {
        "metrics": {"mean_average_precision": row},
        "classes": list(classes),
        "per_class": [{"class": name, "average_precision": float(value), "n": int(n)}
                      for name, value, n in each if n],
    }  # fmt: skip


def _metrics(
    protocol: Protocol, scores: Any, labels: Any, counts: Any, metrics: Sequence[str], topk: Sequence[int]
) -> dict[str, dict[str, float]]:
    """By name (top1, top5, …, mean_class_accuracy): value, low and high end of the 95 % interval."""
    theirs, predicted = protocol in MMACTION2, scores.argmax(1)
    names = [f"top{k}" for k in topk if "top_k_accuracy" in metrics]
    right = [in_top(scores, labels, k) for k in topk if "top_k_accuracy" in metrics]
    values = [float(row.mean()) for row in right] + [mean_class_accuracy(counts, theirs)]
    draws = resampled(right, predicted, labels, len(counts), theirs)
    found = {}
    for name, value, row in zip([*names, "mean_class_accuracy"], values, draws, strict=True):
        low, high = interval(row)
        found[name] = {"value": value, "low": low, "high": high}
    if "mean_class_accuracy" not in metrics:
        del found["mean_class_accuracy"]
    return found


def reference(
    spec: Spec, views: Views, protocol: Protocol, average: Average = "prob"
) -> dict[str, Any] | None:
    """The published top-1 accuracy on Kinetics-400 of this network with these views, if there is one.

    source: whose model zoo says so, and whose protocol it was measured with, averaging probabilities.
    comparable: whether this test does the same; under another protocol a point of difference means little.
    """
    if str(views) not in ("10x1", "10x3") or spec.base.classes != 400:
        return None
    for name, other in published_specs().items():
        accuracies = PUBLISHED[name].top1 if other.sizes == spec.sizes else {}
        for source in SOURCES[protocol]:
            if (source, views.count) in accuracies:
                top1 = round(accuracies[source, views.count] / 100, 6)
                same = source == protocol and average == "prob"
                measured = {"source": source, "protocol": source, "average_clips": "prob", "comparable": same}
                return {"model": name, "views": views.count, "data": "Kinetics-400", "top1": top1} | measured
    return None
