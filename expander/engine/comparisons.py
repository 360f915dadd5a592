"""Specs trained beside a run, with its recipe, data and seeds: baselines, contractions.

What came of them is kept in the run folder, a JSON object a line (`ComparisonTrial`), and not trained again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from expander.backends.base import Backend
from expander.config.reading import is_there
from expander.engine.loop import order_of
from expander.errors import DataError
from expander.runs.checks import check_cost, check_result, require
from expander.runs.events import Candidate, RunStarted, from_json, to_json
from expander.runs.journal import Run
from expander.runs.names import is_plain
from expander.runs.sealed_lines import RESTORE, SEALED_SINCE, SealedLines
from expander.runs.trials import Trial, TrialFailure, TrialResult, make_trial, rung_of
from expander.search.controller import State
from expander.search.selection import difference
from expander.specs.cost_kinds import Cost
from expander.specs.spec import Spec

BASELINES, CONTRACTIONS = "baselines.jsonl", "contractions.jsonl"
WHAT = "a trial"
AGAIN = "found again"
"""Kind of the network that a search ended with, trained with seeds by which nothing was chosen."""


@dataclass(frozen=True, slots=True)
class ComparisonTrial:
    """One training. kind: random, compound, single-axis, contraction, AGAIN.

    name: of the spec among its kind. target: the cost it was made for. Either result or failure is there.
    """

    kind: str
    name: str
    target: float
    spec: Spec
    cost: Cost
    seed: int
    result: TrialResult | None = None
    failure: TrialFailure | None = None


def tries(file: Path, persons: int | None = None) -> list[ComparisonTrial]:
    """All that was tried, a torn last line left out. Raises DataError naming a bad line.

    persons: of the problem, that costs count.
    """
    if not is_there(file):
        return []
    found = []
    for number, line in SealedLines(file, WHAT).read():
        try:
            found.append(_tried(line, persons))
        except ValueError as error:
            why = "not a trial" if isinstance(error, ValidationError) else str(error)
            raise DataError(f"{file}:{number}: {why}; {RESTORE}") from None
    return found


def _tried(line: bytes, persons: int | None) -> ComparisonTrial:
    """Raises ValueError for what is no trial, or one of values that cannot be."""
    tried: ComparisonTrial = from_json(ComparisonTrial, line)
    require(is_plain(tried.name), f"{tried.name[:60]!r} is no name of a spec")
    require((tried.result is None) != (tried.failure is None), "neither result nor failure, or both")
    check_cost(tried.spec, tried.cost, persons)
    if tried.result is not None:
        check_result(tried.result)
    return tried


@dataclass(frozen=True, slots=True)
class Advantage:
    """Of a network over the mean of others: lead, low, high in accuracy.

    ours, accuracy, best: its own, that mean, and the best of the others.
    """

    kind: str
    count: int
    ours: float
    accuracy: float
    best: float
    lead: float
    low: float
    high: float


def advantages(
    start: RunStarted, state: State, tried: Sequence[ComparisonTrial], near: float
) -> list[Advantage]:
    """What a search gained over each kind of baseline whose cost is within a share `near` of what it found.

    The interval counts videos and seeds, as those of a step. A spec of which a seed failed is left out.
    """
    ours = results_of(state, tried)
    kind = start.problem.cost
    last = state.path[-1].cost.of(kind)
    specs: dict[str, dict[Spec, list[ComparisonTrial]]] = {}
    for each in tried:
        if each.kind != AGAIN and abs(each.cost.of(kind) / last - 1) <= near:
            specs.setdefault(each.kind, {}).setdefault(each.spec, []).append(each)
    found = []
    for number, (name, by_spec) in enumerate(specs.items()):
        whole = [[t.result for t in tries if t.result is not None] for tries in by_spec.values()]
        others = [results for results, tries in zip(whole, by_spec.values(), strict=True)
                  if len(results) == len(tries)]  # fmt: skip
        if not others:
            continue
        if any(r.videos != ours[0].videos for results in others for r in results):
            raise DataError(f"{name}: not tested on the {ours[0].videos} videos of the search")
        means = [sum(result.accuracy for result in results) / len(results) for results in others]
        chance = (start.problem.seed, number)
        lead = difference(ours, others, start.problem.selection, chance, state.spread)
        own = sum(result.accuracy for result in ours) / len(ours)
        found.append(Advantage(name, len(others), own, sum(means) / len(means), max(means), *lead))
    return found


def results_of(state: State, tried: Sequence[ComparisonTrial]) -> list[TrialResult]:
    """Of what a search ended with: trained again, where it was; else those by which it was chosen.

    The best of several is, by chance alone, better than it will be again.
    """
    spec = state.path[-1].spec
    again = [t.result for t in tried if t.kind == AGAIN and t.spec == spec and t.result is not None]
    return again or [result for result in state.current if rung_of(result.trial) is None]


def try_out(
    run: Run, start: RunStarted, file: Path, kind: str, target: float, wanted: Sequence[Candidate], step: int,
    backend: Callable[[], Backend], on_result: Callable[[ComparisonTrial], None], count: int | None = None,
) -> list[ComparisonTrial]:  # fmt: skip
    """Trains the specs of `wanted` (named by their axis) with so many seeds, what is new of them.

    count: of seeds; as many as the run has for a candidate when None. Of kind AGAIN, seeds that the run has
    not had. Returns all of them, in order. The caller holds the run's lock. Raises as the backend does.
    """
    rule = start.problem.selection
    first = start.problem.seed + (max(rule.most_seeds, rule.base_seeds) if kind == AGAIN else 0)
    seeds = range(first, first + (count or rule.seeds))
    trials = {make_trial(step, c.axis, c.spec, seed): c for c in wanted for seed in seeds}
    known = {(t.name, t.spec, t.seed): t for t in tries(file, start.problem.persons)}
    missing = {trial.id: trial for trial in trials if _key(trial) not in known}
    lines = SealedLines(file, WHAT)

    def report(outcome: TrialResult | TrialFailure) -> None:
        trial = missing[outcome.trial]
        candidate = trials[trial]
        result, failure = (outcome, None) if isinstance(outcome, TrialResult) else (None, outcome)
        tried = ComparisonTrial(
            kind, trial.axis, target, trial.spec, candidate.cost, trial.seed, result, failure
        )
        text = f'{{"schema": {SEALED_SINCE},{to_json(tried)[1:]}'
        lines.append(text, sync=True)
        known[_key(trial)] = tried
        on_result(tried)

    if missing:
        folder = run.folder.resolve()
        with backend() as entered:
            entered.run([order_of(start, trial, folder) for trial in missing.values()], report)
    return [known[_key(trial)] for trial in trials]


def _key(trial: Trial) -> tuple[str, Spec, int]:
    return trial.axis, trial.spec, trial.seed


