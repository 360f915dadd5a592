"""search --dry-run --cluster: a search simulated on a cluster that need not be there."""

from __future__ import annotations

import os
import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from expander.cli.terminal import about, say
from expander.errors import UsageError
from expander.specs.cost_kinds import duration_text

if TYPE_CHECKING:
    from expander.config.settings import BackendConfig, DataConfig
    from expander.engine.preparation import Goal
    from expander.runs.events import RunStarted
    from expander.search.forecast import TrainingSpeed
    from expander.search.schedule import Cluster
    from expander.search.simulation import StepCost

F = TypeVar("F", bound=Callable[..., Any])
PLAN_OPTIONS = ("cluster", "clips_per_second", "losses_per_day")
SHAPE = re.compile(r"\s*(\d{1,5})\s*nodes?\s*x\s*(\d{1,4})\s*(gpu|cpu)s?\s*", re.IGNORECASE)
COURSES = 9
"""Simulated; a step's line is that of the one whose length is the median."""
SAMPLE = 200
"""Videos whose size is looked at."""


def plan_options(command: F) -> F:
    """Adds --cluster, --clips-per-second and --losses-per-day."""
    above = click.FloatRange(min=0, min_open=True, max=1e9)
    options = [
        click.option("--cluster", metavar="SHAPE", help="Simulate it, with --dry-run: '8 nodes x 8 gpus'."),
        click.option("--clips-per-second", type=above,
                     help="Training of one trial at the target, on that cluster.  [default: measured here]"),
        click.option("--losses-per-day", type=click.FloatRange(min=0, max=1000),
                     help="Of each node of that cluster, for a day.  [default: 0]"),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class Plan:
    """cluster: simulated. gpus: that a trial holds. clips_per_second: at the target; none: as measured here.

    losses_per_day: of a node.
    """

    cluster: Cluster
    gpus: float
    clips_per_second: float | None
    losses_per_day: float


def read_plan(options: dict[str, Any], backend: BackendConfig, goal: Goal) -> Plan | None:
    """What is to be simulated, if anything. Raises UsageError."""
    shape, speed, rate = (options[name] for name in PLAN_OPTIONS)
    if shape is None:
        if speed is not None or rate is not None:
            raise UsageError("--clips-per-second and --losses-per-day go with --dry-run --cluster SHAPE")
        return None
    if not options["dry_run"]:
        raise UsageError("--cluster simulates: add --dry-run; to run on a cluster, take --ray-address")
    if backend.kind != "ray":
        raise UsageError(f"--cluster is for Ray: leave out --backend {backend.kind}")
    if speed is not None and goal.kind != "flops":
        raise UsageError("--clips-per-second is of a network of --target-gflops; leave it out, and plan "
                         "on a node of the cluster")  # fmt: skip
    cluster = _cluster(shape, backend)
    if cluster.gpus and speed is None and not _has_gpu():
        raise UsageError("--cluster: this machine has no GPU whose speed could be measured; give "
                         "--clips-per-second, or plan on a node of the cluster")  # fmt: skip
    return Plan(cluster, _takes(backend) if cluster.gpus else 0.0, speed, rate or 0.0)


def _cluster(shape: str, backend: BackendConfig) -> Cluster:
    from expander.search.schedule import Cluster

    found = SHAPE.fullmatch(shape)
    if found is None or not int(found[1]) or not int(found[2]):
        raise UsageError(f"--cluster {shape!r}: say it as '8 nodes x 8 gpus' or '4 nodes x 16 cpus'")
    nodes, each, gpus = int(found[1]), int(found[2]), found[3].lower() == "gpu"
    wanted = _takes(backend)
    if gpus and not wanted:
        raise UsageError("--cluster of GPUs: a trial takes none with --gpus-per-trial 0")
    takes = wanted if gpus else backend.cpus_per_trial
    if takes > each:
        what = "GPUs" if gpus else "CPUs"
        raise UsageError(f"--cluster {shape!r}: a trial takes {takes:g} {what}, a node has {each}")
    return Cluster(nodes, int(each / takes), float(nodes * each) if gpus else 0.0)


def _takes(backend: BackendConfig) -> float:
    """GPUs that a trial takes where there are any."""
    return 1.0 if backend.gpus_per_trial is None else backend.gpus_per_trial


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def say_plan(start: RunStarted, pace: TrainingSpeed, plan: Plan) -> None:
    """Simulates COURSES searches; the steps of the median one, the range of all, where it waits."""
    from expander.engine.preparation import WORKERS
    from expander.profiling.latency import cost_function
    from expander.search.schedule import Places, Terms, losses
    from expander.search.simulation import simulate

    problem, cluster = start.problem, plan.cluster
    if plan.clips_per_second is not None:
        at_target = pace.per_clip + pace.per_mac * problem.target
        factor = 1 / (plan.clips_per_second * at_target)
        pace = replace(pace, per_clip=factor * pace.per_clip, per_mac=factor * pace.per_mac)
    terms = Terms(WORKERS, start.backend.checkpoint_seconds, start.backend.max_failures)
    cost_of = cache(cost_function(problem, None, start.backend.cpus_per_trial))
    courses = []
    for seed in range(COURSES):
        places = Places(cluster, terms, losses(cluster, plan.losses_per_day, seed))
        steps = simulate(problem, cost_of, pace, places, seed)
        courses.append((places.now, places.lost, steps))
    courses.sort(key=lambda course: course[0])
    seconds, lost, steps = courses[COURSES // 2]
    size = mean_size(start.data)
    for step in steps:
        say(_line(step, plan, size))
    say(f"plan: {about(seconds)} ({duration_text(courses[0][0])} to {duration_text(courses[-1][0])} in "
        f"{COURSES} simulated searches), {cluster.nodes} x {cluster.places} trials at a time"
        f"{_spending(seconds, steps, plan)}{_read(sum(step.opened for step in steps), size)}"
        f"{f'; {lost} losses of nodes' if lost else ''}")  # fmt: skip
    _waits(seconds, steps, cluster)


def _line(step: StepCost, plan: Plan, size: float | None) -> str:
    failed = f" ({step.failed} failed)" if step.failed else ""
    return (f"plan: step {step.step} ({step.kind}): {step.trials} trials{failed}, {about(step.seconds)}"
            f"{_spending(step.seconds, [step], plan)}{_read(step.opened, size)}")  # fmt: skip


def _spending(seconds: float, steps: Sequence[StepCost], plan: Plan) -> str:
    """Hours of GPUs that trials hold, and of all the GPUs that the cluster has for so long."""
    if not plan.cluster.gpus:
        return ""
    used = sum(step.held for step in steps) * plan.gpus / 3600
    return f", {used:.3g} GPU hours of {plan.cluster.gpus * seconds / 3600:.3g} that the cluster has"


def _read(opened: int, size: float | None) -> str:
    return "" if size is None else f", at most {opened * size / 1e9:.3g} GB read"


def _waits(seconds: float, steps: Sequence[StepCost], cluster: Cluster) -> None:
    """How much of the cluster waits, and for what; the most trials that a step has."""
    places = cluster.nodes * cluster.places
    idle = 1 - sum(step.held for step in steps) / (places * seconds) if seconds else 0.0
    most = max((step.trials for step in steps), default=0)
    if idle > 0.25:
        why = f"a step has at most {most} trials" if most < places else "a step ends with its longest trial"
        say(f"plan: places wait {idle:.0%} of the time: {why}, for {places} places")


def mean_size(config: DataConfig) -> float | None:
    """Bytes of a training video, mean of a sample; none for embedded videos, and those in shards or a store."""
    from expander.data.sources import open_data

    if config.folder is None and config.train_ann is None:
        return None
    paths = open_data(config, again=True).train.paths
    files = [Path(path) for path in paths[:: max(1, len(paths) // SAMPLE)]]
    sizes = [os.stat(file).st_size for file in files if file.is_file()]
    return statistics.mean(sizes) if len(sizes) == len(files) else None
