"""Before a search: its problem from settings and data, checks that need no training, the forecast."""

from __future__ import annotations

import contextlib
import json
import math
import platform
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from expander.backends.base import require_ray
from expander.backends.trackers import require
from expander.config.ceilings import NO_CEILINGS, Ceilings
from expander.config.load import Settings
from expander.config.settings import BackendConfig, DataConfig, Task
from expander.config.storage import store_of
from expander.data.embedded.detection import SceneConfig
from expander.data.embedded.synthetic import SetConfig
from expander.data.store.addresses import checked
from expander.data.store.objects import claim, release
from expander.engine.loop import stored_at
from expander.errors import TargetError, UsageError
from expander.profiling.latency import cost_function
from expander.runs.events import Problem, RunStarted, SourceLimits
from expander.runs.journal import Run, write_atomic
from expander.runs.machine import cores
from expander.runs.ownership import STORE_OWNER
from expander.runs.sealed_lines import sealed_document
from expander.search.contraction import TOLERANCE
from expander.search.controller import candidates_of
from expander.search.expansion import CostOf, largest, over
from expander.search.forecast import TrainingSpeed
from expander.specs.cost import cost
from expander.specs.cost_kinds import MEASURED, CostKind, amount_text
from expander.specs.spec import Spec

if TYPE_CHECKING:
    from expander.data.tasks import TaskData

LIBRARIES = ("torch", "ray", "decord", "av", "fvcore", "numpy", "pandas", "pydantic", "safetensors")


def embedded_limits(task: Task = "classification") -> tuple[int, SourceLimits, int]:
    """Classes of the embedded data set, what its videos allow, and how many videos or key frames validate,
    without making it.
    """
    if task == "detection":
        scenes = SceneConfig()
        limits = SourceLimits(scenes.frames, min(scenes.height, scenes.width))
        return len(scenes.classes), limits, scenes.val * len(scenes.seconds)
    made = SetConfig()
    limits = SourceLimits(made.frames, min(made.height, made.width))
    return len(made.classes), limits, made.val * len(made.classes)


@dataclass(frozen=True, slots=True)
class Goal:
    """What a search may cost: the kind that doubles, its target, limits on the others."""

    kind: CostKind
    target: float
    ceilings: Ceilings = NO_CEILINGS


def problem_of(
    settings: Settings, goal: Goal, classes: int, limits: SourceLimits, seed: int = 0,
    max_steps: int | None = None, task: Task = "classification",
) -> Problem:  # fmt: skip
    """The problem of a search. Raises TargetError when no search of the space can meet the goal."""
    space = replace(settings.space, base=settings.space.start.with_classes(classes).base)
    try:
        problem = Problem(space, goal.target, limits, settings.selection, seed, max_steps,
                          goal.kind, goal.ceilings, task)  # fmt: skip
    except ValueError as error:
        raise UsageError(str(error)) from None
    check_reach(problem, cost_function(problem, None, settings.backend.cpus_per_trial))
    return problem


def check_reach(problem: Problem, cost_of: CostOf) -> None:
    """Raises TargetError when the base is over a limit, or no spec of the space can meet the target.

    What is measured is measured of the base alone: the largest spec may not even fit in memory.
    """
    kind, target, base = problem.cost, problem.target, cost_of(problem.space.start)
    if fault := over(base, problem.ceilings):
        raise TargetError(f"the base of the space is over a limit already: {fault}")
    low, high = base.of(kind), math.inf
    if kind not in MEASURED:
        high = cost(largest(problem.space, problem.limits), boxes=problem.persons).of(kind)
    if not low <= target or (1 - TOLERANCE) * target > high:
        side = "below the base" if target < low else "beyond the limits of its axes and videos"
        up_to = "up" if high == math.inf else f"to {amount_text(kind, high)}"
        raise TargetError(f"target {amount_text(kind, target)} is {side}; with these videos the space "
                          f"reaches from {amount_text(kind, low)} {up_to}")  # fmt: skip


