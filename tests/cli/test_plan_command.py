"""search --dry-run --cluster: what it says, what it refuses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import Run

PLAN = ["search", "--target-gflops", "2", "--dry-run", "--cluster"]


def test_a_plan_says_steps_and_hours_and_leaves_nothing_behind(expander: Run, tmp_path: Path) -> None:
    done = expander(*PLAN, "8 nodes x 8 gpus", "--clips-per-second", "400")
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("plan: ")]
    assert lines[0].startswith("plan: step 0 (base): 3 trials, about ")
    assert "8 x 8 trials at a time" in lines[-2]
    found = re.search(r"about (\S+) (min|h) .* GPU hours of ([\d.]+) that the cluster has", lines[-2])
    assert found is not None
    hours = float(found[1]) / (60 if found[2] == "min" else 1)
    assert float(found[3]) == pytest.approx(64 * hours, rel=0.05)
    assert "a step has at most 6 trials, for 64 places" in lines[-1]
    assert "This machine has no GPU" not in done.stdout  # nothing is asked of this machine
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["8x8"], "say it as '8 nodes x 8 gpus'"),
        (["0 nodes x 8 gpus"], "say it as"),
        (["2 nodes x 1 gpu", "--gpus-per-trial", "2", "--clips-per-second", "9"], "a trial takes 2 GPUs"),
        (["2 nodes x 4 gpus", "--gpus-per-trial", "0", "--clips-per-second", "9"], "--gpus-per-trial 0"),
        (["2 nodes x 2 cpus", "--backend", "inline"], "leave out --backend inline"),
    ],
)  # fmt: skip
def test_a_cluster_that_cannot_be_is_refused(expander: Run, arguments: list[str], said: str) -> None:
    done = expander(*PLAN, *arguments)
    assert done.returncode == 2
    assert said in done.stderr


def test_the_options_of_a_plan_need_each_other(expander: Run) -> None:
    alone = expander("search", "--target-gflops", "2", "--dry-run", "--clips-per-second", "9")
    assert alone.returncode == 2
    assert "go with --dry-run --cluster" in alone.stderr
    wet = expander("search", "--target-gflops", "2", "--cluster", "2 nodes x 2 cpus")
    assert wet.returncode == 2
    assert "add --dry-run" in wet.stderr
