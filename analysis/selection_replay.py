"""What would other selection rules have chosen, and what would they have spent?

    python analysis/selection_replay.py runs/mine [runs/mine2 ...]      # seconds, trains nothing

The trials of finished runs (of one space and one data set) are a table; every rule searches on it
again. A rule that asks for a trial that no run has ends there, and the row says so: what it was worth
up to there can be compared, what came after is not known. Runs with several seeds and rungs answer
more. Trials that went through rungs count once, by the steps they were trained for.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from expander.config.settings import Selection
from expander.errors import UsageError
from expander.runs.events import Candidate, Problem, RunStarted, TrialFinished
from expander.runs.journal import Run
from expander.runs.trials import Trial, TrialResult, rung_of
from expander.search.controller import State, ask, candidates_of, replay, tell
from expander.specs.cost import cost

Table = Mapping[tuple[str, int, int | None], TrialResult]
"""Results by spec id, seed and rung."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a rule did. missing: the first trial it asked for that no run has, or nothing."""

    path: tuple[Candidate, ...]
    accuracy: float
    trials: int
    steps: int
    missing: str


def main() -> None:
    """Prints one row a rule."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("runs", nargs="+", type=Path)
    problem, table = gather([Run(folder) for folder in parser.parse_args().runs])
    print(results_text(problem, table))


def gather(runs: Iterable[Run]) -> tuple[Problem, Table]:
    """The problem of the first run and the results of all. Raises UsageError where they differ."""
    first: RunStarted | None = None
    table: dict[tuple[str, int, int | None], TrialResult] = {}
    for run in runs:
        for event in run.events():
            if isinstance(event, RunStarted):
                first = first or event
                same = event.problem.space == first.problem.space
                if not same or event.data_fingerprint != first.data_fingerprint:
                    raise UsageError(f"{run.folder}: another space or data set than the first run's")
            elif isinstance(event, TrialFinished):
                _, _, seed, spec = event.result.trial.split("-")[:4]
                until = rung_of(event.result.trial)
                table[spec, int(seed.removeprefix("seed")), until] = event.result
    if first is None:
        raise UsageError("no run has begun")
    return first.problem, table


def rules(table: Table, total: int) -> dict[str, Selection]:
    """The rules that this table may answer; total: steps of a whole trial."""
    counts = Counter(spec for spec, _, until in table if until is None)
    seeds, most = min(counts.values()), max(counts.values())
    steps = {until for _, _, until in table if until is not None}
    found = {
        "argmax, one seed": Selection(score="accuracy", confidence=1e-9),
        "accuracy with ties, one seed": Selection(score="accuracy"),
        "gain per doubling, one seed": Selection(),
    }
    if seeds > 1:
        found[f"gain per doubling, {seeds} seeds"] = Selection(seeds=seeds)
    if most > 2:
        found[f"racing, 2 to {most} seeds"] = Selection(seeds=2, max_seeds=most)
    if steps:
        shares = tuple(step / total for step in sorted(steps))
        found["gain per doubling with rungs, one seed"] = Selection(rungs=shares)
    return found


def play(problem: Problem, table: Table) -> Outcome:
    """A search on the table by the rule of `problem`."""
    state, trained = replay([]), dict[str, int]()
    while step := ask(problem, state, cost):
        if isinstance(step, tuple):
            found = [(trial, _look_up(table, trial)) for trial in step]
            missing = next((trial.id for trial, result in found if result is None), "")
            if missing:
                return _outcome(state, trained, missing)
            for trial, result in found:
                assert result is not None
                steps = trial.until or problem.space.proxy.steps
                trained[trial.folder] = max(trained.get(trial.folder, 0), steps)
                state = tell(state, TrialFinished(trial.step, replace(result, trial=trial.id)))
        else:
            state = tell(state, step)
    return _outcome(state, trained, "")


def _look_up(table: Table, trial: Trial) -> TrialResult | None:
    return table.get((trial.spec.id, trial.seed, trial.until))


def _outcome(state: State, trained: Mapping[str, int], missing: str) -> Outcome:
    accuracy = state.accuracies[-1] if state.accuracies else 0.0
    return Outcome(state.path, accuracy, len(trained), sum(trained.values()), missing)


def beam(problem: Problem, table: Table, width: int) -> Outcome:
    """The `width` most accurate specs of each step are all expanded; what the table lacks is left out."""
    start = problem.space.start
    kept = [(Candidate("base", start, cost(start), 1.0),)]
    trained, missing = {start.id: problem.space.proxy.steps}, ""

    def accuracy(path: tuple[Candidate, ...]) -> float:
        return table[path[-1].spec.id, problem.seed, None].accuracy

    while True:
        grown = []
        for path in kept:
            if path[-1].cost.of(problem.cost) < problem.target:
                for candidate in candidates_of(problem, path[-1].spec, cost)[0]:
                    if (candidate.spec.id, problem.seed, None) in table:
                        grown.append((*path, candidate))
                    else:
                        missing = missing or f"{candidate.axis} after {path[-1].axis}"
        if not grown:
            best = max(kept, key=accuracy)
            return Outcome(best, accuracy(best), len(trained), sum(trained.values()), missing)
        trained |= {path[-1].spec.id: problem.space.proxy.steps for path in grown}
        kept = sorted(grown, key=accuracy, reverse=True)[:width]


def results_text(problem: Problem, table: Table) -> str:
    """One row a rule: trials, thousand clips, path, cost and accuracy of its last spec, what was missing."""
    rows = []
    for name, rule in rules(table, problem.space.proxy.steps).items():
        rows.append(_row(name, problem, play(replace(problem, selection=rule), table)))
    rows.append(_row("beam 2, one seed", problem, beam(problem, table, 2)))
    return pd.DataFrame(rows).to_string(index=False)


def _row(name: str, problem: Problem, found: Outcome) -> dict[str, object]:
    return {
        "rule": name,
        "trials": found.trials,
        "k clips": round(found.steps * problem.space.proxy.batch / 1000),
        "path": " ".join(step.axis for step in found.path[1:]),
        "M cost": round(found.path[-1].cost.macs / 1e6, 4) if found.path else 0,
        "accuracy": round(100 * found.accuracy, 1),
        "ended": f"needs {found.missing}" if found.missing else "at the target",
    }


if __name__ == "__main__":
    main()
