"""A full training on disk: runs/NAME/ with training.json, metrics.jsonl, checkpoints/, two weights files.

training.json says what is trained, on what, and how far it is; metrics.jsonl has a row each time the
loss is read (epoch, step, loss, lr, clips_per_second, data_wait) and one a validation (epoch, step,
val_loss, video_top1). No torch: reports read these files too.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, ValidationError

from expander.config.settings import STRICT, BackendConfig, DataConfig, TrainRecipe
from expander.errors import DataError, EnvironmentFault, disk_faults
from expander.runs.events import from_json, to_json
from expander.runs.journal import STOP, Lock, write_atomic
from expander.specs.spec import Spec

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Best:
    """The validation whose weights are kept: the highest video_top1, of equal ones the lowest loss."""

    epoch: int
    step: int
    video_top1: float
    val_loss: float

    def beats(self, other: Best | None) -> bool:
        """Whether this one is kept instead of `other`."""
        if other is None:
            return True
        return (self.video_top1, -self.val_loss) > (other.video_top1, -other.val_loss)


@dataclass(frozen=True, slots=True)
class Training:
    """spec: with the classes of the data. init: weights it starts from. videos: in the training list.

    workers: processes that share a batch; gpus: whether each has a GPU. backend: where they run, and the
    threads of each. overfit_batches: the only batches trained on and tested, over and over; 0: all videos.
    log: further forms of the metrics. state: a killed training stays `running`; `stopped` was
    interrupted; reason: why it ended before its time.
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
    schema: int = 1

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
        self.checkpoints = folder / "checkpoints"
        self.best = folder / "best.safetensors"
        self.last = folder / "last.safetensors"
        # Between the processes of one training, while it runs:
        self.pace = folder / "pace.json"
        self.stop = folder / STOP

    def exists(self) -> bool:
        """Whether a training was started here."""
        return self.record.exists()

    def create(self) -> None:
        """Makes the folder. Raises EnvironmentFault when it cannot be written."""
        with disk_faults(self.folder, "made"):
            self.folder.mkdir(parents=True, exist_ok=True)
        if not os.access(self.folder, os.W_OK):
            raise EnvironmentFault(f"{self.folder}: is not writable")

    def locked(self) -> Lock:
        """A context in which no other process trains here. Raises EnvironmentFault naming the holder."""
        return Lock(self.folder / "lock")

    def write(self, training: Training) -> None:
        """training.json, whole or not at all. Raises EnvironmentFault."""
        text = json.dumps(json.loads(to_json(training)), indent=1) + "\n"
        write_atomic(self.record, text.encode())

    def read(self) -> Training:
        """What training.json says. Raises DataError when it is damaged."""
        with disk_faults(self.record, "read"):
            content = self.record.read_bytes()
        try:
            training: Training = from_json(Training, content)
        except ValidationError as error:
            fault = error.errors()[0]
            place = ".".join(map(str, fault["loc"]))
            raise DataError(f"{self.record}: not a training: {place}: {fault['msg']}") from None
        return training

    def rows(self) -> list[Row]:
        """All whole rows of metrics.jsonl. Raises DataError naming a bad line."""
        rows = []
        for number, line in enumerate(self._lines(), 1):
            try:
                row = json.loads(line)
            except ValueError:
                raise DataError(f"{self.metrics}:{number}: not a row of metrics") from None
            rows.append(row)
        return rows

    def append(self, row: Row) -> None:
        """One more row of metrics. Raises EnvironmentFault when the disk refuses."""
        with disk_faults(self.metrics), self.metrics.open("ab") as file:
            file.write(json.dumps(row).encode() + b"\n")

    def cut(self, rows: int) -> None:
        """Keeps the first `rows` rows: what came after the checkpoint is trained again."""
        if len(self._lines()) != rows or not self.metrics.exists():
            write_atomic(self.metrics, b"".join(line + b"\n" for line in self._lines()[:rows]))

    def _lines(self) -> list[bytes]:
        """Whole lines; one that was being written when the process died is none."""
        with disk_faults(self.metrics, "read"), suppress(FileNotFoundError):
            return self.metrics.read_bytes().split(b"\n")[:-1]
        return []
