"""What a search will take before it is run: steps, trials, seconds, disk. Pure arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from expander.runs.events import Problem
from expander.search.contraction import TOLERANCE, finalists
from expander.search.controller import State, candidates_of, trials
from expander.search.expansion import CostOf
from expander.specs.spec import Spec

BYTES_PER_PARAM = 4
FINALISTS = 3
"""Contractions that come near the target, as long as they are not known: 1 to 3 in tiny, 2 to 6 in x3d."""

FORWARD_SHARE = 1 / 3
"""Of a training step; validation does only the forward pass."""


@dataclass(frozen=True, slots=True)
class TrainingSpeed:
    """Seconds of a trial: fixed + clips * (per_clip + per_mac * multiply-adds), on one worker.

    videos: in the validation list. parallel: trials at a time. per_round: seconds until the workers of
    a round of trials are there.
    """

    fixed: float
    per_clip: float
    per_mac: float
    videos: int
    parallel: int
    per_round: float = 0.0

    def seconds(self, problem: Problem, macs: float, trained: int | None = None) -> float:
        """Of one trial of a spec of `macs` multiply-adds; trained: its clips, if not those of the recipe."""
        recipe = problem.space.proxy
        trained = recipe.steps * recipe.batch if trained is None else trained
        clips = trained + FORWARD_SHARE * self.videos * recipe.views
        return self.fixed + clips * (self.per_clip + self.per_mac * macs)

    def of_round(self, problem: Problem, macs: Sequence[float], share: float = 1.0) -> float:
        """Of trials of so many multiply-adds each, as many at a time as there is room for.

        share: of the steps of the recipe that each of them trains.
        """
        if not macs:
            return 0.0
        clips = round(share * problem.space.proxy.steps) * problem.space.proxy.batch
        together = sum(self.seconds(problem, each, clips) for each in macs)
        return self.per_round + together / min(self.parallel, len(macs))

    def scaled(self, factor: float) -> TrainingSpeed:
        """The same pace corrected by what was seen."""
        scaled = {name: getattr(self, name) * factor for name in ("fixed", "per_clip", "per_mac")}
        return replace(self, **scaled)


@dataclass(frozen=True, slots=True)
class Forecast:
    """steps: expansions still to come. trials: with the base's and the contraction's. disk: bytes."""

    steps: int
    trials: int
    seconds: float
    disk: int


def forecast(problem: Problem, state: State, cost_of: CostOf, pace: TrainingSpeed) -> Forecast:
    """From `state` to the end."""
    if state.finished or state.final:
        return Forecast(0, 0, 0.0, 0)
    seeds, now = problem.selection.seeds, state.path[-1].spec if state.path else problem.space.start
    first = [] if state.path else [[float(cost_of(now).macs)] * max(seeds, problem.selection.base_seeds)]
    expansions, reached, macs = _expansions(problem, state, now, cost_of)
    last = _last(problem, state, cost_of, reached, macs)
    share = problem.space.proxy.inherit
    if share and not last:  # what it ends with is trained from scratch
        last = [[macs] * seeds]
    seconds = sum(pace.of_round(problem, macs) for macs in (*first, *last))
    seconds += sum(pace.of_round(problem, macs, share or 1.0) for macs in expansions)
    count = sum(map(len, (*first, *expansions, *last)))
    return Forecast(len(expansions), count, seconds, count * cost_of(now).params * BYTES_PER_PARAM)


def _last(problem: Problem, state: State, cost_of: CostOf, reached: float, macs: float) -> list[list[float]]:
    """Multiply-adds of the trials of the contraction; those that are done of it left out."""
    if state.planned is not None and state.planned.kind == "contraction":
        left = (t for t in trials(problem, state.planned) if t.id not in state.outcomes)
        return [[float(cost_of(trial.spec).macs) for trial in left]]
    if reached <= problem.target:
        return []
    ways = FINALISTS
    if problem.selection.contraction == "nearest":
        ways = 1
    elif state.path and state.path[-1].cost.of(problem.cost) > problem.target:
        axes, kind = tuple(problem.space.axes), problem.cost
        ways = len(finalists(state.path, state.runners, problem.target, cost_of, kind, axes, state.tied))
    return [[macs * problem.target / reached] * problem.selection.seeds * ways]


def _expansions(
    problem: Problem, state: State, now: Spec, cost_of: CostOf
) -> tuple[list[list[float]], float, float]:
    """Multiply-adds of the trials of each step to come; cost and multiply-adds of the spec they end at.

    The next step is exact, less what is done of it; then the cost grows by step_factor, and the
    multiply-adds with it.
    """
    amount, macs = cost_of(now).of(problem.cost), float(cost_of(now).macs)
    candidates, _ = candidates_of(problem, now, cost_of)
    growth = problem.space.step_factor
    if problem.cost != "flops" and candidates:
        growth = sum(c.cost.macs for c in candidates) / len(candidates) / macs
    costs = [float(c.cost.macs) for c in candidates for _ in range(problem.selection.seeds)]
    full = len(costs)
    steps: list[list[float]] = []
    if state.planned is not None and state.planned.kind == "expansion":
        left = (t for t in trials(problem, state.planned) if t.id not in state.outcomes)
        costs = [float(cost_of(trial.spec).macs) for trial in left]
    to_go = math.inf if problem.max_steps is None else problem.max_steps - max(0, len(state.path) - 1)
    while amount < (1 - TOLERANCE) * problem.target and len(steps) < to_go and costs:
        steps.append(costs)
        amount, macs = amount * problem.space.step_factor, macs * growth
        costs = [macs * growth] * full
    return steps, amount, macs
