"""A search simulated on a cluster that need not be there: what was asked for, and the median course."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache

from expander.config.settings import BackendConfig
from expander.data.sources import mean_bytes
from expander.data.tasks import open_for
from expander.engine.preparation import Goal
from expander.errors import UsageError
from expander.profiling.latency import cost_function
from expander.runs.events import RunStarted
from expander.search.cluster_places import Cluster, Places, Terms, losses
from expander.search.forecast import TrainingSpeed
from expander.search.simulation import StepCost, simulate

SHAPE = re.compile(r"\s*(\d{1,5})\s*nodes?\s*x\s*(\d{1,4})\s*(gpu|cpu)s?\s*", re.IGNORECASE)
COURSES = 9
"""Simulated; what is told is the one whose length is the median."""


@dataclass(frozen=True, slots=True)
class Plan:
    """cluster: simulated. gpus: that a trial holds. clips_per_second: at the target; none: as measured here.

    losses_per_day: of a node.
    """

    cluster: Cluster
    gpus: float
    clips_per_second: float | None
    losses_per_day: float


@dataclass(frozen=True, slots=True)
class Course:
    """The steps of a search, its seconds, the shortest and longest of all, how often nodes were lost.

    video_bytes: mean of a training video; none where they are no files of this machine.
    """

    steps: tuple[StepCost, ...]
    seconds: float
    least: float
    most: float
    lost: int
    video_bytes: float | None


def wanted(
    shape: str, backend: BackendConfig, goal: Goal, clips_per_second: float | None, losses_per_day: float
) -> Plan:
    """What is to be simulated. Raises UsageError."""
    if backend.kind != "ray":
        raise UsageError(f"--cluster is for Ray: leave out --backend {backend.kind}")
    if clips_per_second is not None and goal.kind != "flops":
        raise UsageError("--clips-per-second is of a network of --target-gflops; leave it out, and plan "
                         "on a node of the cluster")  # fmt: skip
    cluster = _cluster(shape, backend)
    if cluster.gpus and clips_per_second is None and not _has_gpu():
        raise UsageError("--cluster: this machine has no GPU whose speed could be measured; give "
                         "--clips-per-second, or plan on a node of the cluster")  # fmt: skip
    return Plan(cluster, _takes(backend) if cluster.gpus else 0.0, clips_per_second, losses_per_day)


def _cluster(shape: str, backend: BackendConfig) -> Cluster:
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


def median_course(start: RunStarted, pace: TrainingSpeed, plan: Plan) -> Course:
    """Simulates COURSES searches. pace: as measured here."""
    problem = start.problem
    if plan.clips_per_second is not None:
        at_target = pace.per_clip + pace.per_mac * problem.target
        factor = 1 / (plan.clips_per_second * at_target)
        pace = replace(pace, per_clip=factor * pace.per_clip, per_mac=factor * pace.per_mac)
    terms = Terms(pace.per_round, start.backend.checkpoint_seconds, start.backend.max_failures)
    cost_of = cache(cost_function(problem, None, start.backend.cpus_per_trial))
    courses = []
    for seed in range(COURSES):
        places = Places(plan.cluster, terms, losses(plan.cluster, plan.losses_per_day, seed))
        steps = simulate(problem, cost_of, pace, places, seed)
        courses.append((places.now, places.lost, steps))
    courses.sort(key=lambda course: course[0])
    seconds, lost, steps = courses[COURSES // 2]
    own = start.data.folder is not None or start.data.train_ann is not None
    size = mean_bytes(open_for(problem.task, start.data, again=True).train.paths) if own else None
    return Course(steps, seconds, courses[0][0], courses[-1][0], lost, size)
