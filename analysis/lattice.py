"""A table of trained specs on which whole searches are replayed in seconds (`analysis/regret.py`).

A row is one training of one spec on the embedded videos: its factors, optimiser steps, seed, accuracy,
loss, and one bit per validation video, so that a replayed search has all the evidence of a real one.
The table is trained on demand: rules ask for what they need, and what is missing is added.
"""

from __future__ import annotations

import csv
import gzip
import io
import multiprocessing
import tempfile
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

from expander.config.load import load_settings
from expander.config.settings import DataConfig
from expander.data.sources import open_data, source_limits
from expander.engine.preparation import Goal, problem_of
from expander.runs.events import Problem
from expander.runs.journal import write_atomic
from expander.runs.machine import begin_worker, cores
from expander.runs.orders import TrialOrder
from expander.runs.trials import TrialFailure, TrialResult, make_trial
from expander.specs.spec import AXES, Spec
from expander.training.proxy.trial import run_trial

TARGET = 1.1e6
"""Multiply-adds of the demo's target."""

VALUES = ("accuracy", "loss", "correct")
FIELDS = (*AXES, "steps", "seed", *VALUES)

EVERY = 4
"""Trainings between two writes of the table."""


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

    def train(self, wanted: Iterable[Training]) -> None:
        """Adds what is missing, a process a core, and writes the table now and then."""
        left = [training for training in dict.fromkeys(wanted) if training not in self.rows]
        data = open_data(DataConfig())
        spawned = multiprocessing.get_context("spawn")
        with (
            tempfile.TemporaryDirectory() as folder,
            ProcessPoolExecutor(cores(), spawned, begin_worker) as pool,
        ):
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


def _result(accuracy: float, loss: float, correct: str) -> TrialResult:
    return TrialResult("", accuracy, loss, 0.0, round(len(correct) * 4), correct, 0, 0.0)
