"""A training from what it is asked to be to its end: planned, checked, carried out by one process or more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from expander.config.load import load_training
from expander.config.reading import absolute
from expander.config.settings import BackendConfig, Task, TrainRecipe
from expander.data.annotations import VideoData
from expander.data.tasks import TaskData, open_for, samples_of
from expander.engine.preparation import check_backend, command_line, versions
from expander.engine.references import data_of, dilation_of, find_spec, find_weights, task_of
from expander.errors import ExpanderError, UsageError
from expander.runs.machine import cores
from expander.specs.spec import Spec
from expander.training.sampler import checked_data
from expander.training.training_folder import Training, TrainingFolder
from expander.video.room import check_training

if TYPE_CHECKING:
    from expander.training.trainer import Watcher

Progress = Callable[[int, int], None]
RECIPES: dict[Task, str] = {"classification": "x3d", "detection": "ava"}
"""Where none is named."""


@dataclass(frozen=True, slots=True)
class TrainOrder:
    """What is to be trained, on what and how.

    spec: a Spec, a published name, a file or RUN:step. data: settings by name (default: the run's videos, or
    the embedded ones). recipe: none, the usual one of the task. init: weights to start from. gpus: processes
    with a GPU each; workers: without. task: what the network is asked; none, that of the run, or else
    classification. overrides: `train.lr=0.1` and the like.
    """

    spec: Spec | str
    data: Mapping[str, Any] = field(default_factory=dict)
    recipe: str | None = None
    init: str | None = None
    epochs: int | None = None
    batch: int | None = None
    seed: int = 0
    gpus: int | None = None
    workers: int | None = None
    overfit_batches: int = 0
    log: Literal["", "csv", "tensorboard"] = ""
    task: Task | None = None
    overrides: tuple[str, ...] = ()


def plan(order: TrainOrder, progress: Progress | None = None) -> tuple[Training, TaskData]:
    """The training, and its data; nothing is written. Raises UsageError, DataError, EnvironmentFault."""
    named = order.spec if isinstance(order.spec, str) else None
    own = data_of(named) if named else None
    task = order.task or (task_of(named) if named else "classification")
    given = {
        "data": dict(order.data) or (asdict(own) if own else {}),
        "train": {"epochs": order.epochs, "batch": order.batch},
    }
    inherited = {}
    if task == "detection" and named:
        inherited["dilation"] = dilation_of(named)
    name = order.recipe or RECIPES[task]
    recipe, place, backend = load_training(name, order.overrides, given, inherited)
    spec = order.spec if isinstance(order.spec, Spec) else find_spec(order.spec)
    init = str(absolute(find_weights(order.init))) if order.init else ""
    workers = _processes(order, recipe)
    backend = _devices(order, _threads(order, backend, workers), workers)
    check_training(spec, recipe.batch // (workers * recipe.accumulate))
    if task == "detection" and recipe.mixup:
        raise UsageError("train.mixup: people of two clips cannot be mixed; leave it out of a detection")
    for setting in ("dilation", "validate_stride") if task != "detection" else ():
        if getattr(recipe, setting) != 1:
            raise UsageError(f"train.{setting} is of --task detection; leave it out of a classification")
    data = open_for(task, place, progress)
    training = Training(
        spec.with_classes(len(data.classes)), recipe, place, data.fingerprint, data.classes,
        samples_of(data, place), order.seed, init, workers, order.gpus is not None, backend,
        order.overfit_batches, order.log, tuple(command_line()), versions(),
        multi_label=isinstance(data, VideoData) and data.multi_label, task=task,
    )  # fmt: skip
    return training, data


def _processes(order: TrainOrder, recipe: TrainRecipe) -> int:
    """How many processes share a batch. Raises UsageError."""
    if order.gpus and order.workers:
        raise UsageError("--gpus or --workers-ddp, not both: processes with a GPU each, or without")
    workers = order.gpus or order.workers or 1
    if recipe.batch % (workers * recipe.accumulate):
        parts = f"{workers} processes x {recipe.accumulate} parts (train.accumulate)"
        shared = f"a batch of {recipe.batch} clips cannot be shared evenly by {parts}"
        raise UsageError(f"{shared}; change --batch")
    return workers


def _threads(order: TrainOrder, backend: BackendConfig, workers: int) -> BackendConfig:
    """All CPUs of this machine, shared by the processes, unless backend.cpus_per_trial says otherwise."""
    if not any(text.replace(" ", "").startswith("backend.cpus_per_trial") for text in order.overrides):
        backend = replace(backend, cpus_per_trial=max(1, cores() // workers))
    check_backend(backend, together=workers > 1)
    return backend


def _devices(order: TrainOrder, backend: BackendConfig, workers: int) -> BackendConfig:
    """--gpus and --workers-ddp say what each process has. Raises UsageError and EnvironmentFault."""
    from expander.training.distributed import device_for

    wanted = backend.gpus_per_trial
    for option, given, each in (("--gpus", order.gpus, 1.0), ("--workers-ddp", order.workers, 0.0)):
        if given:
            if wanted not in (None, each):
                said = f"{option} means backend.gpus_per_trial={each:g}, not {wanted:g}"
                raise UsageError(f"{said}; leave one of them out")
            backend = replace(backend, gpus_per_trial=each)
    if workers == 1 and backend.gpus_per_trial:
        device_for(gpu=True)
    return backend


def run(
    training: Training, folder: TrainingFolder, watcher: Watcher, stop: Callable[[], bool] = lambda: False
) -> Training:
    """Trains to the end, or until `stop`; the training as it ended, which its folder says too.

    The caller holds the folder's lock.
    """
    if training.workers > 1:
        from expander.backends.ray_train import fit_together

        return fit_together(training, folder, watcher, stop)
    from expander.training.distributed import Workers, device_for
    from expander.training.trainer import fit

    return fit(training, folder, Workers(device=device_for(training.on_gpu)), watcher, stop)


@contextmanager
def recorded(folder: TrainingFolder) -> Iterator[None]:
    """What stops a training within is written in its folder, and goes on up."""
    try:
        yield
    except ExpanderError as error:
        _stopped(folder, str(error))
        raise
    except (KeyboardInterrupt, SystemExit):  # at once, without a checkpoint
        _stopped(folder, "interrupted")
        raise


def resumed(training: Training, folder: TrainingFolder) -> tuple[Training, TaskData]:
    """A training that goes on, as its folder says from now on, and its data. Raises DataError."""
    data = checked_data(training)
    training = replace(training, state="running", reason="")
    folder.write(training)
    return training, data


def _stopped(folder: TrainingFolder, reason: str) -> None:
    """Writes it, unless the training had finished: what failed then was only telling of it."""
    if (training := folder.read()).state != "finished":
        folder.write(replace(training, state="stopped", reason=reason))
