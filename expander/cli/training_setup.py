"""What `train` says before and after: the training that its options ask for, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from expander.cli.options import data_settings, describe_data

if TYPE_CHECKING:
    from expander.data.annotations import VideoData
    from expander.training.training_run import Training, TrainingFolder


def plan(options: dict[str, Any]) -> tuple[Training, VideoData]:
    """The training that the options ask for, and its videos; says what it will be."""
    from expander.cli.progress import Counter
    from expander.engine.train import TrainOrder
    from expander.engine.train import plan as planned
    from expander.training.init import started_from

    order = TrainOrder(
        options["spec"], data_settings(options), options["recipe"] or "x3d", options["init"],
        options["epochs"], options["batch"], options["seed"] or 0, options["gpus"], options["workers_ddp"],
        options["overfit_batches"] or 0, options["log"] or "", options["overrides"],
    )  # fmt: skip
    with Counter("making the embedded videos (once)", "video") as counter:
        training, data = planned(order, counter)
    if training.data.folder or training.data.train_ann:
        click.echo(describe_data(data))
    click.echo(describe(training, len(data.val)))
    if training.init:
        click.echo(started_from(training))
    return training, data


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


def conclude(training: Training, folder: TrainingFolder) -> None:
    """The best validation, and where everything is."""
    from expander.errors import EnvironmentFault
    from expander.report.charts import training_curves
    from expander.report.style import save

    path = folder.folder / "report" / "curves.png"
    figure = training_curves(folder.folder, 7.0)
    try:
        if figure is not None:
            save(figure, path)
    except OSError as error:
        raise EnvironmentFault(f"{path}: cannot be written: {error.strerror}") from None
    if training.best is not None:
        best = training.best
        click.echo(f"best: video_top1 {best.video_top1:.1%} after epoch {best.epoch}: {folder.best}")
    click.echo(f"last: {folder.last}")
    if figure is not None:
        click.echo(f"figure: {path}")
    click.echo(f"finished{': ' + training.reason if training.reason else ''}")
