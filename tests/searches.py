"""Whole searches with a formula for the accuracy, for the tests of all that decides."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from expander.config.settings import BackendConfig, DataConfig, Selection
from expander.config.space import AxisRule, SearchSpace
from expander.runs.events import (
    Event,
    Problem,
    RunFinished,
    RunStarted,
    SourceLimits,
    StepChosen,
    TrialFailed,
    TrialFinished,
)
from expander.runs.evidence import pack_bits
from expander.runs.trials import Trial, TrialFailure, TrialResult
from expander.search.controller import ask, replay, tell
from expander.search.selection import Outcome
from expander.specs.cost import cost
from expander.specs.spec import Base

SMALL = Base(
    frames=1, stride=8, crop=32, stem_width=8, depths=(1, 2), head_width=16, classes=4,
    width_divisor=4, crop_divisor=8,
)  # fmt: skip
RULES = {
    "temporal": AxisRule(2.0, 8.0),
    "frame_rate": AxisRule(2.0, 8.0),
    "spatial": AxisRule("solve", 4.0),
    "width": AxisRule("solve", 8.0),
    "bottleneck": AxisRule("solve", 8.0),
    "depth": AxisRule("solve", 8.0),
}
EXACT = Selection(resamples=200, base_seeds=1, seed_spread=0, contraction="nearest")
"""For accuracies by a formula: no seed changes them."""
VIDEOS = 200
WORTH = {
    "temporal": 0.07, "frame_rate": 0.06, "spatial": 0.05, "width": 0.03, "bottleneck": 0.04, "depth": 0.02,
}  # fmt: skip

Train = Callable[[Trial], Outcome]


def problem(target: float = 12, **changes: object) -> Problem:
    """A search to `target` times the base's cost."""
    space = SearchSpace(RULES, SMALL)
    start = Problem(
        space=space,
        target=int(target * cost(space.start).macs),
        limits=SourceLimits(64, 128),
        selection=EXACT,
    )
    return replace(start, **changes)  # type: ignore[arg-type]


def outcome(trial: Trial, accuracy: float) -> TrialResult:
    """Right on the first videos, so that candidates are compared without noise."""
    right = round(accuracy * VIDEOS)
    bits = pack_bits(video < right for video in range(VIDEOS))
    return TrialResult(trial.id, right / VIDEOS, 2 - accuracy, 1.0, VIDEOS, bits, clips=10, seconds=1.5)


def formula(trial: Trial) -> Outcome:
    """Every axis helps by its worth with each doubling of its factor, ever less of it."""
    doublings = {axis: math.log2(getattr(trial.spec, axis)) for axis in WORTH}
    gains = (WORTH[axis] * math.copysign(abs(times) ** 0.7, times) for axis, times in doublings.items())
    return outcome(trial, 0.3 + sum(gains))


def failing(*axes: str, reason: str = "the loss is nan") -> Train:
    """The formula, but trials of some axes fail."""

    def train(trial: Trial) -> Outcome:
        return TrialFailure(trial.id, reason) if trial.axis in axes else formula(trial)

    return train


def began(given: Problem) -> RunStarted:
    return RunStarted(given, DataConfig(), BackendConfig(), "f00d", ("a", "b", "c", "d"))


def event_of(trial: Trial, result: Outcome) -> Event:
    if isinstance(result, TrialFailure):
        return TrialFailed(trial.step, result)
    return TrialFinished(trial.step, result)


def carry_on(given: Problem, events: Sequence[Event], train: Train = formula) -> list[Event]:
    """A search from where these events left it to its end, one trial at a time."""
    history, state = list(events), replay(events)
    while step := ask(given, state, cost):
        event = event_of(step[0], train(step[0])) if isinstance(step, tuple) else step
        history.append(event)
        state = tell(state, event)
        assert len(history) < 1000, "the search does not end"
    return history


def search(given: Problem, train: Train = formula) -> list[Event]:
    return carry_on(given, [began(given)], train)


def chosen(events: Sequence[Event]) -> list[str]:
    return [event.winner.axis for event in events if isinstance(event, StepChosen)]


def ending(events: Sequence[Event]) -> RunFinished:
    last = events[-1]
    assert isinstance(last, RunFinished)
    return last


def noisy(**accuracy: float) -> Callable[[Trial], Outcome]:
    """Candidates right on each video by chance; the same trial always with the same result."""

    def train(trial: Trial) -> Outcome:
        rng = np.random.default_rng([*trial.id.encode()])
        right = rng.random(VIDEOS) < accuracy.get(trial.axis, 0.2)
        mean = float(right.mean())
        return TrialResult(trial.id, mean, 2 - mean, 1.0, VIDEOS, pack_bits(right), clips=10, seconds=1.0)

    return train
