"""Specs to set beside what a search found: of its cost, but chosen without training anything.

compound: all axes at once, each by the same share of the cost (as in compound scaling). single-axis:
one axis alone. random: shares drawn at random. All go as near to the cost as their rounding permits,
never over it, and within the limits of the space and of the videos.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from expander.runs.events import Candidate, Problem, Rejection
from expander.search.expansion import CostOf, largest_within, over, tidy
from expander.specs.spec import AXES, Spec

UNITS = {"temporal": 1.0, "frame_rate": 1.0, "spatial": 0.5, "width": 0.5, "bottleneck": 1.0, "depth": 1.0}
"""By what power of the cost an axis grows; the cost goes with the square of pixels and of width."""

SHORTFALL = 0.2
"""A spec that stays further below the cost than this is no baseline at equal cost."""

Found = Candidate | Rejection


def compound(problem: Problem, budget: float, cost_of: CostOf) -> tuple[Found, ...]:
    """One spec, every axis of the space by the same share of the cost."""
    return (grown(problem, "compound", dict.fromkeys(problem.space.axes, 1.0), budget, cost_of),)


def single_axis(problem: Problem, budget: float, cost_of: CostOf) -> tuple[Found, ...]:
    """One spec an axis, which alone makes up for the whole cost, or why it cannot."""
    axes = [axis for axis in AXES if axis in problem.space.axes]
    return tuple(grown(problem, f"only_{axis}", {axis: 1.0}, budget, cost_of) for axis in axes)


def random(problem: Problem, budget: float, cost_of: CostOf, count: int, seed: int) -> tuple[Found, ...]:
    """`count` specs whose axes have shares of the cost drawn uniformly from all that sum to one."""
    axes = [axis for axis in AXES if axis in problem.space.axes]
    found = []
    for number in range(count):
        shares = np.random.default_rng([seed, number]).dirichlet(np.ones(len(axes)))
        weights = {axis: float(share) for axis, share in zip(axes, shares, strict=True)}
        found.append(grown(problem, f"random{number + 1}", weights, budget, cost_of))
    return tuple(found)


def grown(
    problem: Problem, name: str, weights: Mapping[str, float], budget: float, cost_of: CostOf
) -> Found:
    """The base grown along `weights`, shares of the cost by axis, to `budget`."""
    kind, start = problem.cost, problem.space.start
    spec = _filled(problem, _along(problem, weights, budget, cost_of), weights, budget, cost_of)
    cost = cost_of(spec)
    if cost.of(kind) < (1 - SHORTFALL) * budget:
        return Rejection(name, f"reaches only {cost.of(kind) / budget:.0%} of the cost within its limits")
    if fault := over(cost, problem.ceilings):
        return Rejection(name, fault)
    return Candidate(name, spec, cost, cost.of(kind) / cost_of(start).of(kind))


def _fits(problem: Problem, spec: Spec) -> bool:
    """Whether the videos can give the clips of a spec."""
    start, limits = problem.space.start, problem.limits
    frames, short_side = max(limits.frames, start.duration), max(limits.short_side, start.crop)
    return spec.duration <= frames and spec.crop <= short_side


def _along(problem: Problem, weights: Mapping[str, float], budget: float, cost_of: CostOf) -> Spec:
    """The furthest spec along a direction of the factors' logarithms that fits and stays within budget."""

    def at(distance: float) -> Spec:
        spec = problem.space.start
        for axis, weight in weights.items():
            grown = math.exp(min(distance * weight * UNITS[axis], 50.0))
            spec = spec.with_factor(axis, min(grown, problem.space.axes[axis].limit))
        return spec

    low, high = 0.0, 50.0
    while high - low > 1e-4:
        middle = (low + high) / 2
        spec = at(middle)
        if _fits(problem, spec) and cost_of(spec).of(problem.cost) <= budget:
            low = middle
        else:
            high = middle
    return at(low)


def _filled(
    problem: Problem, spec: Spec, weights: Mapping[str, float], budget: float, cost_of: CostOf
) -> Spec:
    """What rounding left of the budget given to the axes one after another, where it fits."""
    for axis in weights:
        now, limit = getattr(spec, axis), problem.space.axes[axis].limit
        factor, _ = largest_within(spec, axis, now, max(now, limit), budget, cost_of, problem.cost)
        fuller = tidy(spec, axis, factor)
        # Whole frames may round a factor over its limit.
        if _fits(problem, fuller) and getattr(fuller, axis) <= max(now, limit):
            spec = fuller
    return spec
