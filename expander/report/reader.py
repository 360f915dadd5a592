"""A run folder read once: its events with their times, grouped by step; what every table is made of."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from expander.config.reading import read_bytes
from expander.runs import names
from expander.runs.events import (
    Candidate,
    Problem,
    RunFinished,
    RunStarted,
    StepChosen,
    StepPlanned,
    TrialFailed,
    TrialFinished,
)
from expander.runs.journal import Run
from expander.runs.names import TrialName
from expander.runs.sealed_lines import opened_document
from expander.runs.trials import Trial, TrialFailure, TrialResult
from expander.search.controller import trials

Outcome = TrialResult | TrialFailure
log = logging.getLogger(__name__)


def trial_name(trial: str) -> TrialName:
    """Reads a trial's id; one of an unknown form is a trial of an axis without a name."""
    return names.trial_name(trial) or TrialName(0, "", 0, "", None, trial)


@dataclass(frozen=True, slots=True)
class Ended:
    """What a trial gave, and when it was written."""

    outcome: Outcome
    time: datetime


@dataclass(frozen=True, slots=True)
class Step:
    """A planned step: how its trials came out, by id, and the decision if there is one.

    trials: all of them, where it is the last step and undecided.
    """

    plan: StepPlanned
    trials: tuple[Trial, ...]
    ended: Mapping[str, Ended]
    chosen: StepChosen | None = None

    def outcomes(self, axis: str) -> list[Outcome]:
        """Of the candidate of an axis, one a seed: of a training with rungs the furthest."""
        named = [(trial_name(ended.outcome.trial), ended.outcome) for ended in self.ended.values()]
        named.sort(key=lambda pair: math.inf if pair[0].until is None else pair[0].until)
        furthest = {what.seed: outcome for what, outcome in named if what.axis == axis}
        return [furthest[seed] for seed in sorted(furthest)]

    def seconds(self, axis: str) -> float | None:
        """Wall time of all trainings of the candidate of an axis together; none where there is none."""
        results = (e.outcome for e in self.ended.values() if isinstance(e.outcome, TrialResult))
        spent = [result.seconds for result in results if trial_name(result.trial).axis == axis]
        return sum(spent) if spent else None

    def candidate(self, axis: str) -> Candidate | None:
        """The candidate of an axis."""
        return next((c for c in self.plan.candidates if c.axis == axis), None)


@dataclass(frozen=True, slots=True)
class History:
    """Of one run. start: none for an empty journal. first, last: times of the first and last event."""

    run: Run
    start: RunStarted | None = None
    steps: tuple[Step, ...] = ()
    finished: RunFinished | None = None
    first: datetime | None = None
    last: datetime | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of the run: its folder's."""
        return self.run.folder.resolve().name

    @property
    def problem(self) -> Problem | None:
        """What was asked for."""
        return self.start.problem if self.start else None

    @property
    def measure(self) -> str:
        """What its accuracy is called."""
        return self.start.measure if self.start else "accuracy"

    @property
    def path(self) -> list[Step]:
        """The decided steps."""
        return [step for step in self.steps if step.chosen is not None]


def history(run: Run | History) -> History:
    """Reads a run: finished, going on, or killed. Raises DataError for a damaged journal."""
    if isinstance(run, History):
        return run
    entries = run.times()
    start = next((e for e, _ in entries if isinstance(e, RunStarted)), None)
    return History(
        run=run,
        start=start,
        steps=tuple(_steps(entries, start.problem if start else None)),
        finished=next((e for e, _ in entries if isinstance(e, RunFinished)), None),
        first=entries[0][1] if entries else None,
        last=entries[-1][1] if entries else None,
        provenance=_provenance(run),
    )


def _steps(entries: list[tuple[Any, datetime]], problem: Problem | None) -> Iterator[Step]:
    plan: StepPlanned | None = None
    ended: dict[str, Ended] = {}
    for event, time in entries:
        match event:
            case StepPlanned():
                if plan is not None:
                    yield Step(plan, (), ended)
                plan, ended = event, {}
            case TrialFinished(result=outcome) | TrialFailed(failure=outcome):
                ended[outcome.trial] = Ended(outcome, time)
            case StepChosen() if plan is not None:
                yield Step(plan, (), ended, event)
                plan = None
    if plan is not None:
        yield Step(plan, trials(problem, plan) if problem else (), ended)


def _provenance(run: Run) -> dict[str, Any]:
    """provenance.json; nothing where it is missing or, with a warning, damaged: it decides nothing."""
    path = run.folder / "provenance.json"
    try:
        return opened_document(read_bytes(path))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        log.warning("%s: is left out: %s", path, error)
        return {}
