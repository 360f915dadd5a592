"""What a search will take before it is run: steps, trials, seconds, disk. Pure arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from expander.records import Problem
from expander.search.contraction import TOLERANCE
from expander.search.controller import State
from expander.search.expansion import CostOf, expand

BYTES_PER_PARAM = 4
FORWARD_SHARE = 1 / 3
"""Of a training step; validation does only the forward pass."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds of a trial: fixed + clips * (per_clip + per_mac * multiply-adds), on one worker.

    videos: in the validation list. parallel: trials at a time.
    """

    fixed: float
    per_clip: float
    per_mac: float
    videos: int
    parallel: int

    def seconds(self, problem: Problem, macs: float) -> float:
        """Of one trial of a spec of `macs` multiply-adds."""
        recipe = problem.space.proxy
        clips = recipe.steps * recipe.batch + FORWARD_SHARE * self.videos * recipe.views
        return self.fixed + clips * (self.per_clip + self.per_mac * macs)

    def scaled(self, factor: float) -> Pace:
        """The same pace corrected by what was seen."""
        return replace(
            self,
            fixed=self.fixed * factor,
            per_clip=self.per_clip * factor,
            per_mac=self.per_mac * factor,
        )


@dataclass(frozen=True, slots=True)
class Forecast:
    """steps: expansions still to come. trials: with the base's and the contraction's. disk: bytes."""

    steps: int
    trials: int
    seconds: float
    disk: int


def forecast(problem: Problem, state: State, cost_of: CostOf, pace: Pace) -> Forecast:
    """From `state`, between two steps, to the end."""
    if state.finished:
        return Forecast(0, 0, 0.0, 0)
    rounds = _rounds(problem, state, cost_of)
    seeds = problem.selection.seeds
    seconds = 0.0
    for macs in rounds:
        workers = min(pace.parallel, len(macs) * seeds)
        seconds += sum(pace.seconds(problem, m) for m in macs) * seeds / workers
    count = sum(map(len, rounds)) * seeds
    params = cost_of(state.path[-1].spec if state.path else problem.space.start).params
    steps = sum(len(macs) > 1 for macs in rounds)
    return Forecast(steps, count, seconds, count * params * BYTES_PER_PARAM)


def _rounds(problem: Problem, state: State, cost_of: CostOf) -> list[list[float]]:
    """Multiply-adds of the trials of every round: the next one exact, then cost times step_factor."""
    now = state.path[-1].spec if state.path else problem.space.start
    macs = float(cost_of(now).macs)
    rounds = [] if state.path else [[macs]]
    candidates, _ = expand(problem.space, now, cost_of, problem.limits)
    costs = [float(c.cost.macs) for c in candidates]
    left = math.inf if problem.max_steps is None else problem.max_steps - max(0, len(state.path) - 1)
    while macs < (1 - TOLERANCE) * problem.target_macs and left > 0 and costs:
        rounds.append(costs)
        macs, left = macs * problem.space.step_factor, left - 1
        costs = [macs * problem.space.step_factor] * len(costs)
    return [*rounds, [float(problem.target_macs)]] if macs > problem.target_macs else rounds
