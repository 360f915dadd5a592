"""What the search itself costs: a simulated run of 10,000 trials, journal and all, no training.

    python benchmarks/controller.py                # about a minute
    python benchmarks/controller.py --trials 1000

Prints, step by step, the milliseconds a trial that the engine takes (asking, telling, choosing,
writing the journal with an fsync an event) and the memory it holds; then the time to replay it all.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from expander.backends.base import Report
from expander.config import BackendConfig, DataConfig, Selection
from expander.engine import search, state_of
from expander.records import (
    Event,
    Problem,
    RunStarted,
    SourceLimits,
    StepChosen,
    TrialOrder,
    TrialResult,
)
from expander.search.controller import State
from expander.space import load_space
from expander.store import Run

VIDEOS = 600
AXES, STEPS = 6, 8


class SimulatedBackend:
    """Answers every order at once with a random result; counts the time that takes."""

    def __init__(self) -> None:
        self.rng, self.seconds = random.Random(0), 0.0

    def __enter__(self) -> SimulatedBackend:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to release."""

    def run(self, orders: Sequence[TrialOrder], report: Report) -> None:
        """See backends.base.Backend."""
        for order in orders:
            begun = time.perf_counter()
            bits = f"{self.rng.getrandbits(VIDEOS):0{VIDEOS // 4}x}"
            right = int(bits, 16).bit_count() / VIDEOS
            result = TrialResult(order.trial.id, right, 1.0, 1.0, VIDEOS, bits, 16000, 10.0)
            self.seconds += time.perf_counter() - begun
            report(result)


@dataclass(frozen=True, slots=True)
class Row:
    """Of one step: trials so far, milliseconds of wall and CPU time a trial, megabytes held."""

    step: int
    trials: int
    wall_ms: float
    cpu_ms: float
    held_mb: float


class Meter:
    """Listens to a search and makes a row a step."""

    def __init__(self, backend: SimulatedBackend) -> None:
        self.backend = backend
        self.rows: list[Row] = []
        self.trials = self.before = 0
        self._start()

    def _start(self) -> None:
        self.wall, self.cpu, self.simulated = time.perf_counter(), time.process_time(), self.backend.seconds

    def __call__(self, event: Event, _: State) -> None:
        """One event that was just recorded."""
        self.trials += event.event == "trial_finished"
        if isinstance(event, StepChosen):
            count, simulated = self.trials - self.before, self.backend.seconds - self.simulated
            wall = time.perf_counter() - self.wall - simulated
            cpu = time.process_time() - self.cpu - simulated
            held = tracemalloc.get_traced_memory()[0] / 1e6
            self.rows.append(Row(event.step, self.trials, 1000 * wall / count, 1000 * cpu / count, held))
            self.before = self.trials
            self._start()


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, help="Where to make the run folder.")
    arguments = parser.parse_args()
    seeds = max(1, round(arguments.trials / (AXES * STEPS)))
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        simulate(Run(Path(folder)), seeds)


def simulate(run: Run, seeds: int) -> None:
    """Runs a search of STEPS steps with so many seeds a candidate, twice: for time, then for memory."""
    space = load_space("x3d_balanced")
    problem = Problem(space, 1e12, SourceLimits(300, 320), Selection(seeds=seeds), max_steps=STEPS)
    run.create()
    run.append(RunStarted(problem, DataConfig(), BackendConfig("inline"), "f00d", ("a",)))
    backend = SimulatedBackend()
    meter = Meter(backend)
    search(run, backend, meter)
    begun = time.perf_counter()
    state_of(run)
    replayed = time.perf_counter() - begun
    print(pd.DataFrame(meter.rows).drop(columns="held_mb").round(3).to_string(index=False))
    size = run.journal.stat().st_size / 1e6
    each = 1000 * replayed / meter.trials
    print(f"journal: {size:.1f} MB, replayed in {replayed:.2f} s ({each:.3f} ms a trial)")
    run.journal.unlink()
    run.append(RunStarted(problem, DataConfig(), BackendConfig("inline"), "f00d", ("a",)))
    tracemalloc.start()
    backend = SimulatedBackend()
    meter = Meter(backend)
    search(run, backend, meter)
    print(pd.DataFrame(meter.rows)[["step", "trials", "held_mb"]].round(2).to_string(index=False))
    print(f"peak: {tracemalloc.get_traced_memory()[1] / 1e6:.1f} MB")
    tracemalloc.stop()


if __name__ == "__main__":
    main()
