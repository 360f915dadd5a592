"""A full training on disk: runs/NAME/ with training.json, metrics.jsonl, checkpoints/, two weights files.

training.json says what is trained, on what, and how far it is; metrics.jsonl has a row each time the
loss is read (epoch, step, loss, lr, clips_per_second, data_wait) and one a validation (epoch, step,
val_loss, and video_top1 or mAP). No torch: reports read these files too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AliasChoices, ConfigDict, Field, ValidationError

from expander.config.reading import is_there, read_bytes
from expander.config.settings import STRICT, BackendConfig, DataConfig, Task, TrainRecipe
from expander.errors import DataError, disk_faults
from expander.runs.events import from_json, to_json
from expander.runs.journal import STOP, write_atomic
from expander.runs.ownership import Lock, owned
from expander.runs.result_checks import check_best, check_metrics
from expander.runs.sealed_lines import (
    RESTORE,
    SealedLines,
    opened_document,
    rows_of,
    sealed_document,
    sealed_row,
)
from expander.specs.spec import Spec

Row = dict[str, Any]
MEASURES = ("video_top1", "mAP")
"""What a row of a validation calls its goodness."""


def goodness_of(row: Mapping[str, Any]) -> float | None:
    """Of a row of metrics, if it is one of a validation."""
    return next((row[name] for name in MEASURES if name in row), None)


@dataclass(frozen=True, slots=True)
class Best:
    """The validation whose weights are kept: the highest goodness, of equal ones the lowest loss.

    goodness: video_top1, or mAP where videos have several labels.
    """

    epoch: int
    step: int
    goodness: Annotated[float, Field(validation_alias=AliasChoices("goodness", "video_top1"))]
    val_loss: float

    def beats(self, other: Best | None) -> bool:
        """Whether this one is kept instead of `other`."""
        if other is None:
            return True
        return (self.goodness, -self.val_loss) > (other.goodness, -other.val_loss)


@dataclass(frozen=True, slots=True)
class Training:
    """spec: with the classes of the data. init: weights it starts from. videos: in the training list.

    workers: processes that share a batch; gpus: whether each has a GPU. backend: where they run, and the
    threads of each. overfit_batches: the only batches trained on and tested, over and over; 0: all videos.
    log: further forms of the metrics. state: a killed training stays `running`; `stopped` was
    interrupted; reason: why it ended before its time. multi_label: whether videos have several labels. Of
    detection, videos are key frames with people.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT
    spec: Spec
    recipe: TrainRecipe
    data: DataConfig
    data_fingerprint: str
    classes: tuple[str, ...]
    videos: int
    seed: int = 0
    init: str = ""
    workers: int = 1
    gpus: bool = False
    backend: BackendConfig = field(default_factory=BackendConfig)
    overfit_batches: int = 0
    log: Literal["", "csv", "tensorboard"] = ""
    command: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    state: Literal["running", "finished", "stopped"] = "running"
    reason: str = ""
    best: Best | None = None
    schema: int = 2
    multi_label: bool = False
    task: Task = "classification"

    @property
    def measure(self) -> str:
        """What its goodness is called."""
        return MEASURES[self.multi_label or self.task == "detection"]

    @property
    def on_gpu(self) -> bool | None:
        """Whether each process computes on a GPU; none: if there is one."""
        wanted = self.backend.gpus_per_trial
        if self.gpus or self.workers > 1:
            return self.gpus
        return None if wanted is None else wanted > 0

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches of the videos; the rest of a pass opens the next epoch."""
        return self.overfit_batches or max(1, self.videos // self.recipe.batch)

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole training."""
        return self.recipe.epochs * self.steps_per_epoch


class TrainingFolder:
    """The files of one training. Reading needs no lock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record = folder / "training.json"
        self.metrics = folder / "metrics.jsonl"
        self.lines = SealedLines(self.metrics, "a row of metrics")
        self.checkpoints = folder / "checkpoints"
        self.best = folder / "best.safetensors"
        self.last = folder / "last.safetensors"
        # Between the processes of one training, while it runs:
        self.pace = folder / "pace.json"
        self.stop = folder / STOP

    def exists(self) -> bool:
        """Whether a training was started here."""
        return is_there(self.record)

    def locked(self) -> Lock:
        """A context in which no other process trains here.

        Raises EnvironmentFault naming the holder, and for a link that leaves the folder.
        """
        return owned(self.folder)

    def write(self, training: Training) -> None:
        """training.json, whole or not at all. Raises EnvironmentFault."""
        write_atomic(self.record, sealed_document(json.loads(to_json(training))))

    def read(self) -> Training:
        """What training.json says. Raises DataError when it is damaged."""
        with disk_faults(self.record, "read"):
            content = read_bytes(self.record)
        try:
            training: Training = from_json(Training, json.dumps(opened_document(content)))
            if training.best is not None:
                check_best(training.best.epoch, training.best.step, training.best.goodness)
        except ValidationError as error:
            fault = error.errors()[0]
            place = ".".join(map(str, fault["loc"]))
            raise DataError(f"{self.record}: not a training: {place}: {fault['msg']}") from None
        except ValueError as error:
            raise DataError(f"{self.record}: not a training: {error}; {RESTORE}") from None
        return training

    def rows(self) -> list[Row]:
        """All whole rows of metrics.jsonl. Raises DataError naming a bad line."""
        rows = list(rows_of(self.lines))
        for number, row in enumerate(rows, 1):
            try:
                check_metrics(row)
            except ValueError as error:
                raise DataError(f"{self.metrics}:{number}: {error}; {RESTORE}") from None
        return rows

    def append(self, row: Row) -> None:
        """One more row of metrics. Raises EnvironmentFault when the disk refuses."""
        self.lines.append(sealed_row(row))

    def cut(self, rows: int) -> None:
        """Keeps the first `rows` rows: what came after the checkpoint is trained again."""
        if not self.metrics.exists():
            return
        lines = self.metrics.read_bytes().split(b"\n")
        if len(lines) - 1 != rows or lines[-1]:
            write_atomic(self.metrics, b"".join(line + b"\n" for line in lines[:-1][:rows]))
