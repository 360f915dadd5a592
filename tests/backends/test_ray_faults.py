"""Faults under a real Ray: workers, its own processes and a node killed, signals, a poor environment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Run, decisions
from forking import Command

from expander.backends.processes import Process, descendants

pytestmark = pytest.mark.slow
LIMIT = 500  # seconds that nothing here takes even on a busy machine
LONG = ["--set", "proxy.steps=100", "--set", "backend.checkpoint_seconds=0"]
HERE = Path(__file__).parent.parent


def journal(tmp_path: Path, run: str) -> Path:
    return tmp_path / "runs" / run / "journal.jsonl"


def events(file: Path) -> list[dict[str, dict[str, object]]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def until(found: object, process: Command) -> bool:
    """Whether the process still runs, so that the caller looks again: not too often."""
    time.sleep(0.05)
    assert process.poll() is None or found, process.communicate()
    return not found


def runs(pid: int) -> bool:
    """Whether a process lives; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Search:
    """A search under Ray as a process of its own."""

    def __init__(self, options: list[str], cwd: Path, more: dict[str, str]) -> None:
        self.cwd, self.name = cwd, options[options.index("--run") + 1]
        self.below: tuple[Process, ...] = ()
        self.process = Command(options, cwd, more=more)

    def in_trial(self, done: frozenset[str] = frozenset()) -> dict[str, object]:
        """The attempt of a trial not in `done` that has written a checkpoint and is under way."""
        trials = self.cwd / "runs" / self.name / "trials"
        found: list[dict[str, object]] = []
        while until(found, self.process):
            for manifest in trials.glob("*/checkpoints/step-*.json"):
                rows = (manifest.parent.parent / "attempts.jsonl").read_text().splitlines()
                last = json.loads(rows[-1])
                if last["trial"] not in done and runs(last["pid"]):
                    found.append(last)
        self.below = descendants(self.process.pid)
        return found[0]

    def end(self) -> tuple[int, str]:
        """Exit code and stderr; nothing that it started is left."""
        _, told = self.process.communicate(timeout=LIMIT)
        deadline = time.monotonic() + 30
        while (left := [p for p in self.below if p.alive]) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not left, left
        assert "Traceback" not in told, told
        return self.process.returncode, told


Start = Callable[..., Search]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts searches; those that a failed test leaves are killed."""
    begun: list[Search] = []

    def search(options: list[str], more: dict[str, str] | None = None) -> Search:
        begun.append(Search(options, tmp_path, more or {}))
        return begun[-1]

    yield search
    for one in begun:
        one.process.kill()
        one.process.communicate()


@pytest.fixture
def whole(expander: Run, brief: list[str], tmp_path: Path) -> list[str]:
    """What an undisturbed search decides, without Ray."""
    done = expander(*brief, *LONG, "--run", "whole", "--backend", "inline")
    assert done.returncode == 0, done.stderr
    return decisions(journal(tmp_path, "whole"))


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


class Cluster:
    """A real cluster on this machine: a head without CPUs and nodes of one CPU, each with its own raylet."""

    def __init__(self, env: dict[str, str], folder: Path) -> None:
        self.more = {"RAY_ENABLE_AUTOSCALER_V2": "0", "RAY_AUTH_MODE": "disabled"}
        self.script = subprocess.Popen(
            [sys.executable, str(HERE / "cluster.py")], cwd=folder, env={**env, **self.more}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self.address = self.told()

    def told(self) -> str:
        """The next line that the script says."""
        assert self.script.stdout is not None
        return self.script.stdout.readline().strip()

    def kill_node(self, of_pid: int) -> None:
        """Ends the node on which a worker runs, as a power cut would."""
        assert self.script.stdin is not None
        self.script.stdin.write(f"{of_pid}\n")
        self.script.stdin.flush()
        assert self.told() == "killed"


@pytest.fixture
def cluster(environment: dict[str, str], tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(environment, tmp_path)
    yield made
    made.script.communicate("\n", timeout=LIMIT)


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
