"""What the engine and the journal cost: a search of 10,000 trials that take no time.

    python benchmarks/engine_overhead.py [--trials 10000] [--metrics-mb 100]

Prints milliseconds a trial (asking, telling, journal with fsync, choosing by bootstrap), with the
journal on this disk, and the memory before and after; metrics of so many MB lie in the trials' folders
all the while. Nothing is asserted about absolute time.
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from expander.backends.base import Report
from expander.config.settings import BackendConfig, DataConfig, Selection
from expander.config.space import load_space
from expander.engine.loop import search
from expander.runs.events import Problem, RunStarted, SourceLimits
from expander.runs.evidence import pack_bits
from expander.runs.journal import Run
from expander.runs.orders import TrialOrder
from expander.runs.trials import TrialResult
from expander.search.accounting import total

VIDEOS = 240
STEPS = 20
CANDIDATES = 4.4  # a step, as some axes reach their limits: the seeds make up the number of trials


class Instant:
    """A backend whose trials cost nothing and leave metrics behind."""

    def __init__(self, metrics: str) -> None:
        self.metrics = metrics
        self.spent = 0.0

    def __enter__(self) -> Instant:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to release."""

    def run(self, orders: Sequence[TrialOrder], report: Report) -> None:
        """Every trial right on as many videos as its cost has digits, and more with its seed."""
        for order in orders:
            begun = time.perf_counter()
            folder = Path(order.folder) / "trials" / order.trial.folder
            folder.mkdir()
            (folder / "metrics.jsonl").write_text(self.metrics)
            right = 60 + 5 * order.trial.step + order.trial.seed % 7
            bits = pack_bits(video < right for video in range(VIDEOS))
            result = TrialResult(order.trial.id, right / VIDEOS, 1.0, 1.0, VIDEOS, bits, 100, 1.0)
            self.spent += time.perf_counter() - begun
            report(result)


def fsync_seconds(file: Path, count: int = 200) -> float:
    """Of one short append that is on the disk when it returns."""
    begun = time.perf_counter()
    for _ in range(count):
        with file.open("ab") as opened:
            opened.write(b"x" * 400)
            opened.flush()
            os.fsync(opened.fileno())
    return (time.perf_counter() - begun) / count


def main() -> None:
    """Runs the search and prints one line a quantity."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--metrics-mb", type=float, default=100)
    given = parser.parse_args()
    seeds = max(1, math.ceil(given.trials / (CANDIDATES * STEPS)))
    space = load_space("x3d")
    space = replace(space, base=space.start.with_classes(1).base)
    problem = Problem(space, 10**15, SourceLimits(10**6, 10**5), Selection(seeds=seeds), max_steps=STEPS)
    start = RunStarted(problem, DataConfig(), BackendConfig(), "f00d", ("a",))
    with tempfile.TemporaryDirectory(dir=".") as folder:
        run = Run(Path(folder) / "run")
        run.create()
        run.append(start)
        backend = Instant("x" * int(given.metrics_mb * 1e6 / given.trials))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        begun, cpu = time.perf_counter(), time.process_time()
        state = search(run, backend, lambda *_: None)
        seconds, cpu = time.perf_counter() - begun - backend.spent, time.process_time() - cpu
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        trials = total(run.events()).trials
        size = run.journal.stat().st_size
        disk = fsync_seconds(Path(folder) / "appended")
    assert state.finished is not None
    print(f"trials {trials}, steps {len(state.path)}, journal {size / 1e6:.1f} MB")
    print(f"engine {1000 * seconds / trials:.3f} ms a trial ({1000 * cpu / trials:.3f} ms of it CPU, "
          f"{1000 * disk:.3f} ms a durable append to this disk)")
    memory = f"memory {before / 1024:.0f} MB before, {after / 1024:.0f} MB at most"
    print(f"{memory}; metrics {given.metrics_mb:g} MB")


if __name__ == "__main__":
    main()
