"""Faults under a real Ray: workers, its own processes and a node killed, signals, a poor environment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Run, decisions
from forking import run
from ray_searches import LIMIT, LONG, Cluster, Start, clustered, events, journal, searches

from expander.backends.processes import descendants

pytestmark = pytest.mark.slow


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts searches; those that a failed test leaves are killed."""
    with searches(tmp_path) as search:
        yield search


@pytest.fixture(scope="module")
def whole(brief: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What an undisturbed search decides, without Ray."""
    place = tmp_path_factory.mktemp("whole")
    done = run([*brief, *LONG, "--run", "whole", "--backend", "inline"], place)
    assert done.returncode == 0, done.stderr
    return decisions(journal(place, "whole"))


def test_killed_workers_are_retried_from_their_checkpoints(
    start: Start, brief: list[str], tmp_path: Path, whole: list[str]
) -> None:
    search = start([*brief, *LONG, "--run", "r"])
    killed: set[str] = set()
    for _ in range(3):
        attempt = search.in_trial(frozenset(killed))
        killed.add(str(attempt["trial"]))
        os.kill(int(str(attempt["pid"])), signal.SIGKILL)
    code, told = search.end()
    assert code == 0, told
    assert decisions(journal(tmp_path, "r")) == whole
    results = [e["result"] for e in events(journal(tmp_path, "r")) if e["event"] == "trial_finished"]  # type: ignore[comparison-overlap]
    again = {result["trial"] for result in results if result["attempts"] != 1}
    assert again & killed, told
    for trial in again:
        file = tmp_path / "runs" / "r" / "trials" / str(trial) / "attempts.jsonl"
        assert json.loads(file.read_text().splitlines()[-1])["step"] > 0


def test_without_raylet_or_gcs_it_ends_with_exit_6_and_signals_end_it_too(
    start: Start, brief: list[str], tmp_path: Path, whole: list[str]
) -> None:
    again = ["search", "--run", "r", "--resume"]
    search = start([*brief, *LONG, "--run", "r"])
    for name in ("raylet", "gcs_server"):
        search.in_trial()
        victim = next(p for p in descendants(search.process.pid) if p.name == name)
        begun = time.monotonic()
        os.kill(victim.pid, signal.SIGKILL)
        code, told = search.end()
        assert code == 6, told
        assert time.monotonic() - begun < 60
        assert f"{name} is gone" in told
        assert "expander search --run r --resume" in told
        search = start(again)
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        search.in_trial()
        search.process.send_signal(number)
        found, told = search.end()
        assert found == code, told
        assert "expander search --run r --resume" in told
        search = start(again if code == 130 else [*again, "--backend", "inline"])
    code, told = search.end()
    assert code == 0, told
    assert decisions(journal(tmp_path, "r")) == whole


def test_it_runs_with_no_home_a_long_tmpdir_one_cpu_and_the_address_of_another_cluster(
    brief: list[str], tmp_path: Path, environment: dict[str, str]
) -> None:
    long = tmp_path / ("t" * 120)
    long.mkdir()
    poor = {**environment, "HOME": "/dev/null", "TMPDIR": str(long), "RAY_ADDRESS": "192.0.2.1:6379"}
    command = ["taskset", "-c", str(min(os.sched_getaffinity(0))), sys.executable, "-m", "expander.cli"]
    done = subprocess.run(
        [*command, *brief, "--run", "r", "--max-trials", "1"], cwd=tmp_path, env=poor,
        capture_output=True, text=True, check=False, timeout=LIMIT, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 5, done.stderr
    assert "1 at a time" in done.stdout
    assert "spent: 1 trials" in done.stdout


def test_a_node_that_runs_out_of_memory_is_told_as_that(
    expander: Run, brief: list[str]
) -> None:
    """Ray kills workers above its threshold, which is set below what is always used."""
    done = expander(*brief, "--run", "r", RAY_memory_usage_threshold="0.001",
                    RAY_memory_monitor_refresh_ms="100")  # fmt: skip
    assert done.returncode == 5, done.stderr
    assert "out of memory" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def cluster(environment: dict[str, str], tmp_path: Path) -> Iterator[Cluster]:
    with clustered(environment, tmp_path) as made:
        yield made


def test_a_node_lost_in_a_step_costs_nothing(
    start: Start, cluster: Cluster, brief: list[str], tmp_path: Path, whole: list[str]
) -> None:
    shared = tmp_path / "shared"
    place = ["--ray-address", cluster.address, "--storage-path", str(shared)]
    options = [*brief, *LONG, *place, "--run", "r"]
    search = start(options, cluster.more)
    cluster.kill_node(int(str(search.in_trial()["pid"])))
    code, told = search.end()
    assert code == 0, told
    assert decisions(journal(tmp_path, "r")) == whole
    assert (tmp_path / "runs" / "r" / "trials").resolve() == (shared / "r" / "trials").resolve()
    assert list((shared / "r" / "trials").glob("*/weights.safetensors"))
