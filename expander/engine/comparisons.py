"""Specs trained beside a run, with its recipe, data and seeds: baselines, contractions.

What came of them is kept in the run folder, a JSON object a line (`ComparisonTrial`), and not trained again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from expander.backends.base import Backend
from expander.engine.loop import order_of
from expander.errors import DataError, disk_faults
from expander.runs.events import (
    Candidate,
    RunStarted,
    Trial,
    TrialFailure,
    TrialResult,
    from_json,
    make_trial,
    to_json,
)
from expander.runs.journal import Run
from expander.specs.cost_kinds import Cost
from expander.specs.spec import Spec

BASELINES, CONTRACTIONS = "baselines.jsonl", "contractions.jsonl"


@dataclass(frozen=True, slots=True)
class ComparisonTrial:
    """One training. kind: random, compound, single-axis, contraction. name: of the spec among its kind.

    target: the cost it was made for. Either result or failure is there.
    """

    kind: str
    name: str
    target: float
    spec: Spec
    cost: Cost
    seed: int
    result: TrialResult | None = None
    failure: TrialFailure | None = None


def tries(file: Path) -> list[ComparisonTrial]:
    """All that was tried, a torn last line left out. Raises DataError naming a bad line."""
    if not file.exists():
        return []
    found = []
    for number, line in enumerate(file.read_text().split("\n")[:-1], 1):
        try:
            found.append(from_json(ComparisonTrial, line))
        except ValidationError:
            raise DataError(f"{file}:{number}: not a trial; delete that line") from None
    return found


def try_out(
    run: Run, start: RunStarted, file: Path, kind: str, target: float, wanted: Sequence[Candidate], step: int,
    backend: Callable[[], Backend], on_result: Callable[[ComparisonTrial], None],
) -> list[ComparisonTrial]:  # fmt: skip
    """Trains the specs of `wanted` (named by their axis) with each seed of the run, what is new of them.

    Returns all of them, in order. The caller holds the run's lock. Raises as the backend does.
    """
    seeds = range(start.problem.seed, start.problem.seed + start.problem.selection.seeds)
    trials = {make_trial(step, c.axis, c.spec, seed): c for c in wanted for seed in seeds}
    known = {(t.name, t.spec, t.seed): t for t in tries(file)}
    missing = {trial.id: trial for trial in trials if _key(trial) not in known}

    def report(outcome: TrialResult | TrialFailure) -> None:
        trial = missing[outcome.trial]
        candidate = trials[trial]
        result, failure = (outcome, None) if isinstance(outcome, TrialResult) else (None, outcome)
        tried = ComparisonTrial(kind, trial.axis, target, trial.spec, candidate.cost, trial.seed, result,
                                failure)  # fmt: skip
        _append(file, tried)
        known[_key(trial)] = tried
        on_result(tried)

    if missing:
        folder = run.folder.resolve()
        with backend() as entered:
            entered.run([order_of(start, trial, folder) for trial in missing.values()], report)
    return [known[_key(trial)] for trial in trials]


def _key(trial: Trial) -> tuple[str, Spec, int]:
    return trial.axis, trial.spec, trial.seed


def _append(file: Path, tried: ComparisonTrial) -> None:
    with disk_faults(file):
        if file.exists() and not (text := file.read_bytes()).endswith(b"\n") and text:
            os.truncate(file, text.rfind(b"\n") + 1)
        with file.open("a") as out:
            out.write(to_json(tried) + "\n")
            out.flush()
            os.fsync(out.fileno())
