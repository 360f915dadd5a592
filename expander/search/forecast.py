"""What a search will take before it is run: steps, trials, seconds, disk. Pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass, replace

from expander.records import Problem
from expander.search.contraction import TOLERANCE
from expander.search.controller import State, trials
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
    """steps: rounds of candidates still to come, without the base's. disk: bytes of weights."""

    steps: int
    trials: int
    seconds: float
    disk: int


def forecast(problem: Problem, state: State, cost_of: CostOf, pace: Pace) -> Forecast:
    """From `state` to the end: the next step's specs exact, cost times step_factor after it."""
    if state.finished:
        return Forecast(0, 0, 0.0, 0)
    now = state.path[-1].spec if state.path else problem.space.start
    macs, params = cost_of(now).macs, cost_of(now).params
    costs = [] if state.path else [float(macs)]
    candidates, _ = expand(problem.space, now, cost_of, problem.limits)
    if state.planned and state.planned.kind == "expansion":
        left = [t for t in trials(problem, state.planned) if t.id not in state.outcomes]
        costs += [cost_of(t.spec).macs / problem.selection.seeds for t in left]
    steps, limit = 0, problem.max_steps if problem.max_steps is not None else 1000
    reached = (1 - TOLERANCE) * problem.target_macs
    done = max(0, len(state.path) - 1)
    while macs < reached and steps + done < limit and candidates:
        macs = int(macs * problem.space.step_factor)
        exact = [c.cost.macs for c in candidates] if steps == 0 else [macs] * len(candidates)
        if not (steps == 0 and state.planned and state.planned.kind == "expansion"):
            costs += exact
        steps += 1
    if macs > problem.target_macs:
        costs.append(problem.target_macs)
    seeds = problem.selection.seeds
    total = sum(pace.seconds(problem, c) for c in costs) * seeds / min(pace.parallel, len(costs) or 1)
    count = len(costs) * seeds
    return Forecast(steps, count, total, count * params * BYTES_PER_PARAM)
