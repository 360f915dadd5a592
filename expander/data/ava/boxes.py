"""Which boxes a training and a test look at."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from expander.data.ava.keyframes import DetectionSplit, KeyFrame
from expander.errors import DataError
from expander.metrics.boxes import iou


def chosen(frame: KeyFrame, keep: np.ndarray) -> KeyFrame:
    """The key frame with some of its boxes: numbers, or one bool a box."""
    labels = None if frame.labels is None else frame.labels[keep]
    return replace(frame, boxes=frame.boxes[keep], labels=labels, scores=frame.scores[keep])


def to_train(split: DetectionSplit, threshold: float = 0.9, overlap: float = 0.75) -> tuple[KeyFrame, ...]:
    """The ground truth, and detections from a score of `threshold` on that overlap it: IoU of at least
    `overlap` with a box, whose labels they get (Feichtenhofer et al., SlowFast, 2019, section 5).

    Key frames without any box are left out.
    """
    detected = {frame.moment: frame for frame in split.detected or ()}
    joined = (_joined(frame, detected.get(frame.moment), threshold, overlap) for frame in split.truth)
    return tuple(frame for frame in joined if len(frame))


def _joined(truth: KeyFrame, found: KeyFrame | None, threshold: float, overlap: float) -> KeyFrame:
    if found is None or truth.labels is None or not len(truth):
        return truth
    near = iou(found.boxes, truth.boxes)
    nearest = near.argmax(axis=1)
    keep = (found.scores >= threshold) & (near.max(axis=1) >= overlap)
    return replace(
        truth,
        boxes=np.concatenate([truth.boxes, found.boxes[keep]]),
        labels=np.concatenate([truth.labels, truth.labels[nearest[keep]]]),
        scores=np.concatenate([truth.scores, found.scores[keep]]),
    )


def to_test(split: DetectionSplit, threshold: float = 0.8) -> tuple[KeyFrame, ...]:
    """Detections from a score of `threshold` on at the key frames of the ground truth, in its order, those
    without any left out; where a data set has no detections, the boxes of the ground truth without labels.

    Raises DataError where there is none.
    """
    if split.detected is None:
        return tuple(replace(frame, labels=None) for frame in split.truth if len(frame))
    counted = {frame.moment: number for number, frame in enumerate(split.truth)}
    kept = (chosen(frame, frame.scores >= threshold) for frame in split.detected if frame.moment in counted)
    found = [replace(frame, labels=None) for frame in kept if len(frame)]
    if not found:
        raise DataError(f"{split.file}: no detected person at its key frames has a score of "
                        f"{threshold:g} or more; lower data.test_score (--set, or --min-score of a test)")
    return tuple(sorted(found, key=lambda frame: counted[frame.moment]))
