"""Which candidate wins a step, and how sure that is: a paired bootstrap over the videos, and the seeds.

The videos are drawn again, the same ones for every candidate. Seeds are too few for that, often one: what
another would have given is drawn from how far seeds lie apart in this run (spread.py).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from expander.config.settings import Selection
from expander.runs.events import Candidate, CandidateResult
from expander.runs.evidence import by_video
from expander.runs.trials import TrialFailure, TrialResult
from expander.search.spread import UNKNOWN, Spread, pooled
from expander.specs.spec import AXES

Floats = npt.NDArray[np.float64]
Outcome = TrialResult | TrialFailure

CHUNK = 2_000_000
"""Numbers drawn at once: bounds the memory for long validation lists."""


@dataclass(frozen=True, slots=True)
class Arm:
    """A candidate that finished: its accuracy and loss, mean over so many seeds."""

    candidate: Candidate
    accuracy: float
    loss: float
    seeds: int


def by_videos(results: Sequence[TrialResult]) -> Floats:
    """(seeds, videos) of what each video says, from the results of one candidate: hits, or credits of mAP."""
    return np.array([by_video(r.correct, r.videos) for r in results], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the trials of a round say. draws: (arms, resamples) scores under the same resamples.

    spread: between seeds, as the draws count it.
    """

    arms: tuple[Arm, ...]
    failed: tuple[CandidateResult, ...]
    scores: tuple[float, ...]
    draws: Floats
    rule: Selection
    spread: float = 0.0

    @property
    def leader(self) -> int:
        """The arm of the highest score. What is equal goes to lower loss, cost, size, then by axis.

        A lead within the noise still leads: to prefer the lower loss among all that tie gives up more than it
        gains, since with one seed nearly all tie.
        """
        return min(range(len(self.arms)), key=lambda i: (-self.scores[i], _order(self.arms[i])))

    @property
    def contenders(self) -> list[int]:
        """The leader and the arms whose distance to it has an interval that includes 0."""
        if not self.arms:
            return []
        low, _ = self._intervals(self.leader)
        return [i for i in range(len(self.arms)) if low[i] <= 0]

    def standings(self) -> tuple[CandidateResult, ...]:
        """The winner, the rest by score, the failed ones."""
        if not self.arms:
            return self.failed
        winner = self.leader
        losers = (i for i in range(len(self.arms)) if i != winner)
        rest = sorted(losers, key=lambda i: (-self.scores[i], _order(self.arms[i])))
        return (*self._standings((winner, *rest), winner), *self.failed)

    def beaten(self, until: int | None) -> tuple[CandidateResult, ...]:
        """Those beaten beyond doubt at a rung or before more seeds, by score, and the failed ones."""
        if not self.arms:
            return self.failed
        leader, still_in = self.leader, self.contenders
        out = sorted((i for i in range(len(self.arms)) if i not in still_in), key=lambda i: -self.scores[i])
        standings = (*self._standings(out, leader), *self.failed)
        return tuple(replace(standing, until=until) for standing in standings)

    def _intervals(self, winner: int) -> Floats:
        """(2, arms): lower and upper end of the winner's score less each arm's."""
        return interval(self.draws[winner] - self.draws, self.rule)

    def _standings(self, indices: Sequence[int], winner: int) -> Iterator[CandidateResult]:
        low, high = self._intervals(winner).tolist()
        for i in indices:
            yield CandidateResult(
                axis=self.arms[i].candidate.axis,
                accuracy=self.arms[i].accuracy,
                loss=self.arms[i].loss,
                score=self.scores[i],
                behind=self.scores[winner] - self.scores[i],
                low=low[i],
                high=high[i],
                tied=i != winner and low[i] <= 0 <= high[i],
                seeds=self.arms[i].seeds,
            )


def interval(draws: Floats, rule: Selection) -> Floats:
    """(2, ...): the ends of the interval of the stated confidence over the last axis of `draws`."""
    tail = (1 - rule.confidence) / 2
    ends: Floats = np.quantile(draws, [tail, 1 - tail], axis=-1)
    return ends


def weigh(
    candidates: Sequence[Candidate], outcomes: Mapping[str, Sequence[Outcome]],
    current: Sequence[TrialResult], rule: Selection, seed: tuple[int, ...], known: Spread = UNKNOWN,
) -> Evidence:  # fmt: skip
    """The evidence of a round in which every candidate trained with the same seeds.

    outcomes: by axis, in the same order of seeds for all. current: results of the spec they grew
    from (empty: plain accuracy is the score). known: of the spread between seeds, from earlier steps.
    Deterministic in its arguments.
    """
    arms, matrices, failed = _split(candidates, outcomes)
    if not arms:
        return Evidence((), failed, (), np.empty((0, 0)), rule)
    now = by_videos(current) if current and rule.score == "gain" else None
    scores = tuple(arm.accuracy if now is None else (arm.accuracy - float(now.mean())) / _doublings(arm)
                   for arm in arms)  # fmt: skip
    known += pooled(matrices)
    draws = _score_draws(arms, matrices, now, rule, seed, known)
    return Evidence(tuple(arms), failed, scores, draws, rule, known.expected(rule.seed_spread))


