"""Which candidate wins a step, and how sure that is: a paired bootstrap over videos and seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from expander.config import Selection
from expander.records import Candidate, Standing, TrialFailure, TrialResult, unpack_bits
from expander.spec import AXES

Floats = npt.NDArray[np.float64]
Outcome = TrialResult | TrialFailure

CHUNK = 2_000_000
"""Numbers drawn at once: bounds the memory for long validation lists."""


@dataclass(frozen=True, slots=True)
class Arm:
    """A candidate that finished. correct: (seeds, videos), 1 where the video was right."""

    candidate: Candidate
    correct: Floats
    loss: float

    @property
    def accuracy(self) -> float:
        """Share of videos right, mean over seeds."""
        return float(self.correct.mean())


def correctness(results: Sequence[TrialResult]) -> Floats:
    """(seeds, videos) of 0 and 1 from the results of one candidate."""
    return np.array([unpack_bits(r.correct, r.videos) for r in results], dtype=np.float64)


def rank(
    candidates: Sequence[Candidate],
    outcomes: Mapping[str, Sequence[Outcome]],
    current: Sequence[TrialResult],
    selection: Selection,
    seed: tuple[int, ...],
) -> tuple[Standing, ...]:
    """Every candidate's standing, the winner first, failed ones last.

    outcomes: by axis, in the same order of seeds for all. current: results of the spec they grew
    from (empty: plain accuracy is the score). Ties go to lower loss, lower cost, fewer parameters,
    axis order. Deterministic in its arguments.
    """
    arms, failed = _split(candidates, outcomes)
    if not arms:
        return failed
    resampled = _resample([arm.correct for arm in arms], current, selection, seed)
    scores = _scores(arms, current, selection)
    draws = _score_draws(arms, resampled, bool(current), selection)
    leader = max(range(len(arms)), key=lambda i: (scores[i], -_order(arms[i])[0]))
    tied = [i for i in range(len(arms)) if _interval(draws[leader] - draws[i], selection)[0] <= 0]
    winner = min(tied, key=lambda i: _order(arms[i]))
    losers = (i for i in range(len(arms)) if i != winner)
    rest = sorted(losers, key=lambda i: (-scores[i], _order(arms[i])))
    return (
        *(_standing(arms[i], scores, draws, i, winner, selection) for i in (winner, *rest)),
        *failed,
    )


def _split(
    candidates: Sequence[Candidate], outcomes: Mapping[str, Sequence[Outcome]]
) -> tuple[list[Arm], tuple[Standing, ...]]:
    arms, failed = [], []
    for candidate in candidates:
        results = [o for o in outcomes[candidate.axis] if isinstance(o, TrialResult)]
        reasons = [o.reason for o in outcomes[candidate.axis] if isinstance(o, TrialFailure)]
        if reasons:
            failed.append(Standing(candidate.axis, 0, 0, 0, 0, 0, 0, False, reasons[0]))
        else:
            loss = sum(r.loss for r in results) / len(results)
            arms.append(Arm(candidate, correctness(results), loss))
    return arms, tuple(failed)


def _order(arm: Arm) -> tuple[float, int, int, int]:
    """What settles a tie, in this order."""
    axis = AXES.index(arm.candidate.axis) if arm.candidate.axis in AXES else -1
    return arm.loss, arm.candidate.cost.macs, arm.candidate.cost.params, axis


def _doublings(arm: Arm) -> float:
    return math.log2(arm.candidate.ratio)


def _scores(arms: Sequence[Arm], current: Sequence[TrialResult], rule: Selection) -> list[float]:
    if rule.score == "accuracy" or not current:
        return [arm.accuracy for arm in arms]
    now = float(correctness(current).mean())
    return [(arm.accuracy - now) / _doublings(arm) for arm in arms]


def _resample(
    matrices: Sequence[Floats],
    current: Sequence[TrialResult],
    rule: Selection,
    seed: tuple[int, ...],
) -> Floats:
    """(arms + 1 if there is a current spec, resamples): accuracies under the SAME resamples."""
    rows = [*matrices, correctness(current)] if current else list(matrices)
    seeds, videos = matrices[0].shape
    rng = np.random.default_rng(seed)
    step = max(1, CHUNK // videos)
    parts = []
    for start in range(0, rule.resamples, step):
        count = min(step, rule.resamples - start)
        seed_weights = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=count) / seeds
        video_weights = rng.multinomial(videos, np.full(videos, 1 / videos), size=count) / videos
        parts.append(
            np.stack([np.einsum("rs,sv,rv->r", seed_weights, row, video_weights, optimize=True)
                      for row in rows])
        )
    return np.concatenate(parts, axis=1)


def _score_draws(
    arms: Sequence[Arm], resampled: Floats, has_current: bool, rule: Selection
) -> Floats:
    accuracies = resampled[: len(arms)]
    if rule.score == "accuracy" or not has_current:
        return accuracies
    doublings = np.array([_doublings(arm) for arm in arms])
    gains: Floats = (accuracies - resampled[-1]) / doublings[:, None]
    return gains


def _interval(difference: Floats, rule: Selection) -> tuple[float, float]:
    tail = (1 - rule.confidence) / 2
    low, high = np.quantile(difference, [tail, 1 - tail])
    return float(low), float(high)


def _standing(
    arm: Arm, scores: list[float], draws: Floats, index: int, winner: int, rule: Selection
) -> Standing:
    low, high = _interval(draws[winner] - draws[index], rule)
    return Standing(
        axis=arm.candidate.axis,
        accuracy=arm.accuracy,
        loss=arm.loss,
        score=scores[index],
        behind=scores[winner] - scores[index],
        low=low,
        high=high,
        tied=index != winner and low <= 0 <= high,
    )
