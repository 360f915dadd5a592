"""Which clips a training sees, and which of them this process loads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from expander.data.annotations import VideoList
from expander.data.ava.boxes import to_train
from expander.data.ava.keyframes import DetectionData
from expander.data.clips import training_order
from expander.data.shards.order import Buffered
from expander.data.tasks import TaskData, reopened
from expander.errors import DataError
from expander.training.distributed import Workers
from expander.training.training_folder import Training


def checked_data(training: Training) -> TaskData:
    """The data of a training. Raises DataError when they are not those that it began with."""
    data = reopened(training.task, training.data, training.data_fingerprint)
    if len(data.classes) != len(training.classes):
        counts = f"{len(data.classes)} classes in the data, {len(training.classes)} in the training"
        raise DataError(f"the data set has changed: {counts}; start another training")
    if data.fingerprint != training.data_fingerprint:
        raise DataError("the data set has changed since the training began; start another training")
    return _few(data, training) if training.overfit_batches else data


def _few(data: TaskData, training: Training) -> TaskData:
    """Only the videos or key frames of the first batches, to train on and to validate on."""
    wanted = min(training.overfit_batches * training.recipe.batch, training.videos)
    order = [video for video, _, _ in training_order(training.videos, wanted, training.seed)]
    if isinstance(data, DetectionData):
        people = to_train(data.train, training.data.train_score)
        few_people = replace(data.train, truth=tuple(people[number] for number in order), detected=None)
        return replace(data, train=few_people, val=few_people)
    paths = tuple(data.train.paths[video] for video in order)
    few = VideoList(paths, tuple(data.train.labels[video] for video in order))
    return replace(data, train=few, val=few)


def shares(
    training: Training, videos: int, begin: int, team: Workers, through: Buffered | None = None
) -> Iterator[list[tuple[int, int, int]]]:
    """What this process loads for each step from `begin` on: its part of the step's batch.

    through: see `training_order`.
    """
    part = training.recipe.batch // team.size
    for items in _batches(training, videos, begin, through):
        yield items[team.rank * part : (team.rank + 1) * part]


def _batches(
    training: Training, videos: int, begin: int, through: Buffered | None
) -> Iterator[list[tuple[int, int, int]]]:
    batch, few = training.recipe.batch, training.overfit_batches
    if few:
        shown = [list(training_order(videos, (n + 1) * batch, training.seed, n * batch)) for n in range(few)]
        yield from (shown[step % few] for step in range(begin, training.steps))
        return
    items = training_order(videos, training.steps * batch, training.seed, begin * batch, through)
    for _ in range(begin, training.steps):
        yield list(islice(items, batch))
