"""What a search has spent, from its journal: trials, seconds, clips, multiply-adds. Pure."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import astuple, dataclass

from expander.runs.events import Event, StepPlanned, TrialFailed, TrialFinished


@dataclass(frozen=True, slots=True)
class Spent:
    """On trials. What a kill undid and what was reused is not in it; what failed is in trials and seconds.

    trials: trained, finished or failed. reused: results taken over. seconds: of wall time, summed
    over trials. gpu_seconds: those times the GPUs each held. clips: trained. macs: multiply-adds of
    the forward passes of these clips; a training step takes about three times as many.
    """

    trials: int = 0
    failed: int = 0
    reused: int = 0
    seconds: float = 0.0
    gpu_seconds: float = 0.0
    clips: int = 0
    macs: int = 0

    def __add__(self, other: Spent) -> Spent:
        return Spent(*map(operator.add, astuple(self), astuple(other)))


def by_trial(events: Iterable[Event]) -> dict[str, Spent]:
    """Of every trial by its id, in the order in which they ended."""
    spent: dict[str, Spent] = {}
    macs: dict[str, int] = {}
    for event in events:
        match event:
            case StepPlanned():
                macs = {candidate.axis: candidate.cost.macs for candidate in event.candidates}
            case TrialFinished() | TrialFailed():
                name, cost = of_event(event, macs)
                spent[name] = spent.get(name, Spent()) + cost
    return spent


def of_event(event: TrialFinished | TrialFailed, macs: dict[str, int]) -> tuple[str, Spent]:
    """The trial of an event and what it took; macs: of one clip, by the axis of a candidate."""
    if isinstance(event, TrialFailed):
        failure = event.failure
        return failure.trial, Spent(1, 1, 0, failure.seconds, failure.seconds * failure.gpus)
    result = event.result
    if event.reused_from:
        return result.trial, Spent(reused=1)
    each = macs.get(result.trial.split("-")[1], 0)
    spent = Spent(1, 0, 0, result.seconds, result.seconds * result.gpus, result.clips, result.clips * each)
    return result.trial, spent


def total(events: Iterable[Event]) -> Spent:
    """Of a whole run."""
    return sum(by_trial(events).values(), Spent())
