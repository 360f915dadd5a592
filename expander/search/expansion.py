"""The candidates of a step: one spec per axis, each about `step_factor` times the current cost."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from expander.config.ceilings import NO_CEILINGS, Ceilings
from expander.config.space import AxisRule, SearchSpace
from expander.runs.events import Candidate, Rejection, SourceLimits
from expander.specs.cost_kinds import KINDS, Cost, CostKind, amount_text
from expander.specs.spec import AXES, Spec

CostOf = Callable[[Spec], Cost]

LEAST_MOVE = 0.25
"""A candidate must move the cost by at least step_factor ** LEAST_MOVE.

The gain of a candidate is taken per doubling of cost: over a tiny move it would be mostly noise.
"""


def largest_within(
    spec: Spec, axis: str, low: float, high: float, most: float, cost_of: CostOf, kind: CostKind = "flops"
) -> tuple[float, float]:
    """Bisects the factor of `axis` in [low, high] to the jump of the cost over `most`.

    Returns the factors just below and just above the jump (equal to `high` when it stays within).
    The caller warrants that the cost at `low` is within; the cost never falls as a factor grows
    (of one that is measured, hardly: then it is a jump, if not the only one).
    """
    known: dict[tuple[Any, ...], bool] = {}  # many factors round to the same sizes

    def within(factor: float) -> bool:
        grown = spec.with_factor(axis, factor)
        if (sizes := grown.sizes) not in known:
            known[sizes] = cost_of(grown).of(kind) <= most
        return known[sizes]

    if within(high):
        return high, high
    while high - low > 1e-6 * high:
        middle = (low + high) / 2
        if within(middle):
            low = middle
        else:
            high = middle
    return low, high


def tidy(spec: Spec, axis: str, factor: float) -> Spec:
    """`spec` with the plainest factor of those that cost what `factor` costs.

    Frames and crop become exact multiples of the base's, so that what rounding gave or took is not
    carried into the next step; of the others, as few decimals as give the same sizes.
    """
    exact = spec.with_factor(axis, factor)
    if axis in ("temporal", "frame_rate"):
        other = exact.frame_rate if axis == "temporal" else exact.temporal
        return spec.with_factor(axis, exact.frames / (spec.base.frames * other))
    if axis == "spatial":
        return spec.with_factor(axis, exact.crop / spec.base.crop)
    rounded = (spec.with_factor(axis, round(factor, digits)) for digits in range(1, 7))
    return next((short for short in rounded if short.sizes == exact.sizes), exact)


def _solve(spec: Spec, axis: str, rule: AxisRule, factor: float, cost_of: CostOf, kind: CostKind) -> Spec:
    """The expansion whose cost ratio is nearest to `factor` on a logarithmic scale."""
    goal = cost_of(spec).of(kind) * factor
    now = getattr(spec, axis)
    bounds = largest_within(spec, axis, now, max(now, rule.limit), goal, cost_of, kind)
    options = [tidy(spec, axis, bound) for bound in bounds]
    return min(options, key=lambda option: abs(math.log(cost_of(option).of(kind) / goal)))


def _fault(spec: Spec, now: Spec, limits: SourceLimits) -> str:
    """Why the videos cannot give the clips of `spec`, or an empty string."""
    if spec.sizes == now.sizes:
        return "rounding changes nothing"
    if spec.duration > max(limits.frames, now.duration):
        return f"clip of {spec.duration} source frames, the videos have {limits.frames}"
    if spec.crop > max(limits.short_side, now.crop):
        return f"crop {spec.crop}, the short side of the videos is {limits.short_side}"
    return ""


def _step(
    space: SearchSpace, axis: str, now: Spec, cost_of: CostOf, limits: SourceLimits, kind: CostKind,
    ceilings: Ceilings,
) -> Candidate | Rejection:  # fmt: skip
    rule = space.axes[axis]
    if rule.step == "solve":
        spec = _solve(now, axis, rule, space.step_factor, cost_of, kind)
    else:
        factor = getattr(now, axis) * rule.step
        if factor > rule.limit * (1 + 1e-9):
            return Rejection(axis, f"factor {factor:.4g} is over the axis's limit {rule.limit:g}")
        spec = now.with_factor(axis, factor)
    if fault := _fault(spec, now, limits):
        return Rejection(axis, fault)
    cost = cost_of(spec)
    ratio = cost.of(kind) / cost_of(now).of(kind)
    if ratio < space.step_factor**LEAST_MOVE:
        return Rejection(axis, f"would move the cost only x{ratio:.3f}")
    if fault := over(cost, ceilings):
        return Rejection(axis, fault)
    return Candidate(axis, spec, cost, ratio)


def over(cost: Cost, ceilings: Ceilings) -> str:
    """Which limit a cost exceeds and by how much, or an empty string."""
    for kind in KINDS:
        most = ceilings.of(kind)
        if most is not None and cost.of(kind) > most:
            return f"{kind}: {amount_text(kind, cost.of(kind))}, the limit is {amount_text(kind, most)}"
    return ""


def expand(
    space: SearchSpace, now: Spec, cost_of: CostOf, limits: SourceLimits, kind: CostKind = "flops",
    ceilings: Ceilings = NO_CEILINGS,
) -> tuple[tuple[Candidate, ...], tuple[Rejection, ...]]:  # fmt: skip
    """One candidate per axis of the space that can move from `now`, and the axes that cannot.

    kind: of the cost that grows by the step factor.
    """
    axes = [axis for axis in AXES if axis in space.axes]
    steps = [_step(space, axis, now, cost_of, limits, kind, ceilings) for axis in axes]
    candidates = tuple(step for step in steps if isinstance(step, Candidate))
    return candidates, tuple(step for step in steps if isinstance(step, Rejection))


def largest(space: SearchSpace, limits: SourceLimits) -> Spec:
    """Every axis at its limit, as far as the videos allow: no search of the space costs more."""
    spec = space.start
    for axis, rule in space.axes.items():
        spec = spec.with_factor(axis, max(1.0, rule.limit))
    if spec.crop > limits.short_side:
        crop = limits.short_side // spec.base.crop_divisor * spec.base.crop_divisor
        spec = spec.with_factor("spatial", max(1.0, crop / spec.base.crop))
    if spec.duration > limits.frames:
        frames = limits.frames // spec.stride
        spec = spec.with_factor("temporal", max(1.0, frames / (spec.base.frames * spec.frame_rate)))
    return spec
