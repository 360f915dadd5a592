"""What makes two trials the same, so that one of them need not be trained."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

from expander.config.settings import Recipe
from expander.errors import DataError, EnvironmentFault
from expander.runs.events import RunStarted, StepChosen, StepPlanned, TrialFinished
from expander.runs.journal import Run
from expander.runs.names import trial_name
from expander.runs.orders import beginning, parents_of, recipe_of, with_parent
from expander.runs.trials import Trial, TrialResult, trial_prefix

TRAINING = 1
"""Version of the code that decides what a trial gives; a change there must raise it."""


def key_of(
    trial: Trial, recipe: Recipe, data_fingerprint: str, classes: tuple[str, ...], begins: str = ""
) -> str:
    """Equal for trials that give the same result: sizes, recipe, data, classes, seed, length and code.

    begins: checksum of the weights that it begins with.

    Neither the step nor the axis counts, nor the machine: results of another processor or number of
    threads differ in the last digits.
    """
    spec = trial.spec
    until = trial.until if trial.until is not None and trial.until < recipe.steps else None
    facts = [TRAINING, spec.sizes, spec.base.head_width, _text(recipe), data_fingerprint, classes,
             trial.seed, until, *[begins] * bool(begins)]  # fmt: skip
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


@cache
def _text(recipe: Recipe) -> str:
    told = asdict(recipe)
    del told["inherit"]  # what a trial begins with is told apart from its recipe
    if recipe.dilation == 1:  # as results did before there were others
        del told["dilation"]
    return json.dumps(told, sort_keys=True)


@dataclass(frozen=True, slots=True)
class Known:
    """A result that need not be trained for again. source: RUN:TRIAL. folder: of the trial's files."""

    result: TrialResult
    source: str
    folder: Path


def results(run: Run) -> dict[str, Known]:
    """Every result of a run by the key of its trial. Raises DataError for a broken journal."""
    found: dict[str, Known] = {}
    start: RunStarted | None = None
    planned: StepPlanned | None = None
    ended: list[TrialResult] = []
    current: list[TrialResult] = []
    for event in run.events():
        match event:
            case RunStarted():
                start = event
            case StepPlanned():
                planned, ended = event, []
            case StepChosen():
                begin = trial_prefix(event.step, event.winner.axis)
                current = [result for result in ended if result.trial.startswith(begin)]
            case TrialFinished() if start is not None and planned is not None:
                ended.append(event.result)
                _take(found, run, start, planned, event, current)
    return found


def _take(
    found: dict[str, Known], run: Run, start: RunStarted, planned: StepPlanned, event: TrialFinished,
    current: list[TrialResult],
) -> None:  # fmt: skip
    """One more result by its key, where that can be said."""
    trial = trial_of(event.result.trial, planned)
    if trial is None:
        return
    folder = run.folder / "trials"
    trial = with_parent(start.problem, parents_of(start.problem, planned.kind, current), trial)
    try:
        begins = beginning(folder, trial)
    except DataError:  # without the weights that it began with nobody can say what it is
        return
    recipe = recipe_of(trial, start.problem.space.proxy)
    key = key_of(trial, recipe, start.data_fingerprint, start.classes, begins)
    source = event.reused_from or f"{run.folder.name}:{trial.id}"
    found.setdefault(key, Known(event.result, source, folder / trial.folder))


def adopt(known: Known, trial: Trial, folder: Path) -> TrialResult:
    """The result as that of `trial`; weights and metrics go along into its `folder`, where there are any."""
    if trial.until is None and folder != known.folder:
        for name in ("weights.safetensors", "metrics.jsonl"):
            _link(known.folder / name, folder / name)
    return replace(known.result, trial=trial.id)


def _link(source: Path, target: Path) -> None:
    """A hard link where the file system allows it, else a copy; a file that is not there is left out."""
    if not source.is_file() or target.exists():
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(source, target)
    except OSError:
        try:
            shutil.copyfile(source, target)
        except OSError as error:
            raise EnvironmentFault(f"{target}: cannot be written: {error.strerror}") from None


def trial_of(name: str, planned: StepPlanned | None) -> Trial | None:
    """The trial of an id in its planned step; None for an id of another."""
    found = trial_name(name)
    for candidate in planned.candidates if planned else ():
        if found is not None and found.axis == candidate.axis:
            return Trial(name, found.step, found.axis, candidate.spec, found.seed, found.until)
    return None
