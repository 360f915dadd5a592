"""Validation of detection: the boxes of every key frame scored, frame mAP of all of them.

Shapes: n boxes of a key frame, K boxes of a batch, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy

from expander.config.settings import DataConfig
from expander.data.ava.keyframes import DetectionData, KeyFrame
from expander.data.ava.samples import TestPeople, by_video
from expander.data.clips import batched
from expander.errors import DataError
from expander.metrics.boxes import Floats, iou
from expander.metrics.frame_map import IOU, Ranked, Scene, average_precisions, credits, mean_over, ranked
from expander.model.network import X3D
from expander.runs.evidence import pack_credits
from expander.training.detection.step import answers
from expander.training.loop import Diverged
from expander.training.training_folder import MEASURES
from expander.training.validation import check_readable


@dataclass(frozen=True, slots=True)
class Loading:
    """most: clips of a batch. loaders: processes that load. device: where scores are computed."""

    most: int
    loaders: int
    device: torch.device


@dataclass(frozen=True, slots=True)
class Answers:
    """scores: (n, C) probabilities by number of the key frame; nan of an unreadable one. bad: unreadable
    videos, as told.
    """

    scores: dict[int, Floats]
    bad: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class PeopleScores:
    """scenes: of every key frame that is counted. each: detections of each class, the likeliest first.
    evaluated: numbers of the classes that are counted.
    """

    scenes: tuple[Scene, ...]
    each: tuple[Ranked, ...]
    evaluated: tuple[int, ...]
    bad: tuple[str, ...]

    measure = MEASURES[True]

    @property
    def goodness(self) -> float:
        """Frame mAP at IoU 0.5 over the classes that are evaluated."""
        return mean_over(average_precisions(self.each), self.evaluated)

    @property
    def evidence(self) -> str:
        """What each video says of the network: see `runs.evidence`."""
        return pack_credits(credits(self.each, self.evaluated).tolist())

    @property
    def loss(self) -> float:
        """Mean binary cross-entropy over the boxes that were scored and classes; of a box that overlaps no
        true one by IOU, none of the classes is right."""
        found = [(scene.scores, _wanted(scene)) for scene in self.scenes if np.isfinite(scene.scores).all()]
        scores, wanted = (np.concatenate(each) for each in zip(*found, strict=True))
        likely = torch.from_numpy(scores).clamp(1e-12, 1 - 1e-12)
        return float(binary_cross_entropy(likely, torch.from_numpy(wanted).double()))


def _wanted(scene: Scene) -> np.ndarray:
    """(n, C) what is true of the boxes that were found."""
    if not len(scene.truth):
        return np.zeros(scene.scores.shape, np.bool_)
    near = iou(scene.found, scene.truth)
    labels: np.ndarray = scene.labels[near.argmax(1)] & (near.max(1) >= IOU)[:, None]
    return labels


@torch.inference_mode()
def answered(
    network: X3D, clips: TestPeople, own: Sequence[int], how: Loading,
    heard: Callable[[Answers], None] = lambda _: None,
) -> Answers:  # fmt: skip
    """Scores of the key frames whose numbers are in `own`; `heard` is told of each batch.

    Raises Diverged: scores that are not finite.
    """
    network.eval()
    groups = [[own[i] for i in group] for group in by_video([clips.frames[i] for i in own], how.most)]
    found, bad = dict[int, Floats](), dict[str, str]()
    for group, batch in zip(groups, batched(clips, groups, how.loaders), strict=True):
        people: Tensor = batch.labels.to(how.device)
        logits = answers(network, batch.clips.to(how.device, non_blocking=True), people)
        scores = logits.double().sigmoid().cpu()
        read = batch.clips.isfinite().flatten(1).all(1)
        if not scores[read[batch.labels[:, 0].long()]].isfinite().all():
            raise Diverged("the scores of the validation are not finite; a lower learning rate may help")
        counts = [len(clips.frames[number]) for number in group]
        parts = np.split(scores.numpy(), np.cumsum(counts)[:-1])
        part = Answers(dict(zip(group, parts, strict=True)), batch.bad)
        found |= part.scores
        for message in batch.bad:  # of one video, as the group is
            bad.setdefault(clips.frames[group[0]].video, message)
        heard(part)
    return Answers(found, tuple(bad.values()))


def measured(
    frames: Sequence[KeyFrame], found: Answers, data: DetectionData, config: DataConfig
) -> PeopleScores:
    """The answers to `frames`, which are of the validation, beside what is true.

    Raises DataError for too many unreadable videos.
    """
    split = data.val
    if len(found.bad) >= len({frame.video for frame in frames}):
        raise DataError(f"none of the {len(found.bad)} videos can be read, the first is {found.bad[0]}")
    check_readable(found.bad, len(split.footage), config, "validation")
    number_of = {frame.moment: number for number, frame in enumerate(frames)}
    videos = {name: number for number, name in enumerate(dict.fromkeys(one.video for one in split.truth))}
    scenes, nobody = [], (np.zeros((0, 4)), np.zeros((0, len(data.classes)), np.bool_))
    for truth in split.truth:
        assert truth.labels is not None
        boxes, scores = np.zeros((0, 4)), np.zeros((0, len(data.classes)))
        if (number := number_of.pop(truth.moment, None)) is not None:
            boxes, scores = frames[number].boxes, found.scores[number]
        scenes.append(Scene(videos[truth.video], truth.boxes, truth.labels, boxes, scores))
    for number in number_of.values():  # where the ground truth has nobody
        own = frames[number]
        video = videos.setdefault(own.video, len(videos))
        scenes.append(Scene(video, *nobody, own.boxes, found.scores[number]))
    return PeopleScores(tuple(scenes), ranked(scenes, len(data.classes)), data.evaluated, found.bad)

