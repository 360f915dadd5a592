"""Before a search: its problem from settings and data, checks that need no training, the forecast."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path

import yaml

from expander.backends.tracking import require
from expander.config import BackendConfig
from expander.cost import cost
from expander.data.synthetic import SetConfig
from expander.errors import TargetError, UsageError
from expander.records import Problem, RunStarted, SourceLimits
from expander.search.contraction import TOLERANCE
from expander.search.expansion import expand, largest
from expander.search.forecast import Pace
from expander.settings import Settings
from expander.spec import Spec
from expander.store import Run, write_atomic

LIBRARIES = ("torch", "ray", "decord", "av", "fvcore", "numpy", "pandas", "pydantic", "safetensors")


def embedded_limits() -> tuple[int, SourceLimits]:
    """Classes of the embedded data set and what its videos allow, without making it."""
    made = SetConfig()
    return len(made.classes), SourceLimits(made.frames, min(made.height, made.width))


def problem_of(
    settings: Settings,
    target_macs: int,
    classes: int,
    limits: SourceLimits,
    seed: int = 0,
    max_steps: int | None = None,
) -> Problem:
    """The problem of a search. Raises TargetError when no search of the space can meet the target."""
    space = replace(settings.space, base=settings.space.start.with_classes(classes).base)
    low, high = cost(space.start).macs, cost(largest(space, limits)).macs
    if not low <= target_macs or (1 - TOLERANCE) * target_macs > high:
        side = "below the base" if target_macs < low else "beyond the limits of its axes and videos"
        raise TargetError(
            f"target {target_macs / 1e9:.4g} GFLOPs is {side}; with these videos the space reaches "
            f"{low / 1e9:.4g} to {high / 1e9:.4g}"
        )
    return Problem(space, target_macs, limits, settings.selection, seed, max_steps)


def measured_pace(problem: Problem, backend: BackendConfig, videos: int) -> Pace:
    """Seconds of a trial, from training steps measured on this machine."""
    from expander.measurement import measure_pace
    from expander.records import Candidate

    start = problem.space.start
    base = Candidate("base", start, cost(start), 1.0)
    candidates, _ = expand(problem.space, start, cost, problem.limits)
    costliest = max((base, *candidates), key=lambda c: c.cost.macs)
    threads = backend.cpus_per_trial
    parallel = 1 if backend.kind == "inline" else _parallel(backend)
    return measure_pace(base, costliest, problem.space.proxy, threads, videos, parallel)


def _parallel(backend: BackendConfig) -> int:
    """Trials at a time on this machine: one a GPU where there are any."""
    import torch

    at_once = cores() // backend.cpus_per_trial
    if torch.cuda.is_available() and backend.gpus_per_trial != 0:
        at_once = min(at_once, int(torch.cuda.device_count() / (backend.gpus_per_trial or 1)))
    return max(1, at_once)


def check_backend(backend: BackendConfig) -> None:
    """Raises UsageError for a trial that asks for more than this machine has, if it runs here.

    Raises EnvironmentFault for a tracker that is not installed.
    """
    if backend.log and backend.kind == "inline":
        raise UsageError("--log goes through Ray Tune: leave out --backend inline")
    require(backend.log)
    if backend.address == "local" and backend.cpus_per_trial > cores():
        asked = f"backend.cpus_per_trial={backend.cpus_per_trial}"
        raise UsageError(f"{asked}: this machine has {cores()}; lower it, or set backend.address")


def cores() -> int:
    """CPUs this process may use."""
    return len(os.sched_getaffinity(0))


def begin(run: Run, start: RunStarted, command: list[str], pace: Pace) -> None:
    """Writes config.yaml, provenance.json (the pace of the forecast in it) and the first event."""
    config = {
        "target_gflops": start.problem.target_macs / 1e9,
        "seed": start.problem.seed,
        "max_steps": start.problem.max_steps,
        "space": _plain(start.problem.space),
        "selection": asdict(start.problem.selection),
        "data": asdict(start.data),
        "backend": asdict(start.backend),
    }
    write_atomic(run.folder / "config.yaml", yaml.safe_dump(config, sort_keys=False).encode())
    facts = json.dumps({**_provenance(start, command), "pace": asdict(pace)}, indent=1) + "\n"
    write_atomic(run.folder / "provenance.json", facts.encode())
    run.append(start)


def _plain(value: object) -> object:
    """A dataclass as the lists and dicts that YAML writes."""
    return json.loads(json.dumps(asdict(value)))  # type: ignore[call-overload]


def _provenance(start: RunStarted, command: list[str]) -> dict[str, object]:
    versions = {"python": platform.python_version()}
    for name in ("expander", *LIBRARIES):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "command": command,
        "versions": versions,
        "commit": _commit(),
        "platform": platform.platform(),
        "cores": cores(),
        "data_fingerprint": start.data_fingerprint,
        "classes": start.classes,
        "base_spec": Spec(start.problem.space.base).id,
    }


def _commit() -> str:
    """The git commit of a checkout of expander, or an empty string."""
    here = Path(__file__).parent
    try:
        found = subprocess.run(
            ["git", f"--git-dir={here.parent / '.git'}", "rev-parse", "HEAD"],
            capture_output=True, text=True, timeout=10, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""


def command_line() -> list[str]:
    """How this process was called."""
    return [Path(sys.argv[0]).name, *sys.argv[1:]]
