"""What makes two trials the same, so that one of them need not be trained."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import asdict

from expander.config import Recipe
from expander.records import Event, RunStarted, StepPlanned, Trial, TrialFinished, TrialResult
from expander.spec import Spec

TRAINING = 1
"""Version of the code that decides what a trial gives; a change there must raise it."""

TRIAL = re.compile(r"s(\d+)-(\w+)-seed(\d+)-[0-9a-f]{8}(?:-to(\d+))?")


def key_of(trial: Trial, recipe: Recipe, data_fingerprint: str, classes: tuple[str, ...]) -> str:
    """Equal for trials that give the same result: sizes, recipe, data, classes, seed, length and code.

    Neither the step nor the axis counts, nor the machine: results of another processor or number of
    threads differ in the last digits.
    """
    spec = trial.spec
    until = trial.until if trial.until is not None and trial.until < recipe.steps else None
    facts = [TRAINING, spec.sizes, spec.base.head_width, asdict(recipe), data_fingerprint, classes,
             trial.seed, until]  # fmt: skip
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def results(events: Iterable[Event]) -> dict[str, TrialResult]:
    """Every result of a run by the key of its trial."""
    found: dict[str, TrialResult] = {}
    start: RunStarted | None = None
    specs: dict[str, Spec] = {}
    for event in events:
        match event:
            case RunStarted():
                start = event
            case StepPlanned():
                specs = {candidate.axis: candidate.spec for candidate in event.candidates}
            case TrialFinished() if start is not None and (trial := _trial(event.result.trial, specs)):
                recipe = start.problem.space.proxy
                key = key_of(trial, recipe, start.data_fingerprint, start.classes)
                found.setdefault(key, event.result)
    return found


def _trial(name: str, specs: dict[str, Spec]) -> Trial | None:
    """The trial of an id, given the specs of its step by axis."""
    match = TRIAL.fullmatch(name)
    if match is None or match[2] not in specs:
        return None
    until = int(match[4]) if match[4] else None
    return Trial(name, int(match[1]), match[2], specs[match[2]], int(match[3]), until)
