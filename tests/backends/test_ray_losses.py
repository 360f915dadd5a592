"""Nodes that are taken away again and again cost a search nothing; a worker that dies by itself counts."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Run, decisions
from ray_searches import LONG, Cluster, Start, clustered, events, journal, searches

pytestmark = pytest.mark.slow


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with searches(tmp_path) as search:
        yield search


def test_losses_of_nodes_do_not_count_where_a_trial_came_on_and_of_workers_alone_do(
    expander: Run, start: Start, brief: list[str], tmp_path: Path, environment: dict[str, str]
) -> None:
    """One retry is allowed, and a trial loses three nodes; then one that loses two workers has failed."""
    done = expander(*brief, *LONG, "--run", "whole", "--backend", "inline")
    assert done.returncode == 0, done.stderr
    with clustered(environment, tmp_path) as cluster:
        place = ["--ray-address", cluster.address, "--storage-path", str(tmp_path / "shared")]
        search = start([*brief, *LONG, *place, "--run", "nodes"], cluster.more)
        trial, step = None, 0
        for _ in range(3):
            row = search.in_trial(of=trial, beyond=step)
            trial, step = str(row["trial"]), int(str(row["reached"]))
            lose_node(cluster, int(str(row["pid"])))
        code, told = search.end()
        assert code == 0, told
        assert told.count(f"{trial}: its node is gone; it goes on elsewhere") == 3
        assert decisions(journal(tmp_path, "nodes")) == decisions(journal(tmp_path, "whole"))

        search = start([*brief, *LONG, *place, "--run", "workers", "--max-trials", "1"],
                       cluster.more)  # fmt: skip
        trial, step = None, 0
        for _ in range(2):
            row = search.in_trial(of=trial, beyond=step)
            trial, step = str(row["trial"]), int(str(row["reached"]))
            os.kill(int(str(row["pid"])), signal.SIGKILL)
        _, told = search.end()
    assert f"{trial}: its worker is gone; it goes on elsewhere" in told
    failed = [event["failure"]["trial"] for event in events(journal(tmp_path, "workers"))
              if "failure" in event]  # fmt: skip
    assert failed == [trial]


def lose_node(cluster: Cluster, pid: int) -> None:
    """Another one comes for it."""
    cluster.kill_node(pid)
    cluster.add_node()
