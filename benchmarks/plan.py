"""Plans against searches: simulates a small search on 1 place, 2 places and 3 nodes, and runs it.

    python benchmarks/plan.py [--steps 100] [--gflops 0.0005] [--cases 1 2 3]

Prints seconds foretold before the run, seconds taken, seconds of the same schedule with the pace that
the trials had, and the ratios: the second ratio tells errors of the schedule from those of the pace. The
3 nodes are Ray nodes of one CPU each, simulated on the cores of this machine, so their trials take as
much longer as they are more than the cores.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

from expander.config.load import load_settings
from expander.engine.preparation import Goal
from expander.engine.search import plan
from expander.report.forecast_check import corrected_pace
from expander.report.reader import history
from expander.runs.journal import Run
from expander.runs.machine import cores
from expander.search.cluster_places import Cluster, Places, Terms
from expander.search.forecast import TrainingSpeed
from expander.search.simulation import simulate
from expander.specs.cost import cost

NODES = 3
SERVE = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
for _ in range(int(sys.argv[1])): cluster.add_node(num_cpus=1)
print(cluster.address, flush=True)
sys.stdin.readline()
cluster.shutdown()
"""


@contextmanager
def nodes(count: int) -> Iterator[str]:
    """The address of a Ray cluster of so many nodes of one CPU on this machine."""
    served = subprocess.Popen([sys.executable, "-c", SERVE, str(count)], text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    try:
        assert served.stdout is not None
        yield served.stdout.readline().strip()
    finally:
        served.communicate("\n")


def simulated(start: object, pace: TrainingSpeed, cluster: Cluster) -> float:
    """Seconds of the median of nine courses."""
    found = []
    for seed in range(9):
        places = Places(cluster, Terms(pace.per_round))
        simulate(start.problem, cost, pace, places, seed)  # type: ignore[attr-defined]
        found.append(places.now)
    return sorted(found)[4]


def crowded(pace: TrainingSpeed, crowd: float) -> TrainingSpeed:
    """With workers that take so much longer to start, for there are more of them than cores."""
    return replace(pace, per_round=crowd * pace.per_round)


def one(case: int, steps: int, gflops: float, folder: Path) -> None:
    """Foretells and runs one case; prints its row."""
    usable = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, usable[: min(case, 2)])
    try:
        _one(case, steps, gflops, folder)
    finally:
        os.sched_setaffinity(0, usable)


def _one(case: int, steps: int, gflops: float, folder: Path) -> None:
    settings = load_settings("tiny", (f"proxy.steps={steps}",), {})
    start, pace = plan(settings, Goal("flops", round(1e9 * gflops)))
    crowd = max(1.0, case / cores())
    pace = crowded(pace.scaled(crowd), crowd)
    cluster = Cluster(case if case == NODES else 1, 1 if case == NODES else case)
    foretold = simulated(start, pace, cluster)
    name, command = f"case{case}", [sys.executable, "-m", "expander.cli", "search", "--space", "tiny"]
    command += ["--target-gflops", str(gflops), "--set", f"proxy.steps={steps}", "--run", name]
    with nodes(case) if case == NODES else nullcontext("") as address:
        if address:
            command += ["--ray-address", address, "--storage-path", str(folder / "shared")]
        begun = time.monotonic()
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        taken = time.monotonic() - begun
    past = history(Run(folder / "runs" / name))
    seen = corrected_pace(past)
    assert seen is not None
    again = simulated(start, crowded(seen, crowd), cluster)
    print(f"{cluster.nodes} x {cluster.places} | foretold {foretold:.0f} s | took {taken:.0f} s | ratio "
          f"{taken / foretold:.2f} | with the pace seen {again:.0f} s | ratio {taken / again:.2f}",
          flush=True)  # fmt: skip


def main() -> None:
    """Every case in turn."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--gflops", type=float, default=0.0005)
    parser.add_argument("--cases", type=int, nargs="+", default=[1, 2, NODES])
    given = parser.parse_args()
    os.environ |= {"RAY_ENABLE_AUTOSCALER_V2": "0", "RAY_AUTH_MODE": "disabled"}
    with tempfile.TemporaryDirectory() as folder:
        for case in given.cases:
            one(case, given.steps, given.gflops, Path(folder))
    print(f"load of the machine: {os.getloadavg()}")


if __name__ == "__main__":
    main()
