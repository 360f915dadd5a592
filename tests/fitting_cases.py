"""Trainings that take a second, on the shared videos."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from expander.config.settings import DataConfig, TrainRecipe
from expander.data.sources import open_data
from expander.specs.spec import Base, Spec
from expander.training.distributed import Workers
from expander.training.trainer import fit
from expander.training.training_folder import Training, TrainingFolder

SMALL = Spec(Base(frames=2, stride=8, crop=16, stem_width=4, depths=(1,), head_width=8, width_divisor=2))


def training_of(videos: Path, workers: int = 1, **recipe: Any) -> Training:
    """A training of SMALL on the 48 training videos: by default 4 epochs of 6 steps of 8 clips."""
    data = DataConfig(None, str(videos / "train.txt"), str(videos / "val.txt"), str(videos), cache_gb=1)
    found = open_data(data)
    defaults = {"epochs": 4, "batch": 8, "lr": 0.8, "dropout": 0.3, "precise_bn": 2, "validate_every": 2,
                "views": 1, "ema": 0.9, "mixup": 0.2, "label_smoothing": 0.1}  # fmt: skip
    return Training(
        SMALL.with_classes(len(found.classes)), TrainRecipe(**{**defaults, **recipe}), data,
        found.fingerprint, found.classes, len(found.train), seed=5, workers=workers,
    )  # fmt: skip


def folder_of(place: Path, training: Training) -> TrainingFolder:
    """A folder in which the training may begin."""
    folder = TrainingFolder(place)
    place.mkdir(parents=True, exist_ok=True)
    folder.write(training)
    return folder


def after(steps: int) -> Callable[[], bool]:
    """A wish to stop after so many steps."""
    done = count(1)
    return lambda: next(done) >= steps


def timeless(folder: TrainingFolder) -> list[dict[str, Any]]:
    """The rows of metrics without what depends on the clock."""
    clock = ("clips_per_second", "data_wait")
    return [{name: value for name, value in row.items() if name not in clock} for row in folder.rows()]


def ends_as_undisturbed(training: Training, cut: TrainingFolder, whole: TrainingFolder, steps: int) -> None:
    """Asserts that a training stopped after `steps` and gone on with ends as `whole`, bit for bit."""
    stopped = fit(training, cut, Workers(), stop=after(steps))
    assert stopped.state == "stopped"
    assert fit(replace(stopped, state="running", reason=""), cut, Workers()).best == whole.read().best
    assert timeless(cut) == timeless(whole)
    assert cut.best.read_bytes() == whole.best.read_bytes()
    assert cut.last.read_bytes() == whole.last.read_bytes()


def with_recipe(training: Training, **changes: Any) -> Training:
    """The same training with another recipe."""
    return replace(training, recipe=replace(training.recipe, **changes))
