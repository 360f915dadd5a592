"""train: from a spec to a trained network."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from expander.cli.options import DATA_OPTIONS, data_options
from expander.errors import ExpanderError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from expander.cli.training_output import Reporter
    from expander.data.annotations import VideoData
    from expander.training.training_run import Training, TrainingFolder

FRESH_ONLY = (*DATA_OPTIONS, "recipe", "init", "epochs", "batch", "seed", "overfit_batches", "gpus",
              "workers_ddp", "log", "overrides")  # fmt: skip

@click.command()
@click.argument("spec", required=False)
@data_options
@click.option("--recipe", help="x3d, finetune, tiny, or a YAML file.  [default: x3d]")
@click.option("--init", help="Weights to start from: a .safetensors file, RUN or TRAINING.")
@click.option("--epochs", type=int, help="Passes over the training videos.  [default: the recipe's]")
@click.option("--batch", type=int, help="Clips a step, over all processes.  [default: the recipe's]")
@click.option("--run", "name", help="Name of the folder below runs/.  [default: made from spec and time]")
@click.option("--resume", is_flag=True, help="Go on with the training of this name where it stopped.")
@click.option("--seed", type=click.IntRange(min=0), help="Of weights, order, crops, dropout.  [default: 0]")
@click.option("--dry-run", is_flag=True, help="One batch: shapes, cost, memory, seconds an epoch.")
@click.option("--overfit-batches", type=click.IntRange(min=1), metavar="N",
              help="Train and test on the clips of the first N batches only: can it learn them by heart?")
@click.option("--gpus", type=click.IntRange(min=1), help="Processes, one GPU each (Ray Train).  "
              "[default: one process, with a GPU if there is one]")
@click.option("--workers-ddp", type=click.IntRange(min=1), help="Processes on CPUs (Ray Train, gloo).")
@click.option("--log", type=click.Choice(["csv", "tensorboard"]), help="Metrics in this form too.")
@click.option("--set", "overrides", multiple=True, metavar="SECTION.KEY=VALUE",
              help="Any setting of train, data or backend, e.g. train.lr=0.05, data.workers=4.")  # fmt: skip
def train(**options: Any) -> None:
    """Train SPEC to the end: a YAML file, a published name (x3d_s), RUN, RUN:step3 or RUN:final.

    Without --data or --train-ann and --val-ann it trains on the videos of the run, or else on the embedded
    data set. The folder gets best.safetensors, last.safetensors, metrics.jsonl, training.json and a figure.
    """
    if options["resume"]:
        _resume(options)
    else:
        _fresh(options)


def _fresh(options: dict[str, Any]) -> None:
    from expander.cli.training_setup import plan

    folder = _folder(options)
    if folder.folder.exists() and not options["dry_run"]:
        again = "go on with --resume, or choose another --run" if folder.exists() else "choose another --run"
        raise UsageError(f"{folder.folder} exists; {again}")
    training, data = plan(options)
    if options["dry_run"]:
        _dry(training, data)
        return
    folder.create()
    with folder.locked():
        folder.write(training)
        _go(training, folder, data)


def _folder(options: dict[str, Any]) -> TrainingFolder:
    """runs/NAME. Raises UsageError for a name that is no plain folder name."""
    from expander.engine.references import RUNS
    from expander.training.training_run import TrainingFolder

    if options["spec"] is None:
        raise UsageError("SPEC is missing: what to train, e.g. x3d_s, spec.yaml or RUN:final")
    name = options["name"]
    if name is None:
        plain = re.sub(r"[^A-Za-z0-9._-]", "-", Path(options["spec"]).stem).strip("-.")
        return TrainingFolder(RUNS / f"train-{plain}-{datetime.now():%Y%m%d-%H%M%S}")
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}", name):
        raise UsageError(f"--run {name!r}: take letters, digits, '_', and inside the name '.' and '-'")
    return TrainingFolder(RUNS / name)


def _dry(training: Training, data: VideoData) -> None:
    from expander.cli.progress import Counter
    from expander.data.sources import fill_cache
    from expander.training.dry_run import rehearse

    with Counter("decoding the videos (once)", "video") as counter:
        fill_cache(data, training.data, counter)
    click.echo(rehearse(training, data))
    click.echo("dry run: nothing was trained")


def _resume(options: dict[str, Any]) -> None:
    from expander.engine.references import find_spec, find_training
    from expander.training.sampler import checked_data

    clash = [name for name in FRESH_ONLY if options[name] not in (None, ())]
    if options["name"] is None or clash or options["dry_run"]:
        raise UsageError("--resume takes --run NAME and nothing else; the settings are the training's own")
    folder = find_training(options["name"])
    if folder is None:
        raise UsageError(f"no training {options['name']!r} in runs/ and no training folder of that name")
    training = folder.read()
    if options["spec"] is not None:
        asked = find_spec(options["spec"]).with_classes(len(training.classes))
        if asked != training.spec:
            raise UsageError(f"{folder.folder} trains another spec, {training.spec}, not {asked}")
    with folder.locked():
        if training.state == "finished":
            _conclude(training, folder)
            return
        data = checked_data(training)
        training = replace(training, state="running", reason="")
        folder.write(training)
        _go(training, folder, data)


def _go(training: Training, folder: TrainingFolder, data: VideoData) -> None:
    """Trains to the end and shows what came of it."""
    from expander.cli.training_output import how_to_go_on

    click.echo(f"training: {folder.folder}")
    try:
        training, code = _trained(training, folder, data)
    except ExpanderError as error:
        _stopped(folder, str(error))
        raise
    except (KeyboardInterrupt, SystemExit):  # at once, without a checkpoint
        if _stopped(folder, "interrupted"):
            click.echo(how_to_go_on(folder), err=True)
        raise
    if training.state == "stopped":
        click.echo(how_to_go_on(folder), err=True)
        raise SystemExit(code)
    _conclude(training, folder)


def _stopped(folder: TrainingFolder, reason: str) -> bool:
    """Writes that the training stopped, unless it had finished: what failed then was only telling of it."""
    if (training := folder.read()).state == "finished":
        return False
    folder.write(replace(training, state="stopped", reason=reason))
    return True


def _trained(training: Training, folder: TrainingFolder, data: VideoData) -> tuple[Training, int]:
    """The training as it ended, and the exit code should a signal have stopped it."""
    from expander.cli.progress import Counter
    from expander.cli.training_output import Reporter, interruptible
    from expander.data.sources import fill_cache

    with Counter("decoding the videos (once)", "video") as counter:
        fill_cache(data, training.data, counter)
    run = _together if training.workers > 1 else _alone
    with Reporter(training, folder) as reporter, interruptible() as interruption:
        return run(training, folder, reporter, interruption.asked), interruption.code


def _alone(
    training: Training, folder: TrainingFolder, reporter: Reporter, stop: Callable[[], bool]
) -> Training:
    from expander.training.distributed import Workers, device_for
    from expander.training.trainer import fit

    return fit(training, folder, Workers(device=device_for(training.on_gpu)), reporter, stop)


def _together(
    training: Training, folder: TrainingFolder, reporter: Reporter, stop: Callable[[], bool]
) -> Training:
    from expander.backends.ray_train import fit_together

    return fit_together(training, folder, reporter, stop)


def _conclude(training: Training, folder: TrainingFolder) -> None:
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