def measured_pace(
    problem: Problem, backend: BackendConfig, videos: int, cost_of: CostOf, data: TaskData | None,
    config: DataConfig,
) -> TrainingSpeed:  # fmt: skip
    """Seconds of a trial, from training steps measured on this machine, and clips loaded if there are any."""
    from expander.backends.pool import at_once
    from expander.runs.events import Candidate
    from expander.training.timing.step_time import loading_seconds, measure_pace

    start = problem.space.start
    base = Candidate("base", start, cost(start, boxes=problem.persons), 1.0)
    candidates, _ = candidates_of(problem, start, cost_of)
    costliest = max((base, *candidates), key=lambda c: c.cost.macs)
    threads = backend.cpus_per_trial
    parallel = 1 if backend.kind == "inline" else at_once(backend)
    loading: tuple[float, ...] = (0.0, 0.0)
    if data is not None:
        specs = (base.spec, costliest.spec)
        loading = loading_seconds(specs, problem.space.proxy, threads, data, config)
    recipe, task = problem.space.proxy, problem.task
    if task == "detection":  # a key frame is a view
        videos = -(-videos // recipe.views)
    return measure_pace(base, costliest, recipe, threads, videos, parallel, loading, task,
                        backend.kind == "ray")  # fmt: skip


def check_backend(backend: BackendConfig, together: bool = True) -> None:
    """Raises UsageError for a trial that asks for more than this machine has, if it runs here.

    together: whether several processes are wanted of it, as trials are, and so Ray. Raises EnvironmentFault
    for Ray or a tracker that is not installed.
    """
    if store := store_of(backend.storage):
        checked(store)
    if together and backend.kind == "ray":
        require_ray()
    if backend.log and backend.kind != "ray":
        raise UsageError(f"--log goes through Ray Tune: leave out --backend {backend.kind}")
    require(backend.log)
    if backend.address == "local" and backend.cpus_per_trial > cores():
        asked = f"backend.cpus_per_trial={backend.cpus_per_trial}"
        raise UsageError(f"{asked}: this machine has {cores()}; lower it, or set backend.address")


def begin(run: Run, start: RunStarted, command: list[str], pace: TrainingSpeed) -> None:
    """Writes config.yaml, provenance.json (the pace of the forecast in it) and the first event.

    In a store where trials are kept it takes the run's place before that event. Raises UsageError,
    EnvironmentFault.
    """
    config = {
        "cost": start.problem.cost,
        "target": start.problem.target,
        "ceilings": asdict(start.problem.ceilings),
        "seed": start.problem.seed,
        "max_steps": start.problem.max_steps,
        "space": json.loads(json.dumps(asdict(start.problem.space))),  # YAML has no tuples
        "selection": asdict(start.problem.selection),
        "data": asdict(start.data),
        "backend": asdict(start.backend),
        "budget": asdict(start.budget),
    }
    write_atomic(run.folder / "config.yaml", yaml.safe_dump(config, sort_keys=False).encode())
    facts = sealed_document({**_provenance(start, command), "pace": asdict(pace)})
    with _place(start, run.folder):
        write_atomic(run.folder / "provenance.json", facts)
        run.append(start)


@contextlib.contextmanager
def _place(start: RunStarted, folder: Path) -> Iterator[None]:
    """The run's place in a store, if trials are kept in one; given up if the run does not begin."""
    home = folder.resolve()
    if not (place := stored_at(start, home)):
        yield
        return
    file = folder / STORE_OWNER
    if not file.exists():  # else of a search that was killed before its first event
        write_atomic(file, uuid.uuid4().hex.encode())
    token = file.read_text()
    claim(place, token, f"{platform.node()}:{home}\n")
    try:
        yield
    except BaseException:
        release(place, token)
        raise


def _provenance(start: RunStarted, command: list[str]) -> dict[str, object]:
    return {
        "command": command,
        "versions": versions(),
        "commit": _commit(),
        "platform": platform.platform(),
        "cores": cores(),
        "data_fingerprint": start.data_fingerprint,
        "classes": start.classes,
        "base_spec": Spec(start.problem.space.base).id,
    }


def versions() -> dict[str, str]:
    """Of Python, expander and the libraries that decide on results."""
    found = {"python": platform.python_version()}
    for name in ("expander", *LIBRARIES):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _commit() -> str:
    """The git commit of a checkout of expander, or an empty string."""
    package = Path(__file__).parent.parent
    try:
        found = subprocess.run(
            ["git", f"--git-dir={package.parent / '.git'}", "rev-parse", "HEAD"],
            capture_output=True, text=True, timeout=10, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""


def command_line() -> list[str]:
    """How this process was called."""
    return [Path(sys.argv[0]).name, *sys.argv[1:]]
