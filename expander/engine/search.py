"""One search from its settings to its end: planned, begun, carried out. What a command and `api` share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from expander.backends.base import Backend
from expander.config.load import Settings
from expander.config.settings import BackendConfig, Task
from expander.config.storage import store_of
from expander.data.annotations import VideoData
from expander.data.sources import source_limits
from expander.data.tasks import TaskData, open_for, reopened
from expander.engine.loop import Listener, Stop
from expander.engine.loop import search as loop
from expander.engine.preparation import Goal, embedded_limits, measured_pace, problem_of
from expander.engine.references import find_run
from expander.errors import DataError
from expander.profiling.latency import cost_function
from expander.runs.cache import Known, results
from expander.runs.events import RunStarted
from expander.runs.journal import Run
from expander.search.controller import State
from expander.search.forecast import TrainingSpeed

Progress = Callable[[int, int], None]
"""Told of (done, total)."""


def plan(
    settings: Settings, goal: Goal, seed: int = 0, max_steps: int | None = None, dry: bool = False,
    progress: Progress | None = None, on_data: Callable[[TaskData], None] = lambda _: None,
    task: Task = "classification",
) -> tuple[RunStarted, TrainingSpeed]:  # fmt: skip
    """Opens the data, checks the target, measures how fast this machine trains.

    dry: makes no embedded videos. progress: of making them. on_data: told of videos of the user's own.
    Raises TargetError when no search can meet the goal, DataError for data that are no good.
    """
    own = settings.data.train_ann is not None or settings.data.folder is not None
    data = None
    count, limits, listed = embedded_limits(task)
    names, fingerprint = tuple(map(str, range(count))), ""
    multi_label = False
    if not own:
        # Told before the videos are made: a wrong target costs no waiting.
        problem_of(settings, goal, count, limits, task=task)
    if own or not dry:
        data = open_for(task, settings.data, progress)
        names, fingerprint, listed = data.classes, data.fingerprint, len(data.val)
        multi_label = isinstance(data, VideoData) and data.multi_label
        if own:
            on_data(data)
        limits = source_limits(data, settings.data)
    problem = problem_of(settings, goal, len(names), limits, seed, max_steps, task)
    start = RunStarted(problem, settings.data, settings.backend, fingerprint, names, settings.budget,
                       multi_label=multi_label)  # fmt: skip
    cost_of = cost_function(problem, None, settings.backend.cpus_per_trial)
    return start, measured_pace(problem, settings.backend, listed, cost_of, data, settings.data)


def check_data(run: Run, start: RunStarted) -> TaskData:
    """The videos of a run that goes on. Raises DataError when they have changed since it began."""
    data = reopened(start.problem.task, start.data, start.data_fingerprint)
    if data.fingerprint != start.data_fingerprint:
        raise DataError(f"{run.folder}: the data set has changed since the run began; start another run")
    return data


def carry_out(
    run: Run, start: RunStarted, listen: Listener, stop: Stop | None = None,
    known: Mapping[str, Known] | None = None,
) -> State:  # fmt: skip
    """Runs a search that has begun on its backend, to its end or until `stop`. The caller holds the lock."""
    with backend_of(start.backend) as entered:
        return loop(run, entered, listen, stop, start.budget, known)


def known_results(names: Sequence[str]) -> dict[str, Known]:
    """The results of the runs to reuse, by key; of several runs the first counts."""
    found: dict[str, Known] = {}
    for name in reversed(names):
        found |= results(find_run(name))
    return found


def backend_of(config: BackendConfig) -> Backend:
    """Where trials run, as set."""
    if store_of(config.storage):
        from expander.backends.stored import StoredBackend

        return StoredBackend(backend_of(replace(config, storage=None)))
    if config.kind == "inline":
        from expander.backends.inline import InlineBackend

        return InlineBackend()
    if config.kind == "processes":
        from expander.backends.pool import PoolBackend

        return PoolBackend(config)
    from expander.backends.ray_tune import RayBackend

    return RayBackend(config)