def rank(
    candidates: Sequence[Candidate], outcomes: Mapping[str, Sequence[Outcome]],
    current: Sequence[TrialResult], selection: Selection, seed: tuple[int, ...], known: Spread = UNKNOWN,
) -> tuple[CandidateResult, ...]:  # fmt: skip
    """Every candidate's standing, the winner first, failed ones last; arguments as in `weigh`."""
    return weigh(candidates, outcomes, current, selection, seed, known).standings()


def difference(
    first: Sequence[TrialResult], others: Sequence[Sequence[TrialResult]], rule: Selection,
    seed: tuple[int, ...], known: Spread = UNKNOWN,
) -> tuple[float, float, float]:  # fmt: skip
    """Accuracy of `first` over the mean of the others, each over all its seeds, and its interval.

    known: of the spread between seeds, from elsewhere than the others.
    """
    ours, *theirs = [by_videos(results) for results in (first, *others)]
    named = {str(number): matrix for number, matrix in enumerate([ours, *theirs])}
    draws = _drawn(named, rule, seed, known + pooled(theirs))
    low, high = interval(draws[0] - draws[1:].mean(axis=0), rule).tolist()
    return float(ours.mean() - np.mean([matrix.mean() for matrix in theirs])), low, high


def _split(
    candidates: Sequence[Candidate], outcomes: Mapping[str, Sequence[Outcome]]
) -> tuple[list[Arm], list[Floats], tuple[CandidateResult, ...]]:
    arms: list[Arm] = []
    matrices, failed = [], []
    for candidate in candidates:
        results = [o for o in outcomes[candidate.axis] if isinstance(o, TrialResult)]
        reasons = [o.reason for o in outcomes[candidate.axis] if isinstance(o, TrialFailure)]
        if reasons:
            failed.append(CandidateResult(candidate.axis, 0, 0, 0, 0, 0, 0, False, reasons[0]))
        else:
            loss = sum(r.loss for r in results) / len(results)
            matrices.append(by_videos(results))
            mean = min(float(matrices[-1].mean()), 1.0)  # of credits it may pass 1 by rounding
            arms.append(Arm(candidate, mean, loss, len(results)))
    return arms, matrices, tuple(failed)


def _order(arm: Arm) -> tuple[float, int, int, int]:
    """What settles equal scores, in this order."""
    axis = AXES.index(arm.candidate.axis) if arm.candidate.axis in AXES else -1
    return arm.loss, arm.candidate.cost.macs, arm.candidate.cost.params, axis


def _doublings(arm: Arm) -> float:
    return math.log2(arm.candidate.ratio)


def _drawn(
    matrices: Mapping[str, Floats], rule: Selection, seed: tuple[int, ...], spread: Spread
) -> Floats:
    """(matrices, resamples): accuracies that other videos and other seeds might have given."""
    rng = np.random.default_rng((*seed, 1))  # the same for all: of the spread itself
    spreads = spread.draws(rule.seed_spread, rng, rule.resamples)
    by_video = _resample(list(matrices.values()), rule, seed)
    by_seed = [_between_seeds(correct, spreads, seed, name) for name, correct in matrices.items()]
    return by_video + np.stack(by_seed)


def _between_seeds(correct: Floats, spreads: Floats, seed: tuple[int, ...], name: str) -> Floats:
    """(resamples,) what the seeds of one spec may have added to its mean accuracy."""
    p = min(max(float(correct.mean()), 0.0), 1.0)  # a mean of credits may pass 1 by rounding
    # Chance by name: the order of the candidates decides nothing.
    rng = np.random.default_rng((*seed, 2, zlib.crc32(name.encode())))
    normal = rng.standard_normal(len(spreads))
    added: Floats = spreads * normal * math.sqrt(p * (1 - p) / len(correct))
    return added


def _resample(matrices: Sequence[Floats], rule: Selection, seed: tuple[int, ...]) -> Floats:
    """(matrices, resamples): mean accuracies of (seeds, videos) matrices on the SAME draws of videos."""
    videos = matrices[0].shape[1]
    by_video = np.stack([matrix.mean(axis=0) for matrix in matrices])
    rng = np.random.default_rng(seed)
    step = max(1, CHUNK // videos)
    parts = []
    for start in range(0, rule.resamples, step):
        weights = _weights(rng, min(step, rule.resamples - start), videos)
        parts.append(by_video @ weights.T)
    return np.concatenate(parts, axis=1)


def _weights(rng: np.random.Generator, resamples: int, items: int) -> Floats:
    """(resamples, items): how often each item was drawn, as a share; drawn with replacement."""
    drawn = rng.integers(items, size=(resamples, items)) + np.arange(resamples)[:, None] * items
    counts = np.bincount(drawn.ravel(), minlength=resamples * items)
    return counts.reshape(resamples, items) / items


def _score_draws(
    arms: Sequence[Arm], matrices: Sequence[Floats], now: Floats | None, rule: Selection,
    seed: tuple[int, ...], spread: Spread,
) -> Floats:  # fmt: skip
    named = {arm.candidate.axis: matrix for arm, matrix in zip(arms, matrices, strict=True)}
    if now is None:
        return _drawn(named, rule, seed, spread)
    drawn = _drawn({**named, "now": now}, rule, seed, spread)
    doublings = np.array([_doublings(arm) for arm in arms])
    gains: Floats = (drawn[:-1] - drawn[-1]) / doublings[:, None]
    return gains
