"""A path of expansions given by hand, for `trace`."""

from __future__ import annotations

from expander.config.space import SearchSpace
from expander.config.strict_yaml import did_you_mean
from expander.errors import UsageError
from expander.runs.events import Candidate, SourceLimits
from expander.search.expansion import expand
from expander.specs.cost import cost

ANY_SOURCE = SourceLimits(frames=10**9, short_side=10**9)


def follow(space: SearchSpace, axes: list[str]) -> tuple[Candidate, ...]:
    """The base and the specs after expanding `axes` in this order; videos of any length and size.

    Raises UsageError for an axis that is unknown or cannot move.
    """
    start = space.start
    path = [Candidate("base", start, cost(start), 1.0)]
    for number, axis in enumerate(axes, 1):
        if axis not in space.axes:
            raise UsageError(f"--axes: unknown axis {axis!r}{did_you_mean(axis, space.axes)}")
        candidates, rejected = expand(space, path[-1].spec, cost, ANY_SOURCE)
        step = next((c for c in candidates if c.axis == axis), None)
        if step is None:
            reason = next(r.reason for r in rejected if r.axis == axis)
            raise UsageError(f"--axes: step {number}: {axis} cannot move: {reason}")
        path.append(step)
    return tuple(path)
