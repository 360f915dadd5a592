"""What seeds add to an interval: closed forms, and coverage on trainings drawn from a known model."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from expander.config.settings import Selection
from expander.runs.events import Candidate
from expander.runs.evidence import pack_bits
from expander.runs.trials import TrialResult
from expander.search.selection import difference, rank
from expander.search.spread import WEIGHT, Spread, pooled, spread_of
from expander.specs.cost_kinds import Cost
from expander.specs.spec import Spec

Floats = npt.NDArray[np.float64]
RULE = Selection(score="accuracy", resamples=4000)
T_95 = {4: 2.776, 6: 2.447}
"""97.5 % quantiles of Student's t by degrees of freedom, from a published table."""


def trained(correct: Floats) -> list[TrialResult]:
    return [TrialResult("t", float(row.mean()), 1.0, 1.0, len(row), pack_bits(row.astype(bool)), 1, 1.0)
            for row in correct]  # fmt: skip


def constant(accuracy: float, videos: int = 1000) -> Floats:
    """One training, right on the first videos."""
    return (np.arange(videos) < accuracy * videos)[None].astype(float)


def drawn(
    rng: np.random.Generator, mean: float, spread: float, seeds: int, difficulty: Floats
) -> Floats:
    """(seeds, videos): trainings of one spec; a seed moves the accuracy of every video.

    difficulty: (videos,) uniform, so that an accuracy is the share of videos below it.
    """
    accuracies = mean + spread * math.sqrt(mean * (1 - mean)) * rng.standard_normal((seeds, 1))
    own = rng.random((seeds, len(difficulty)))
    # Half of what is right is the video's doing, half the training's.
    chance = 0.5 * (difficulty < accuracies) + 0.5 * (own < accuracies)
    return (chance > rng.random(own.shape)).astype(float)


def test_seeds_that_agree_show_no_spread_and_one_alone_shows_nothing() -> None:
    assert spread_of(np.repeat(constant(0.6), 3, axis=0)) == Spread(0.0, 2)
    assert spread_of(constant(0.6)) == Spread(0.0, 0)
    assert spread_of(np.ones((3, 50))) == Spread()


def test_the_spread_is_that_of_the_accuracies_in_units_of_one_video() -> None:
    """0.4, 0.5 and 0.6 on nested videos: squares of 0.02 over 0.25; less what is left by seed and video."""
    nested = np.concatenate([constant(accuracy) for accuracy in (0.4, 0.5, 0.6)])
    left = nested - nested.mean(1, keepdims=True) - nested.mean(0) + nested.mean()
    together = float((left**2).sum()) / 999 / 1000
    assert spread_of(nested).squares == pytest.approx((0.02 - together) / 0.25)
    assert spread_of(nested).freedom == 2
    assert together < 0.001


@pytest.mark.parametrize("spread", [0.0, 0.05, 0.2])
def test_a_planted_spread_is_found_on_average(spread: float) -> None:
    rng = np.random.default_rng(5)
    specs = [drawn(rng, mean, spread, 3, rng.random(400)) for mean in rng.uniform(0.3, 0.7, 300)]
    found = pooled(specs)
    assert found.freedom == 600
    assert found.squares / found.freedom == pytest.approx(spread**2, abs=0.0006 + 0.15 * spread**2)


def test_the_prior_weighs_as_a_few_seeds() -> None:
    assert Spread().expected(0.1) == pytest.approx(0.1)
    assert Spread().expected(0) == 0
    assert Spread(0.08, 2).expected(0) == pytest.approx(0.2)
    assert Spread(0.08, 2).expected(0.1) == pytest.approx(math.sqrt((WEIGHT * 0.01 + 0.08) / (WEIGHT + 2)))
    assert Spread(-0.01, 2).expected(0.1) == pytest.approx(math.sqrt(WEIGHT * 0.01 / (WEIGHT + 2)))


@pytest.mark.parametrize(("known", "freedom"), [(Spread(), 4), (Spread(2 * 0.08**2, 2), 6)])
def test_an_interval_of_one_seed_each_is_students(known: Spread, freedom: int) -> None:
    """Both right on the same 600 of 1000 videos: all that is uncertain is the seed."""
    pair = [trained(constant(0.6)), trained(constant(0.6))]
    gain, low, high = difference(pair[0], [pair[1]], replace(RULE, seed_spread=0.08), (3,), known)
    error = 0.08 * math.sqrt(2 * 0.6 * 0.4)
    assert gain == 0
    assert (-low, high) == pytest.approx((T_95[freedom] * error, T_95[freedom] * error), rel=0.08)


def test_without_a_prior_one_seed_each_counts_the_videos_alone() -> None:
    one, two = trained(constant(0.6)), trained(constant(0.5))
    _, low, high = difference(one, [two], replace(RULE, seed_spread=0), (3,))
    error = math.sqrt(0.1 * 0.9 / 1000)
    assert (low, high) == pytest.approx((0.1 - 1.96 * error, 0.1 + 1.96 * error), abs=0.2 * error)


def test_more_seeds_make_an_interval_narrower() -> None:
    rng = np.random.default_rng(8)
    videos = rng.random(1000)
    spans = []
    for seeds in (1, 4):
        one, two = (trained(drawn(rng, 0.5, 0.08, seeds, videos)) for _ in range(2))
        _, low, high = difference(one, [two], RULE, (seeds,))
        spans.append(high - low)
    assert 1.5 < spans[0] / spans[1] < 3


def test_a_lead_that_the_seed_can_explain_is_a_tie() -> None:
    """5 points on the same 1000 videos: certain for these two trainings, not for two others."""
    pair = [Candidate(axis, Spec().with_factor(axis, 2), Cost(2000, 500, 100), 2.0)
            for axis in ("width", "depth")]  # fmt: skip
    outcomes = {"width": trained(constant(0.65)), "depth": trained(constant(0.60))}
    assert rank(pair, outcomes, [], RULE, (1,))[1].tied
    assert not rank(pair, outcomes, [], replace(RULE, seed_spread=0), (1,))[1].tied


@pytest.mark.parametrize("seeds", [1, 2])
def test_stated_intervals_cover_true_differences(seeds: int) -> None:
    """600 pairs from a known model, the spread known from a base of three seeds and earlier steps."""
    rng = np.random.default_rng(13 + seeds)
    spread, inside = 0.08, 0
    rule = replace(RULE, resamples=400)
    for number in range(600):
        known = pooled([drawn(rng, 0.4, spread, 3, rng.random(500)) for _ in range(3)])
        first, second = rng.uniform(0.35, 0.65, 2)
        videos = rng.random(500)
        pair = [trained(drawn(rng, mean, spread, seeds, videos)) for mean in (first, second)]
        _, low, high = difference(pair[0], [pair[1]], rule, (number,), known)
        inside += low <= first - second <= high
    assert 0.93 <= inside / 600 <= 0.97
