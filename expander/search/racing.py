"""The rounds of a step: who trains next, who is out, who has won.

With `selection.rungs` all candidates train to the first rung, those beaten beyond doubt stop, the
rest go on. Once trained whole, those still tied with the leader get one more seed at a time (a race)
until one is left or `selection.max_seeds` is reached. With neither there is one round. Who is out
stays out. All of it follows from the outcomes, so a replayed journal comes to the same rounds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from expander.config.settings import Selection
from expander.runs.events import Candidate, CandidateResult, Problem, StepPlanned
from expander.runs.orders import parents_of, with_parent
from expander.runs.trials import Trial, TrialResult, make_trial, rung_of
from expander.search.selection import Evidence, Outcome, weigh
from expander.search.spread import UNKNOWN, Spread


@dataclass(frozen=True, slots=True)
class Race:
    """Every candidate still in trains to a rung (`until` none: to the end) with so many seeds."""

    seeds: int
    until: int | None = None


def rounds(selection: Selection, steps: int, kind: str) -> tuple[Race, ...]:
    """The rounds that a step may have; after a contraction nothing follows that needs its rungs."""
    rungs = sorted({round(share * steps) for share in selection.rungs} - {0, steps})
    first = [Race(selection.seeds, until) for until in rungs] if kind != "contraction" else []
    if kind == "base":
        return (*first, Race(max(selection.seeds, selection.base_seeds)))
    more = range(selection.seeds, selection.most_seeds + 1)
    return (*first, *(Race(seeds) for seeds in more))


def trials_of(
    problem: Problem, step: int, candidates: Sequence[Candidate], this: Race, parents: Sequence[str] = ()
) -> tuple[Trial, ...]:
    """Every trial of a round; seeds are paired across candidates. parents: trials that they begin with."""
    seeds = range(problem.seed, problem.seed + this.seeds)
    trials = (make_trial(step, c.axis, c.spec, seed, this.until) for c in candidates for seed in seeds)
    return tuple(with_parent(problem, parents, trial) for trial in trials)


def play(
    problem: Problem, planned: StepPlanned, outcomes: Mapping[str, Outcome],
    current: Sequence[TrialResult] = (), known: Spread = UNKNOWN,
) -> tuple[tuple[Trial, ...], tuple[CandidateResult, ...], float]:  # fmt: skip
    """The trials that the first unfinished round still needs; when there are none, the standings.

    current: results, at every rung too, of the spec that the candidates grew from. known: of the spread
    between seeds, from earlier steps; the last of what comes back is what the intervals counted of it.
    """
    left: tuple[Candidate, ...] = planned.candidates
    out: tuple[CandidateResult, ...] = ()
    parents = parents_of(problem, planned.kind, current)
    plan = rounds(problem.selection, problem.space.proxy.steps, planned.kind)
    for this in plan:
        wanted = trials_of(problem, planned.step, left, this, parents)
        if missing := tuple(trial for trial in wanted if trial.id not in outcomes):
            return missing, (), 0.0
        grown_from = tuple(result for result in current if rung_of(result.trial) == this.until)
        results = tuple(outcomes[trial.id] for trial in wanted)
        if planned.kind == "base":
            results = _spared(results, this, problem.selection.seeds)
        chance = (problem.seed, planned.step)
        evidence = _evidence(left, results, grown_from, problem.selection, chance, known)
        still_in = [evidence.arms[i].candidate for i in evidence.contenders]
        if not still_in or this == plan[-1] or (len(still_in) == 1 and this.until is None):
            break
        out = (*evidence.beaten(this.until), *out)
        left = tuple(candidate for candidate in left if candidate in still_in)
    standings = sorted((*evidence.standings(), *out), key=lambda standing: bool(standing.failed))
    return (), tuple(standings), evidence.spread


def _spared(results: tuple[Outcome, ...], this: Race, least: int) -> tuple[Outcome, ...]:
    """Without failures of the base's further seeds: they are there for the spread alone."""
    good = tuple(outcome for outcome in results if isinstance(outcome, TrialResult))
    return good if this.until is None and len(good) >= least else results


@lru_cache(maxsize=16)
def _evidence(
    left: tuple[Candidate, ...], results: tuple[Outcome, ...], grown_from: tuple[TrialResult, ...],
    rule: Selection, seed: tuple[int, ...], known: Spread,
) -> Evidence:  # fmt: skip
    """`weigh`, kept: every question about a step goes through its earlier rounds again."""
    seeds = len(results) // len(left)
    by_axis = {c.axis: results[seeds * i : seeds * (i + 1)] for i, c in enumerate(left)}
    return weigh(left, by_axis, grown_from, rule, seed, known)
