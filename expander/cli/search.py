"""search: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from expander.cli.help import Command
from expander.cli.options import (
    BACKENDS,
    COST_OPTIONS,
    DATA_OPTIONS,
    Whole,
    data_options,
    data_settings,
    describe_data,
    goal_of,
    goal_options,
)
from expander.cli.output.terminal import say
from expander.cli.running import BUDGET, resume, run_search
from expander.config.reading import absolute
from expander.errors import UsageError

if TYPE_CHECKING:
    from expander.config.load import Settings
    from expander.engine.cluster_plan import Plan
    from expander.engine.preparation import Goal
    from expander.runs.events import RunStarted
    from expander.search.forecast import TrainingSpeed

PLAN_OPTIONS = ("cluster", "clips_per_second", "losses_per_day")
FRESH_ONLY = (*DATA_OPTIONS, "task", "space", *COST_OPTIONS, "max_steps", "contract", "seed",
              "cpus_per_trial", "storage_path", "overrides", *PLAN_OPTIONS)  # fmt: skip


@click.command(cls=Command)
@goal_options
@click.option("--task", type=click.Choice(["classification", "detection"]),
              help="What a video shows, or what each person at key frames does.  [default: classification]")
@click.option("--space", help="Search space: x3d, x3d_balanced, tiny, or a YAML file.  [default: x3d]")
@data_options
@click.option("--run", "name", help="Name of the folder below runs/.  [default: made from space and time]")
@click.option("--resume", is_flag=True, help="Go on with the run of this name where it stopped.")
@click.option("--dry-run", is_flag=True, help="Only the forecast: steps, trials, hours. Trains nothing.")
@click.option("--cluster", metavar="SHAPE", help="With --dry-run: simulate it on '8 nodes x 8 gpus'.")
@click.option("--clips-per-second", type=click.FloatRange(min=0, min_open=True, max=1e9),
              help="Training of one trial at the target, on that cluster.  [default: measured here]")
@click.option("--losses-per-day", type=click.FloatRange(min=0, max=24),
              help="Of each node of that cluster, for a day.  [default: 0]")
@click.option("--max-steps", type=Whole("max_steps"), help="Stop after so many expansions.")
@click.option("--contract", type=click.Choice(["trained", "nearest"]),
              help="Train one along every axis and choose, or take the nearest.  [default: trained]")
@click.option("--seed", type=Whole("seed", 0), help="Of weights, order and crops.  [default: 0]")
@click.option("--backend", type=click.Choice(BACKENDS), help="Where trials run.  [default: ray]")
@click.option("--ray-address", help="Running Ray cluster: auto, or HEAD:6379.  [default: a Ray of its own]")
@click.option("--cpus-per-trial", type=Whole("cpus_per_trial"), help="And threads.  [default: 1]")
@click.option("--gpus-per-trial", type=click.FloatRange(min=0), help="[default: 1 where there are any]")
@click.option("--storage-path", help="Of the trials: a folder all nodes see, or s3://.  [default: the run's]")
@click.option("--max-hours", type=float, help="Stop after so many hours of this call.")
@click.option("--max-trials", type=Whole("trials"), help="Stop after so many trials of the run.")
@click.option("--max-gpu-hours", type=float, help="Stop after so many hours of GPUs, of the whole run.")
@click.option("--reuse", multiple=True, metavar="RUN",
              help="Take over results of this run instead of training the same again. Repeatable.")
@click.option("--log", "trackers", multiple=True, type=click.Choice(["tensorboard", "mlflow", "wandb"]),
              help="Tell a tracker of every trial, by Ray Tune's callbacks. Repeatable.")  # fmt: skip
@click.option("--set", "overrides", multiple=True, metavar="SECTION.KEY=VALUE",
              help="Any setting, e.g. proxy.steps=400, selection.seeds=3. Repeatable.")  # fmt: skip
def search(**options: Any) -> None:
    """Grow a network on your videos to a budget, then contract it to meet the budget.

    Without --data or --train-ann and --val-ann it works on the embedded data set, made on first use.
    """
    if options["resume"]:
        clash = [name for name in FRESH_ONLY if options[name] not in (None, ())]
        if options["name"] is None or clash or options["dry_run"]:
            raise UsageError("--resume takes --run NAME, where to run and how long, and nothing else; "
                             "the settings are the run's own")
        resume(options)
        return
    _fresh(options)


def _fresh(options: dict[str, Any]) -> None:
    from expander.cli.output.narration import say_plan
    from expander.engine.cluster_plan import median_course
    from expander.engine.folders import run_folder
    from expander.engine.preparation import begin, check_backend, command_line
    from expander.engine.search import known_results
    from expander.runs.journal import Run
    from expander.runs.ownership import claimed

    space = options["space"] or "x3d"
    goal = goal_of(options)
    settings = _settings(space, options)
    run = Run(run_folder(options["name"], _wanted(options, space)))
    simulated = _simulated(options, settings, goal)
    check_backend(settings.backend)
    if options["dry_run"]:
        start, pace = _planned(settings, goal, options)
        if simulated is not None:
            say_plan(simulated, median_course(start, pace, simulated))
        say("dry run: nothing was trained")
        return
    with claimed(run.folder, settings.backend.storage):
        start, pace = _planned(settings, goal, options)
        known = known_results(options["reuse"])
        run.create(settings.backend.storage)
        begin(run, start, command_line(), pace)
        run_search(run, start, pace, known)


def _simulated(options: dict[str, Any], settings: Settings, goal: Goal) -> Plan | None:
    """The cluster to simulate, if any. Raises UsageError."""
    from expander.engine.cluster_plan import wanted

    shape, speed, rate = (options[name] for name in PLAN_OPTIONS)
    if shape is None:
        if speed is not None or rate is not None:
            raise UsageError("--clips-per-second and --losses-per-day go with --dry-run --cluster SHAPE")
        return None
    if not options["dry_run"]:
        raise UsageError("--cluster simulates: add --dry-run; to run on a cluster, take --ray-address")
    return wanted(shape, settings.backend, goal, speed, rate or 0.0)


def _planned(settings: Settings, goal: Goal, options: dict[str, Any]) -> tuple[RunStarted, TrainingSpeed]:
    """What the options ask for, said before it is begun."""
    from expander.cli.output.narration import announce
    from expander.cli.output.terminal import Counter
    from expander.engine.search import plan
    from expander.profiling.latency import cost_function

    with Counter("making the embedded videos (once)", "video") as counter:
        start, pace = plan(
            settings, goal, options["seed"] or 0, options["max_steps"], options["dry_run"],
            counter, lambda data: say(describe_data(data)), options["task"] or "classification",
        )  # fmt: skip
    cost_of = cost_function(start.problem, None, start.backend.cpus_per_trial)
    announce(start.problem, pace, cost_of, here=options["cluster"] is None)
    return start, pace


def _settings(space: str, options: dict[str, Any]) -> Settings:
    from expander.config.load import load_settings

    storage = options["storage_path"]
    backend = {
        "kind": options["backend"],
        "log": list(options["trackers"]) or None,
        "address": options["ray_address"],
        "cpus_per_trial": options["cpus_per_trial"],
        "gpus_per_trial": options["gpus_per_trial"],
        "storage": storage if storage is None or "://" in storage else str(absolute(storage)),
    }
    budget = {key: options[name] for name, key in BUDGET.items()}
    selection = {"contraction": options["contract"]}
    given = {"data": data_settings(options), "backend": backend, "budget": budget, "selection": selection}
    return load_settings(space, options["overrides"], given)


def _wanted(options: dict[str, Any], space: str) -> str:
    """What a run without a name is named after: its space and its target."""
    amount = f"{options['target']:g}G" if options["target"] else f"{options['cost']}{options['amount']:g}"
    return f"{Path(space).stem}-{amount}"
