"""Which boxes a training and a test look at."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from expander.data.ava.keyframes import DetectionData, DetectionSplit, KeyFrame
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


def to_test(data: DetectionData, threshold: float = 0.8) -> tuple[KeyFrame, ...]:
    """Detections of validation from a score of `threshold` on, by video and second; where a data set has no
    detections, the boxes of the ground truth without labels.

    With AVA's lists every second that is not excluded is looked at, as its script does: where the ground
    truth has nobody, whoever is found is wrong. Of lists of one's own only the key frames of the ground truth
    are: a detector may have looked at others. Raises DataError where there is none.
    """
    split = data.val
    if split.detected is None:
        return tuple(replace(frame, labels=None) for frame in split.truth if len(frame))
    counted = {frame.moment for frame in split.truth}
    looked_at = (one for one in split.detected if data.numbered or one.moment in counted)
    kept = (chosen(frame, frame.scores >= threshold) for frame in looked_at)
    found = [replace(frame, labels=None) for frame in kept if len(frame)]
    if not found:
        raise DataError(f"{split.file}: no detected person at its key frames has a score of "
                        f"{threshold:g} or more; lower data.test_score (--set, or --min-score of a test)")
    return tuple(found)


def to_validate(
    data: DetectionData, threshold: float, stride: int
) -> tuple[DetectionData, tuple[KeyFrame, ...]]:
    """The data with the validation key frames of every `stride` seconds, and those of `to_test` among them.

    They are at the whole seconds that `stride` divides, as in SlowFast's validations while it trains. Where
    these have nobody to score, or no label that counts, it is all key frames.
    """
    tested = to_test(data, threshold)

    def own(frames: tuple[KeyFrame, ...]) -> tuple[KeyFrame, ...]:
        return tuple(frame for frame in frames if int(frame.second) % stride == 0)

    few, evaluated = own(data.val.truth), list(data.evaluated)
    labels = (frame.labels for frame in few if frame.labels is not None)
    if not own(tested) or not any(each[:, evaluated].any() for each in labels):
        return data, tested
    return replace(data, val=replace(data.val, truth=few)), own(tested)
