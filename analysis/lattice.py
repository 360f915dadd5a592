"""A table of trained specs on which whole searches are replayed in seconds (`analysis/regret.py`).

A row is one training of one spec on the embedded videos: its factors, optimiser steps, seed, accuracy,
loss, and one bit per validation video, so that a replayed search has all the evidence of a real one.

    python analysis/lattice.py                 # what the table has
    python analysis/lattice.py --train         # adds what it lacks, hours; resumable

It has every spec that the tiny space reaches in STEPS steps, as proxies with SEEDS seeds; the LONGEST most
accurate specs of the target's cost in long trainings; and what the rules of `regret.py` ask for besides.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass, replace
from pathlib import Path

from expander.config.load import load_settings
from expander.config.settings import DataConfig
from expander.data.sources import open_data, source_limits
from expander.engine.preparation import Goal, problem_of
from expander.runs.events import Problem
from expander.runs.journal import write_atomic
from expander.runs.machine import cores
from expander.runs.orders import TrialOrder
from expander.runs.trials import TrialFailure, TrialResult, make_trial
from expander.runs.workers import worker_pool
from expander.search.contraction import TOLERANCE
from expander.search.controller import candidates_of
from expander.specs.cost import cost
from expander.specs.spec import AXES, Spec
from expander.training.proxy.trial import run_trial

TARGET = 1.1e6
"""Multiply-adds of the demo's target."""

VALUES = ("accuracy", "loss", "correct")
FIELDS = (*AXES, "steps", "seed", *VALUES)

EVERY = 4
"""Trainings between two writes of the table."""

SEEDS = 3
"""Proxies of a spec."""
LONG = 4
"""A long training is so many times a proxy's."""
JUDGES = 2
"""Long trainings of a spec that are its judge."""
STEPS = 3
"""Expansions from the base to the specs of the table."""
LONGEST = 60
"""Specs with long trainings."""


@dataclass(frozen=True, slots=True)
class Training:
    """One training of a spec: so many optimiser steps, with this seed."""

    spec: Spec
    steps: int
    seed: int


def problem() -> Problem:
    """That of `make demo`."""
    settings = load_settings("tiny", (), {})
    data = open_data(DataConfig())
    limits = source_limits(data, DataConfig())
    return problem_of(settings, Goal("flops", TARGET), len(data.classes), limits)


class Lattice:
    """The table in a file. Specs are of one base; a training that has no row is None."""

    def __init__(self, file: Path, of: Problem) -> None:
        self.file, self.problem = file, of
        self.rows: dict[Training, TrialResult] = {}
        if file.exists():
            with gzip.open(file, "rt", newline="") as lines:
                for row in csv.DictReader(lines):
                    factors = {axis: float(row[axis]) for axis in AXES}
                    key = Training(replace(of.space.start, **factors), int(row["steps"]), int(row["seed"]))
                    self.rows[key] = _result(float(row["accuracy"]), float(row["loss"]), row["correct"])

    def get(self, training: Training) -> TrialResult | None:
        """The result of a training, if the table has it."""
        return self.rows.get(training)

    def mean(self, trainings: Sequence[Training]) -> float | None:
        """Mean accuracy of trainings; none if one has no row."""
        found = [self.rows[key].accuracy for key in trainings if key in self.rows]
        return sum(found) / len(found) if len(found) == len(trainings) else None

    def train(self, wanted: Iterable[Training]) -> None:
        """Adds what is missing, a process a core, and writes the table now and then."""
        left = [training for training in dict.fromkeys(wanted) if training not in self.rows]
        data = open_data(DataConfig())
        with tempfile.TemporaryDirectory() as folder, worker_pool(cores()) as pool:
            futures = {}
            for training in left:
                recipe = replace(self.problem.space.proxy, steps=training.steps)
                trial = make_trial(0, f"of{training.steps}", training.spec, training.seed)
                order = TrialOrder(trial, recipe, DataConfig(), data.classes, data.fingerprint, folder, 1)
                futures[pool.submit(run_trial, order)] = training
            for number, done in enumerate(as_completed(futures), 1):
                outcome = done.result()
                if isinstance(outcome, TrialFailure):
                    raise RuntimeError(f"{outcome.trial}: {outcome.reason}")
                self.rows[futures[done]] = outcome
                if number % EVERY == 0:
                    self.save()
        self.save()

    def save(self) -> None:
        """Writes the table, sorted: the same rows are the same bytes."""
        text = io.StringIO()
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow(FIELDS)
        for key in sorted(self.rows, key=lambda k: (*(getattr(k.spec, a) for a in AXES), k.steps, k.seed)):
            found = self.rows[key]
            factors = (f"{getattr(key.spec, axis):.17g}" for axis in AXES)
            lines.writerow((*factors, key.steps, key.seed, *(getattr(found, name) for name in VALUES)))
        write_atomic(self.file, gzip.compress(text.getvalue().encode(), 9, mtime=0))


def reached(of: Problem) -> list[Spec]:
    """The base and all that up to STEPS expansions make of it; what reached the target grows no further."""
    layer, found = [of.space.start], {of.space.start: None}
    for _ in range(STEPS):
        below = [spec for spec in layer if cost(spec).of(of.cost) < of.target]
        layer = list(dict.fromkeys(c.spec for spec in below for c in candidates_of(of, spec, cost)[0]))
        found |= dict.fromkeys(layer)
    return list(found)


def proxies(of: Problem, specs: Iterable[Spec]) -> list[Training]:
    """SEEDS proxies of every spec, seed by seed."""
    steps, listed = of.space.proxy.steps, list(specs)
    return [Training(spec, steps, seed) for seed in range(SEEDS) for spec in listed]


def long(of: Problem, specs: Iterable[Spec]) -> list[Training]:
    """JUDGES long trainings of every spec, seed by seed."""
    steps, listed = LONG * of.space.proxy.steps, list(specs)
    return [Training(spec, steps, seed) for seed in range(JUDGES) for spec in listed]


def of_target(lattice: Lattice) -> list[Spec]:
    """Specs of the table within TOLERANCE below the target, the most accurate by its proxies first."""
    of, found = lattice.problem, dict[Spec, list[float]]()
    for key, result in lattice.rows.items():
        share = cost(key.spec).of(of.cost) / of.target
        if key.steps == of.space.proxy.steps and 1 - TOLERANCE <= share <= 1:
            found.setdefault(key.spec, []).append(result.accuracy)
    return sorted(found, key=lambda spec: -sum(found[spec]) / len(found[spec]))


def _result(accuracy: float, loss: float, correct: str) -> TrialResult:
    return TrialResult("", accuracy, loss, 0.0, round(len(correct) * 4), correct, 0, 0.0)


def _complete(lattice: Lattice, wanted: Sequence[Training], train: bool) -> None:
    if train:
        lattice.train(wanted)
    there = sum(training in lattice.rows for training in wanted)
    print(f"{there} of {len(wanted)} trainings of {wanted[0].steps} steps", flush=True)


def main() -> None:
    """Trains, or says what the table has."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--table", type=Path, default=Path(__file__).with_name("lattice.csv.gz"))
    parser.add_argument("--train", action="store_true")
    given = parser.parse_args()
    lattice = Lattice(given.table, problem())
    of = lattice.problem
    _complete(lattice, proxies(of, reached(of)), given.train)
    _complete(lattice, long(of, of_target(lattice)[:LONGEST]), given.train)


if __name__ == "__main__":
    main()
