"""What a worker is told to do, and what its trial begins with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from expander.config.reading import sha256_of
from expander.config.settings import DataConfig, Recipe, Task
from expander.errors import DataError
from expander.runs.events import Problem
from expander.runs.names import below, by_seed
from expander.runs.trials import Trial, TrialResult, rung_of


@dataclass(frozen=True, slots=True)
class TrialOrder:
    """What a worker needs to run a trial: plain values, no open files, no tensors.

    folder: its files go to trials/<id> below it, which all workers see. gpus: that the worker holds. task:
    what the network is asked. store: address at which its files are kept instead, in trials/<id>; `folder` is
    then one of the machine where the search was called.
    """

    trial: Trial
    recipe: Recipe
    data: DataConfig
    classes: tuple[str, ...]
    data_fingerprint: str
    folder: str
    threads: int
    gpus: float = 0.0
    checkpoint_seconds: float = 60.0
    task: Task = "classification"
    store: str = ""


def parents_of(problem: Problem, kind: str, current: Sequence[TrialResult]) -> tuple[str, ...]:
    """The trials whose weights those of a step begin with, by seed; none where all begin from scratch.

    current: results of the spec that the candidates grew from.
    """
    if not problem.space.proxy.inherit or kind != "expansion":
        return ()
    whole = (result.trial for result in current if rung_of(result.trial) is None)
    return tuple(sorted(whole, key=by_seed))


def with_parent(problem: Problem, parents: Sequence[str], trial: Trial) -> Trial:
    """The trial with its parent, the one of its seed: of fewer seeds, in turn."""
    if not parents:
        return trial
    return replace(trial, parent=parents[(trial.seed - problem.seed) % len(parents)])


def recipe_of(trial: Trial, recipe: Recipe) -> Recipe:
    """The recipe of one trial: a shorter one, where it begins with the weights of another."""
    steps = max(1, round(recipe.inherit * recipe.steps)) if trial.parent else recipe.steps
    return replace(recipe, steps=steps, inherit=0.0)


def parent_weights(trials: Path, trial: Trial) -> Path:
    """The file that a trial begins with, below the folder of a run's trials."""
    return below(trials, trial.parent) / "weights.safetensors"


def beginning(trials: Path, trial: Trial) -> str:
    """SHA-256 of what a trial begins with; empty: from scratch. Raises DataError when it is gone."""
    if not trial.parent:
        return ""
    file = parent_weights(trials, trial)
    try:
        return sha256_of(file)
    except OSError as error:
        gone = f"{file}: {trial.id} begins with it, and it cannot be read: {error.strerror}"
        raise DataError(f"{gone}; restore it, or start another search") from None
