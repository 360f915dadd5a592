"""How far trainings that differ in nothing but the seed lie apart: what one run shows of it, pooled.

In units of the deviation of one video, sqrt(p (1 - p)) at accuracy p: so what one spec shows counts for
another of another accuracy. A spread of 0.08 at 50 % is 4 points between seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

WEIGHT = 4
"""Seeds' worth of evidence that the spread of the settings has against what the run shows."""


@dataclass(frozen=True, slots=True)
class Spread:
    """squares: of the deviations from the mean of each spec, summed. freedom: seeds less specs."""

    squares: float = 0.0
    freedom: int = 0

    def __add__(self, other: Spread) -> Spread:
        return Spread(self.squares + other.squares, self.freedom + other.freedom)

    def expected(self, prior: float) -> float:
        """The spread that intervals count with; prior: that of the settings, 0 for none."""
        known = self._known(prior)
        return (self._squares(prior) / known) ** 0.5 if known else 0.0

    def draws(self, prior: float, rng: np.random.Generator, count: int) -> Floats:
        """(count,) spreads that may be, given what is known: of few seeds, few things are certain."""
        known = self._known(prior)
        if not known:
            return np.zeros(count)
        drawn: Floats = np.sqrt(self._squares(prior) / rng.chisquare(known, count))
        return drawn

    def _known(self, prior: float) -> int:
        return self.freedom + (WEIGHT if prior else 0)

    def _squares(self, prior: float) -> float:
        return WEIGHT * prior**2 + max(0.0, self.squares)


UNKNOWN = Spread()
"""Before a run has shown anything."""


def spread_of(correct: Floats) -> Spread:
    """Of one spec: correct, (seeds, videos) of 0 and 1.

    What seeds and videos decide together is left out: the resampling of the videos counts that. (Variance
    components of a two-way table, e.g. Searle, Casella, McCulloch 1992, section 4.)
    """
    seeds, videos = correct.shape
    by_seed, p = correct.mean(axis=1), correct.mean()
    if seeds < 2 or videos < 2 or not 0 < p < 1:
        return UNKNOWN
    between = float(((by_seed - p) ** 2).sum())
    left = correct - by_seed[:, None] - correct.mean(axis=0) + p
    together = float((left**2).sum()) / (videos - 1) / videos
    return Spread((between - together) / float(p * (1 - p)), seeds - 1)


def pooled(matrices: Sequence[Floats]) -> Spread:
    """Of several specs."""
    return sum(map(spread_of, matrices), UNKNOWN)
