"""Backward contraction: the last expansion reduced until the cost meets the target (X3D, sec. 3.2).

X3D reduces the last expansion. Which axis gives up least is not known before it is tried, so a search
ends by training them all (`finalists`), unless it is asked for the nearest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from expander.runs.events import CUT, UNCUT, Candidate
from expander.search.expansion import CostOf, largest_within, tidy
from expander.specs.cost_kinds import CostKind
from expander.specs.spec import AXES, Spec

TOLERANCE = 0.05
"""A cost within this share below the target has met it."""

SMALLEST = 0.5
"""The least factor of an axis that is contracted without being the last one."""


@dataclass(frozen=True, slots=True)
class Option:
    """A contraction along one axis. miss: share of the target that stays unused."""

    axis: str
    candidate: Candidate
    miss: float


def along(
    axis: str, top: Spec, floor: float, target: float, cost_of: CostOf, kind: CostKind = "flops"
) -> Option | None:
    """The largest spec within `target` by reducing one factor of `top`, not below `floor`.

    None when even the floor costs more.
    """
    if cost_of(top.with_factor(axis, floor)).of(kind) > target:
        return None
    below, _ = largest_within(top, axis, floor, getattr(top, axis), target, cost_of, kind)
    spec = tidy(top, axis, below)
    cost = cost_of(spec)
    ratio = cost.of(kind) / cost_of(top).of(kind)
    return Option(axis, Candidate(axis, spec, cost, ratio), 1 - cost.of(kind) / target)


def overshoot(path: Sequence[Candidate], target: float, kind: CostKind = "flops") -> int:
    """The first step of a path that costs at least `target`. Raises ValueError if none does."""
    for index, step in enumerate(path):
        if step.cost.of(kind) >= target:
            return index
    raise ValueError("no step of the path reaches the target")


def options(
    path: Sequence[Candidate], target: float, cost_of: CostOf, kind: CostKind = "flops"
) -> tuple[Option, ...]:
    """Every axis along which the path's first step over the target can be contracted.

    The axis of that step comes first and ends at the spec before it at the least; the others may
    be reduced to SMALLEST of the base's size: with few frames and pixels, a little less width than
    the base's is often what meets a target that whole frames and pixels miss. Raises ValueError for a
    target below the first spec's cost.
    """
    index = overshoot(path, target, kind)
    top, last = path[index].spec, path[index].axis
    if index == 0:
        if path[0].cost.of(kind) > target:
            raise ValueError("the target is below the cost of the base")
        return (Option(last, path[0], 0.0),)
    floors = {axis: SMALLEST for axis in AXES if getattr(top, axis) > SMALLEST}
    floors[last] = getattr(path[index - 1].spec, last)
    ordered = sorted(floors, key=lambda axis: (axis != last, AXES.index(axis)))
    found = (along(axis, top, floors[axis], target, cost_of, kind) for axis in ordered)
    return tuple(option for option in found if option)


def finalists(
    path: Sequence[Candidate], runners: Sequence[Candidate], target: float, cost_of: CostOf,
    kind: CostKind = "flops", axes: Sequence[str] = AXES, tied: Sequence[str] = (),
) -> tuple[Candidate, ...]:  # fmt: skip
    """What a search can end with: contractions along every axis of the space, and candidates that need none.

    runners: the candidates of the step that overshot; tied: the axes of those that are as good as its winner,
    which are contracted too, each along the axis that comes nearest. All cost within TOLERANCE below the
    target; where nothing does, what comes nearest. Raises ValueError as `options` does.
    """
    top = path[overshoot(path, target, kind)]
    found = options(path, target, cost_of, kind)
    near = [o.candidate for o in found if o.miss <= TOLERANCE and o.axis in axes]
    fitting = (c for c in runners if (1 - TOLERANCE) * target <= c.cost.of(kind) <= target)
    uncut = [replace(c, axis=UNCUT + c.axis, ratio=c.cost.of(kind) / top.cost.of(kind)) for c in fitting]
    cut = [_cut(path, c, target, cost_of, kind) for c in runners if c.axis in tied and c.spec != top.spec]
    by_spec = {c.spec: c for c in reversed([*near, *uncut, *cut]) if c is not None}
    nearest = min(found, key=lambda option: option.miss).candidate
    return tuple(reversed(by_spec.values())) or (nearest,)


def _cut(
    path: Sequence[Candidate], runner: Candidate, target: float, cost_of: CostOf, kind: CostKind
) -> Candidate | None:
    """A runner-up contracted to the target, where it costs more and comes near."""
    if runner.cost.of(kind) <= target:
        return None
    index = overshoot(path, target, kind)
    nearest = min(options([*path[:index], runner], target, cost_of, kind), key=lambda option: option.miss)
    if nearest.miss > TOLERANCE:
        return None
    ratio = nearest.candidate.cost.of(kind) / path[index].cost.of(kind)
    return replace(nearest.candidate, axis=CUT + runner.axis, ratio=ratio)


def contract(
    path: Sequence[Candidate], target: float, cost_of: CostOf, axis: str = "auto", kind: CostKind = "flops"
) -> Option:
    """The contraction to `target` along `axis`.

    `last`: the axis of the step that overshot. `best`: the axis that comes nearest. `auto`: last,
    or best when the last axis's rounding misses by more than TOLERANCE. Otherwise a named axis.
    Raises ValueError when that axis cannot meet the target.
    """
    found = options(path, target, cost_of, kind)
    last = path[overshoot(path, target, kind)].axis
    nearest = min(found, key=lambda option: option.miss)
    if axis == "best":
        return nearest
    wanted = last if axis in ("last", "auto") else axis
    option = next((option for option in found if option.axis == wanted), None)
    if axis == "auto":
        return option if option and option.miss <= TOLERANCE else nearest
    if option is None:
        able = ", ".join(sorted(o.axis for o in found))
        raise ValueError(f"axis {wanted} cannot be reduced to the target; these can: {able}")
    return option
