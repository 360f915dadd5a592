"""The tasks that a network is trained for: what each learns from, how it steps, what it is measured by."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from expander.data.ava.keyframes import DetectionData
from expander.data.clips import Batch
from expander.data.tasks import TaskData
from expander.model.network import X3D
from expander.training.classification import Classification
from expander.training.detection.task import Detection
from expander.training.distributed import Workers
from expander.training.step import FullStep
from expander.training.training_folder import Training
from expander.video.decoder import Decoder


class Scores(Protocol):
    """Of a validation."""

    @property
    def measure(self) -> str:
        """What its goodness is called."""

    @property
    def goodness(self) -> float:
        """What networks are chosen by; higher is better."""

    @property
    def loss(self) -> float:
        """Mean over what was scored."""


class TrainingTask(Protocol):
    """videos: in the training list. frames: who decodes them. partial: the last validation alone is whole."""

    videos: int
    frames: Decoder
    partial: bool

    @property
    def step(self) -> type[FullStep]:
        """The kind of optimiser step."""

    def batches(self, begin: int, loaders: int) -> Iterator[Batch]:
        """This process's part of each step's batch from step `begin` to the end, loaded by `loaders`
        processes."""

    def scores(self, network: X3D, last: bool) -> Scores:
        """Of the validation, the same in every process. last: of a training. Raises DataError or Diverged."""


def task_of(training: Training, data: TaskData, team: Workers) -> TrainingTask:
    """What a training learns from and is measured by."""
    if isinstance(data, DetectionData):
        return Detection(training, data, team)
    return Classification(training, data, team)
