"""Planted candidates with a known winner; the interval against the normal approximation."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from expander.config.settings import Selection
from expander.runs.events import Candidate, CandidateResult
from expander.runs.evidence import pack_bits
from expander.runs.trials import TrialFailure, TrialResult
from expander.search.selection import Outcome, rank, weigh
from expander.specs.cost_kinds import Cost
from expander.specs.spec import AXES, Spec

SEED = (0, 1)
PLAIN = Selection(score="accuracy", seed_spread=0)
GAIN = Selection(score="gain", seed_spread=0)


def candidate(axis: str, ratio: float = 2.0, macs: int = 2000, params: int = 500) -> Candidate:
    return Candidate(axis, Spec().with_factor(axis, 2), Cost(macs, params, 100), ratio)


def result(bits: Sequence[bool], loss: float = 1.0, name: str = "t") -> TrialResult:
    accuracy = sum(bits) / len(bits)
    return TrialResult(name, accuracy, loss, loss, len(bits), pack_bits(bits), clips=1, seconds=1.0)


def first(right: int, videos: int = 1000, loss: float = 1.0) -> TrialResult:
    """Right on the first `right` videos: two such results differ on as few videos as they can."""
    return result([video < right for video in range(videos)], loss)


def axes(standings: Sequence[CandidateResult]) -> list[str]:
    return [standing.axis for standing in standings]


def test_a_clear_winner_comes_first_and_the_rest_by_score() -> None:
    candidates = [candidate(axis) for axis in ("temporal", "width", "depth")]
    outcomes = {"temporal": [first(500)], "width": [first(700)], "depth": [first(600)]}
    found = rank(candidates, outcomes, [], PLAIN, SEED)
    assert axes(found) == ["width", "depth", "temporal"]
    assert [standing.score for standing in found] == [0.7, 0.6, 0.5]
    assert [standing.behind for standing in found] == pytest.approx([0, 0.1, 0.2])
    assert not any(standing.tied or standing.failed for standing in found)
    assert all(0 < standing.low < standing.behind < standing.high for standing in found[1:])
    assert (found[0].low, found[0].high) == (0, 0)


def test_an_exact_tie_goes_to_the_lower_loss() -> None:
    candidates = [
        candidate("temporal", macs=1, params=1),
        candidate("depth", macs=2, params=2),
    ]
    outcomes = {"temporal": [first(500, loss=1.1)], "depth": [first(500, loss=1.0)]}
    found = rank(candidates, outcomes, [], PLAIN, SEED)
    assert axes(found) == ["depth", "temporal"]
    assert found[1].tied
    assert not found[0].tied


def test_equal_losses_go_to_the_lower_cost() -> None:
    candidates = [candidate("temporal", macs=2001, params=1), candidate("depth", macs=2000, params=2)]
    outcomes = {"temporal": [first(500)], "depth": [first(500)]}
    assert axes(rank(candidates, outcomes, [], PLAIN, SEED)) == ["depth", "temporal"]


def test_equal_costs_go_to_fewer_parameters() -> None:
    candidates = [candidate("temporal", params=501), candidate("depth", params=500)]
    outcomes = {"temporal": [first(500)], "depth": [first(500)]}
    assert axes(rank(candidates, outcomes, [], PLAIN, SEED)) == ["depth", "temporal"]


def test_what_is_equal_in_all_goes_by_the_order_of_the_axes() -> None:
    for some in itertools.combinations(AXES, 2):
        candidates = [candidate(axis) for axis in reversed(some)]
        outcomes = {axis: [first(5, videos=10)] for axis in some}
        assert axes(rank(candidates, outcomes, [], PLAIN, SEED)) == list(some)


def test_a_lead_within_the_noise_leads_and_is_called_a_tie() -> None:
    """3 videos of 1000 apart, each right where the other is wrong on 200: far inside the noise."""
    leader = result([video < 503 for video in range(1000)], loss=1.2)
    other = result([200 <= video < 700 for video in range(1000)], loss=1.0)
    candidates = [candidate("temporal"), candidate("depth")]
    found = rank(candidates, {"temporal": [leader], "depth": [other]}, [], PLAIN, SEED)
    assert axes(found) == ["temporal", "depth"]
    assert found[1].tied
    assert found[1].behind == pytest.approx(0.003)
    assert found[1].low < 0 < found[1].high


def test_a_lead_beyond_the_noise_beats_a_lower_loss() -> None:
    candidates = [candidate("temporal"), candidate("depth")]
    outcomes = {"temporal": [first(700, loss=2.0)], "depth": [first(500, loss=1.0)]}
    assert axes(rank(candidates, outcomes, [], PLAIN, SEED)) == ["temporal", "depth"]


def test_failed_candidates_come_last_with_their_reason() -> None:
    candidates = [candidate(axis) for axis in ("temporal", "spatial", "depth")]
    outcomes: dict[str, list[Outcome]] = {
        "temporal": [TrialFailure("t", "the loss is nan at step 3")],
        "spatial": [first(1)],
        "depth": [first(999), TrialFailure("t", "killed")],
    }
    seeds = replace(PLAIN, seeds=2)
    outcomes["spatial"].append(first(2))
    found = rank(candidates, outcomes, [], seeds, SEED)
    assert axes(found) == ["spatial", "temporal", "depth"]
    assert [standing.failed for standing in found] == ["", "the loss is nan at step 3", "killed"]


def test_when_all_fail_every_standing_says_why() -> None:
    candidates = [candidate("temporal"), candidate("depth")]
    outcomes = {axis: [TrialFailure(axis, f"{axis} broke")] for axis in ("temporal", "depth")}
    found = rank(candidates, outcomes, [first(500)], GAIN, SEED)
    assert {standing.axis: standing.failed for standing in found} == {
        "temporal": "temporal broke",
        "depth": "depth broke",
    }


@pytest.mark.parametrize(("p", "q", "videos"), [(0.7, 0.6, 2000), (0.9, 0.5, 500), (0.31, 0.3, 1500)])
def test_the_interval_of_a_lead_is_the_normal_one_for_independent_videos(
    p: float, q: float, videos: int
) -> None:
    """Analytic: mean +- 1.96 sqrt(var / V) of the paired differences of V videos."""
    rng = np.random.default_rng(7)
    one, two = rng.random(videos) < p, rng.random(videos) < q
    outcomes = {
        "temporal": [result(one.tolist(), loss=1.0)],
        "depth": [result(two.tolist(), loss=2.0)],
    }
    rule = replace(PLAIN, resamples=3000)
    found = rank([candidate("temporal"), candidate("depth")], outcomes, [], rule, SEED)
    difference = one.astype(float) - two.astype(float)
    spread = difference.std() / math.sqrt(videos)
    assert found[1].axis == "depth"
    assert found[1].behind == pytest.approx(difference.mean())
    assert found[1].low == pytest.approx(difference.mean() - 1.96 * spread, abs=0.15 * spread)
    assert found[1].high == pytest.approx(difference.mean() + 1.96 * spread, abs=0.15 * spread)


def test_a_higher_confidence_gives_a_wider_interval() -> None:
    rng = np.random.default_rng(3)
    outcomes = {
        axis: [result((rng.random(500) < p).tolist(), loss=p)]
        for axis, p in (("temporal", 0.6), ("depth", 0.8))
    }
    pair = [candidate("temporal"), candidate("depth")]
    spans = []
    for confidence in (0.5, 0.9, 0.99):
        last = rank(pair, outcomes, [], replace(PLAIN, confidence=confidence), SEED)[1]
        spans.append(last.high - last.low)
    assert spans[0] < spans[1] < spans[2]


def test_pairing_makes_the_interval_narrower_than_independent_videos_would() -> None:
    """Both are right on 800 videos; one of them on 20 more: only these 20 are uncertain."""
    outcomes = {"temporal": [first(800, loss=2.0)], "depth": [first(820)]}
    found = rank([candidate("temporal"), candidate("depth")], outcomes, [], PLAIN, SEED)
    spread = math.sqrt(0.02 * 0.98 / 1000)
    assert found[1].high - found[1].low == pytest.approx(2 * 1.96 * spread, rel=0.1)
    assert not found[1].tied


def test_seeds_that_disagree_are_a_tie() -> None:
    """Each seed favours the other candidate by the same share: two that far apart say nothing."""
    one, two = [first(895), first(500)], [first(500), first(900)]
    outcomes = {"temporal": one, "depth": two}
    pair = [candidate("temporal"), candidate("depth")]
    found = rank(pair, outcomes, [], replace(PLAIN, seeds=2), SEED)
    assert found[0].axis == "depth"
    assert found[1].tied
    assert [standing.accuracy for standing in found] == [0.7, 0.6975]
    assert found[1].low < -0.4
    assert found[1].high > 0.395


def test_gain_per_doubling_and_plain_accuracy_can_choose_differently() -> None:
    """+10 points for 4x the cost are 5 a doubling; +8 points for 1.5x are 13.7."""
    pair = [candidate("temporal", ratio=4.0), candidate("depth", ratio=1.5)]
    outcomes = {"temporal": [first(600, loss=0.9)], "depth": [first(580)]}
    current = [first(500)]
    plain = rank(pair, outcomes, current, PLAIN, SEED)
    gain = rank(pair, outcomes, current, GAIN, SEED)
    assert axes(plain) == ["temporal", "depth"]
    assert axes(gain) == ["depth", "temporal"]
    assert [s.score for s in plain] == [0.6, 0.58]
    assert [s.score for s in gain] == pytest.approx([0.08 / math.log2(1.5), 0.05])
    assert [s.accuracy for s in gain] == [0.58, 0.6]


def test_without_a_current_spec_gain_is_plain_accuracy() -> None:
    pair = [candidate("temporal", ratio=1.0), candidate("depth", ratio=8.0)]
    outcomes = {"temporal": [first(500)], "depth": [first(700)]}
    assert rank(pair, outcomes, [], GAIN, SEED) == rank(pair, outcomes, [], PLAIN, SEED)


def test_every_training_of_the_parent_counts_and_none_twice() -> None:
    """0.3, 0.5 and 0.4 of the parent on nested videos: the gain is over their mean."""
    pair = [candidate("temporal"), candidate("depth")]
    outcomes = {"temporal": [first(600)], "depth": [first(500)]}
    found = rank(pair, outcomes, [first(300), first(500), first(400)], GAIN, SEED)
    assert [standing.score for standing in found] == pytest.approx([0.2, 0.1])
    rule = replace(GAIN, seeds=3, seed_spread=0.2, resamples=4000)
    thrice = {axis: 3 * trained for axis, trained in outcomes.items()}
    draws = weigh(pair, thrice, [first(400)], rule, SEED).draws
    # One training of the parent, three that agree of each arm: of the gain, mostly the parent is uncertain.
    spread = math.sqrt(4 * 0.2**2 / (4 + 4))
    wanted = spread * math.sqrt(0.24 + 0.24 / 3)
    assert draws[0].std() == pytest.approx(wanted * math.sqrt(8 / 6), rel=0.1)  # Student's t of 8


def test_a_loss_of_accuracy_counts_less_over_a_dearer_step() -> None:
    """All fall by 10 points: over a doubling that is -0.1, over two doublings -0.05."""
    pair = [candidate("temporal", ratio=2.0), candidate("depth", ratio=4.0)]
    outcomes = {"temporal": [first(400)], "depth": [first(400)]}
    found = rank(pair, outcomes, [first(500)], GAIN, SEED)
    assert {s.axis: round(s.score, 9) for s in found} == {"temporal": -0.1, "depth": -0.05}
    assert found[0].axis == "depth"


def noisy(loss: float = 1.0) -> tuple[list[Candidate], dict[str, list[TrialResult]], list[TrialResult]]:
    rng = np.random.default_rng(11)
    candidates = [candidate(axis, ratio=1.8 + i / 10, macs=2000 + i) for i, axis in enumerate(AXES)]
    outcomes = {
        axis: [result((rng.random(300) < 0.6).tolist(), loss + rng.random()) for _ in range(2)]
        for axis in AXES
    }
    return candidates, outcomes, [result((rng.random(300) < 0.5).tolist()) for _ in range(2)]


def test_the_same_trials_give_the_same_standings() -> None:
    rule = Selection(seeds=2)
    candidates, outcomes, current = noisy()
    assert rank(candidates, outcomes, current, rule, SEED) == rank(candidates, outcomes, current, rule, SEED)


@pytest.mark.parametrize("score", ["gain", "accuracy"])
def test_the_order_of_the_candidates_changes_no_standing(score: str) -> None:
    rule = Selection(seeds=2, score="gain" if score == "gain" else "accuracy")
    candidates, outcomes, current = noisy()
    expected = rank(candidates, outcomes, current, rule, SEED)
    for shift in range(1, len(AXES)):
        turned = candidates[shift:] + candidates[:shift]
        found = rank(turned, outcomes, current, rule, SEED)
        assert axes(found) == axes(expected)
        for one, two in zip(found, expected, strict=True):
            assert (one.low, one.high) == pytest.approx((two.low, two.high), abs=1e-12)


def test_equal_scores_below_the_winner_keep_one_order_whatever_the_order_of_the_candidates() -> None:
    outcomes = {axis: [first(900 if axis == "width" else 500)] for axis in AXES}
    candidates = [candidate(axis) for axis in AXES]
    forward = rank(candidates, outcomes, [], PLAIN, SEED)
    assert axes(rank(candidates[::-1], outcomes, [], PLAIN, SEED)) == axes(forward)


def test_many_videos_need_no_more_memory_than_the_chunks() -> None:
    """100,000 videos: all resamples at once would be 10 million numbers an arm."""
    videos = 100_000
    outcomes = {"temporal": [first(videos // 2, videos)], "depth": [first(videos // 2 + 1000, videos)]}
    rule = replace(PLAIN, resamples=100)
    found = rank([candidate("temporal"), candidate("depth")], outcomes, [], rule, SEED)
    assert found[0].axis == "depth"
    spread = math.sqrt(0.01 * 0.99 / videos)
    assert found[1].low == pytest.approx(0.01 - 1.96 * spread, abs=spread)
