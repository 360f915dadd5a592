"""train: from a spec to a trained network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from expander.cli.help import Command
from expander.cli.options import DATA_OPTIONS, Whole, data_options, data_settings, describe_data
from expander.cli.output.terminal import say
from expander.errors import UsageError

if TYPE_CHECKING:
    from expander.data.tasks import TaskData
    from expander.engine.train import TrainOrder
    from expander.training.training_folder import Training, TrainingFolder

FRESH_ONLY = (*DATA_OPTIONS, "task", "recipe", "init", "epochs", "batch", "seed", "overfit_batches", "gpus",
              "workers_ddp", "log", "overrides")  # fmt: skip

@click.command(cls=Command)
@click.argument("spec", required=False)
@data_options
@click.option("--task", type=click.Choice(["classification", "detection"]),
              help="What a video shows, or what each person at key frames does.  "
                   "[default: the run's, or classification]")
@click.option("--recipe", help="x3d, finetune, tiny, ava, or a YAML file.  [default: x3d; of detection ava]")
@click.option("--init", help="Weights to start from: a .safetensors file, RUN or TRAINING.")
@click.option("--epochs", type=int, help="Passes over the training videos.  [default: the recipe's]")
@click.option("--batch", type=int, help="Clips a step, over all processes.  [default: the recipe's]")
@click.option("--run", "name", help="Name of the folder below runs/.  [default: made from spec and time]")
@click.option("--resume", is_flag=True, help="Go on with the training of this name where it stopped.")
@click.option("--seed", type=Whole("seed", 0), help="Of weights, order, crops, dropout.  [default: 0]")
@click.option("--dry-run", is_flag=True, help="One batch: shapes, cost, memory, seconds an epoch.")
@click.option("--overfit-batches", type=Whole("steps"), metavar="N",
              help="Train and test on the clips of the first N batches only: can it learn them by heart?")
@click.option("--gpus", type=Whole("workers"), help="Processes, one GPU each (Ray Train).  "
              "[default: one process, with a GPU if there is one]")
@click.option("--workers-ddp", type=Whole("workers"), help="Processes on CPUs (Ray Train, gloo).")
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
    from expander.runs.ownership import claimed

    folder = _folder(options)
    if options["dry_run"]:
        _dry(*_plan(options))
        return
    with claimed(folder.folder):
        training, data = _plan(options)
        folder.write(training)
        _go(training, data, folder)


def _folder(options: dict[str, Any]) -> TrainingFolder:
    """runs/NAME. Raises UsageError for a name that is no plain folder name."""
    from expander.engine.folders import training_folder

    if options["spec"] is None:
        raise UsageError("SPEC is missing: what to train, e.g. x3d_s, spec.yaml or RUN:final")
    return training_folder(options["name"], options["spec"])


def _dry(training: Training, data: TaskData) -> None:
    from expander.cli.output.terminal import Counter
    from expander.data.filling import fill_cache
    from expander.training.timing.dry_run import rehearse

    with Counter("decoding the videos (once)", "video") as counter:
        fill_cache(data, training.data, counter)
    say(rehearse(training, data))
    say("dry run: nothing was trained")


def _resume(options: dict[str, Any]) -> None:
    from expander.engine.references import find_spec, find_training
    from expander.engine.train import resumed

    clash = [name for name in FRESH_ONLY if options[name] not in (None, ())]
    if options["name"] is None or clash or options["dry_run"]:
        raise UsageError("--resume takes --run NAME and nothing else; the settings are the training's own")
    folder = find_training(options["name"])
    if folder is None:
        raise UsageError(f"no training {options['name']!r} in runs/ and no training folder of that name")
    with folder.locked():
        training = folder.read()
        if options["spec"] is not None:
            asked = find_spec(options["spec"]).with_classes(len(training.classes))
            if asked != training.spec:
                raise UsageError(f"{folder.folder} trains another spec, {training.spec}, not {asked}")
        if training.state == "finished":
            _conclude(training, folder)
        else:
            _go(*resumed(training, folder), folder)


def _go(training: Training, data: TaskData, folder: TrainingFolder) -> None:
    """Trains to the end and shows what came of it."""
    from expander.cli.output.terminal import Counter
    from expander.cli.output.training_output import Reporter, how_to_go_on, interruptible
    from expander.data.filling import fill_cache
    from expander.engine.train import recorded, run

    say(f"training: {folder.folder}")
    try:
        with recorded(folder):
            with Counter("decoding the videos (once)", "video") as counter:
                fill_cache(data, training.data, counter)
            with Reporter(training, folder) as reporter, interruptible(folder) as interruption:
                training = run(training, folder, reporter, interruption.asked)
    except (KeyboardInterrupt, SystemExit):
        if folder.read().state != "finished":
            say(how_to_go_on(folder), err=True)
        raise
    if training.state == "stopped":
        say(how_to_go_on(folder), err=True)
        raise SystemExit(interruption.code)
    _conclude(training, folder)


def order_of(options: dict[str, Any]) -> TrainOrder:
    """What the options of `train` ask for."""
    from expander.engine.train import TrainOrder

    return TrainOrder(
        options["spec"], data_settings(options), options["recipe"], options["init"],
        options["epochs"], options["batch"], options["seed"] or 0, options["gpus"], options["workers_ddp"],
        options["overfit_batches"] or 0, options["log"] or "", options["task"], options["overrides"],
    )  # fmt: skip


def _plan(options: dict[str, Any]) -> tuple[Training, TaskData]:
    """The training that the options ask for, and its videos; says what it will be."""
    from expander.cli.output.terminal import Counter
    from expander.engine.train import plan
    from expander.training.init import started_from

    with Counter("making the embedded videos (once)", "video") as counter:
        training, data = plan(order_of(options), counter)
    if training.data.folder or training.data.train_ann:
        say(describe_data(data))
    say(_describe(training, data))
    if training.init:
        say(started_from(training))
    return training, data


def _describe(training: Training, data: TaskData) -> str:
    """What will be trained, in three lines."""
    from expander.data.ava.boxes import to_validate
    from expander.data.ava.keyframes import DetectionData
    from expander.report.tables import macs_text
    from expander.specs.cost import cost

    people = training.task == "detection"
    recipe, price = training.recipe, cost(training.spec, boxes=1 if people else None)
    rate = recipe.loop(training.steps, False).lr
    each = f", {training.workers} processes" if training.workers > 1 else ""
    few = training.overfit_batches
    kind = "key frames" if people else "videos"
    shown = f"{few} batches only" if few else f"{training.videos} {kind}"
    one = " with one person" if people else ""
    apart = f", last stage dilated by {recipe.dilation}" if recipe.dilation > 1 else ""
    validated, rest = len(data.val), ""
    if isinstance(data, DetectionData) and recipe.validate_stride > 1:
        some, _ = to_validate(data, training.data.test_score, recipe.validate_stride)
        validated, rest = len(some.val), f", all {len(data.val)} at the end"
    return (
        f"spec: {training.spec}, {macs_text(price.macs)} multiply-adds{one}, {price.params:,} parameters, "
        f"{len(training.classes)} classes{apart}\n"
        f"recipe: {recipe.epochs} epochs of {training.steps_per_epoch} steps of {recipe.batch} clips{each}, "
        f"learning rate {rate:.4g}\n"
        f"data: {shown} to train on, {validated} to validate on every {recipe.validate_every} epochs{rest}"
    )


def _conclude(training: Training, folder: TrainingFolder) -> None:
    """The best validation, and where everything is."""
    from expander.report.charts import training_curves
    from expander.report.style import save

    path = folder.folder / "report" / "curves.png"
    figure = training_curves(folder.folder, 7.0)
    if figure is not None:
        save(figure, path)
    if training.best is not None:
        best = training.best
        say(f"best: {training.measure} {best.goodness:.1%} after epoch {best.epoch}: {folder.best}")
    say(f"last: {folder.last}")
    if figure is not None:
        say(f"figure: {path}")
    say(f"finished{': ' + training.reason if training.reason else ''}")
