"""How long the tables of a long run take, from its journal on disk.

    python benchmarks/report_tables.py --trials 10000

The journal: steps of 6 candidates with 5 seeds each, 300 validation videos. Prints seconds of wall and
of processor time for reading the journal and making all tables of it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from expander.config.settings import BackendConfig, DataConfig, Selection
from expander.config.space import load_space
from expander.report.reader import history
from expander.report.tables import decisions, frontier, steps, trials
from expander.runs.events import (
    SCHEMA,
    Candidate,
    Problem,
    RunStarted,
    SourceLimits,
    StepPlanned,
    TrialFinished,
    to_json,
)
from expander.runs.journal import Run
from expander.runs.trials import TrialResult
from expander.search.controller import trials as trials_of
from expander.specs.cost import cost
from expander.specs.spec import AXES

SEEDS = 5


def write(run: Run, count: int) -> None:
    """A journal of at least `count` trials, without the decisions between them."""
    space = load_space("tiny")
    space = replace(space, base=space.start.with_classes(2).base)
    problem = Problem(space, 10**12, SourceLimits(64, 128), Selection(seeds=SEEDS))
    run.create()
    run.append(RunStarted(problem, DataConfig(), BackendConfig(), "0" * 64, ("a", "b")))
    stamp = run.journal.read_text().split('"time": ')[1].split(",")[0]
    for step in range(-(-count // (SEEDS * len(AXES)))):
        specs = {axis: replace(space.start, **{axis: 1.5 + step / 1000}) for axis in AXES}
        candidates = tuple(Candidate(a, s, cost(s), 2.0) for a, s in specs.items())
        plan = StepPlanned(step, "expansion", candidates)
        results = (_result(trial.id) for trial in trials_of(problem, plan))
        for event in (plan, *(TrialFinished(step, result) for result in results)):
            # Without an fsync an event.
            run.lines.append(f'{{"schema": {SCHEMA}, "time": {stamp},{to_json(event)[1:]}')


def _result(trial: str) -> TrialResult:
    return TrialResult(trial, 0.5, 1.0, 1.0, 300, "a" * 75, 100, 1.0)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--trials", type=int, default=10_000)
    count = parser.parse_args().trials
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder) / "long")
        write(run, count)
        wall, processor = time.perf_counter(), time.process_time()
        past = history(run)
        made = [len(table(past)) for table in (trials, decisions, steps, frontier)]
        print(f"{made[0]} trials, {made[1]} candidates: {time.perf_counter() - wall:.2f} s wall, "
              f"{time.process_time() - processor:.2f} s of the processor")  # fmt: skip


if __name__ == "__main__":
    main()
