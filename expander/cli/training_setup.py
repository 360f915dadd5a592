"""From the options of `train` to a checked training, before anything is written."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import click

from expander.cli.options import data_settings, describe_data
from expander.errors import UsageError

if TYPE_CHECKING:
    from expander.config.settings import BackendConfig, TrainRecipe
    from expander.data.annotations import VideoData
    from expander.training.training_run import Training


def plan(options: dict[str, Any]) -> tuple[Training, VideoData]:
    """The training that the options ask for, and its videos; says what it will be."""
    from expander.cli.progress import Counter
    from expander.config.load import load_training
    from expander.data.sources import open_data
    from expander.engine.preparation import command_line, versions
    from expander.engine.references import data_of, find_spec, find_weights
    from expander.training.init import started_from
    from expander.training.training_run import Training

    named = {key: options[key] for key in ("epochs", "batch")}
    own = data_of(options["spec"])
    given = {"data": data_settings(options) or (asdict(own) if own else {}), "train": named}
    recipe, place, backend = load_training(options["recipe"] or "x3d", options["overrides"], given)
    spec = find_spec(options["spec"])
    init = str(find_weights(options["init"]).resolve()) if options["init"] else ""
    workers = _processes(options, recipe)
    backend = _devices(options, _threads(options, backend, workers), workers)
    with Counter("making the embedded videos (once)", "video") as counter:
        data = open_data(place, counter)
    if place.folder or place.train_ann:
        click.echo(describe_data(data))
    training = Training(
        spec.with_classes(len(data.classes)), recipe, place, data.fingerprint, data.classes, len(data.train),
        options["seed"] or 0, init, workers, options["gpus"] is not None, backend,
        options["overfit_batches"] or 0, options["log"] or "", tuple(command_line()), versions(),
    )  # fmt: skip
    click.echo(describe(training, len(data.val)))
    if init:
        click.echo(started_from(training))
    return training, data


def _processes(options: dict[str, Any], recipe: TrainRecipe) -> int:
    """How many processes share a batch. Raises UsageError."""
    if options["gpus"] and options["workers_ddp"]:
        raise UsageError("--gpus or --workers-ddp, not both: processes with a GPU each, or without")
    workers: int = options["gpus"] or options["workers_ddp"] or 1
    if recipe.batch % (workers * recipe.accumulate):
        parts = f"{workers} processes x {recipe.accumulate} parts (train.accumulate)"
        shared = f"a batch of {recipe.batch} clips cannot be shared evenly by {parts}"
        raise UsageError(f"{shared}; change --batch")
    return workers


def _threads(options: dict[str, Any], backend: BackendConfig, workers: int) -> BackendConfig:
    """All CPUs of this machine, shared by the processes, unless backend.cpus_per_trial says otherwise."""
    from expander.engine.preparation import check_backend
    from expander.runs.machine import cores

    if not any(text.replace(" ", "").startswith("backend.cpus_per_trial") for text in options["overrides"]):
        backend = replace(backend, cpus_per_trial=max(1, cores() // workers))
    check_backend(backend, together=workers > 1)
    return backend


def _devices(options: dict[str, Any], backend: BackendConfig, workers: int) -> BackendConfig:
    """--gpus and --workers-ddp say what each process has. Raises UsageError and EnvironmentFault."""
    from expander.training.distributed import device_for

    wanted = backend.gpus_per_trial
    for option, each in (("gpus", 1.0), ("workers_ddp", 0.0)):
        if options[option]:
            if wanted not in (None, each):
                said = f"--{option.replace('_', '-')} means backend.gpus_per_trial={each:g}, not {wanted:g}"
                raise UsageError(f"{said}; leave one of them out")
            backend = replace(backend, gpus_per_trial=each)
    if workers == 1 and backend.gpus_per_trial:
        device_for(gpu=True)
    return backend


def describe(training: Training, validation: int) -> str:
    """What will be trained, in three lines."""
    from expander.report.tables import macs_text
    from expander.specs.cost import cost

    recipe, price = training.recipe, cost(training.spec)
    rate = recipe.loop(training.steps, False).lr
    each = f", {training.workers} processes" if training.workers > 1 else ""
    few = training.overfit_batches
    shown = f"{few} batches only" if few else f"{training.videos} videos"
    return (
        f"spec: {training.spec}, {macs_text(price.macs)} multiply-adds, {price.params:,} parameters, "
        f"{len(training.classes)} classes\n"
        f"recipe: {recipe.epochs} epochs of {training.steps_per_epoch} steps of {recipe.batch} clips{each}, "
        f"learning rate {rate:.4g}\n"
        f"data: {shown} to train on, {validation} to validate on every {recipe.validate_every} epochs"
    )
