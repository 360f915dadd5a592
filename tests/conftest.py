"""A small set of real MP4 files and a private cache, shared by the tests that need videos."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from forking import run

from expander.data.embedded.synthetic import SetConfig, make

LONGEST = ("test_ray_faults.py", "test_ray_store.py", "test_ray_losses.py", "test_store_outage.py",
           "test_kills.py", "test_several_labels_commands.py", "test_detection_search.py",
           "test_detection_command.py", "test_faults.py", "test_train_terminal.py", "test_ray_train.py",
           "test_tutorial.py", "test_search_command.py", "test_gpu_benchmark.py", "test_step.py",
           "test_api.py", "test_inheritance.py", "test_end_to_end.py", "test_stored_trials.py")  # fmt: skip
"""Files whose slow tests take tens of seconds each."""
ASSETS = Path(__file__).parent / "assets"
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """What a night is given to, and continuous integration is not."""
    parser.addoption("--kills", type=int, help="so many times each command of tests/faults/ is killed")
    parser.addoption("--fuzz", type=int, help="so many changed files of each format are read")
    parser.addoption("--away", type=float, help="so many seconds a store is away in the middle of a search")
    parser.addoption("--flips", type=int, help="so many bits of a journal each command is tried with")


def pytest_configure() -> None:
    """Where tests run on all CPUs, each has one: threads that wait for each other take time from both.

    Threads of a command, which has all CPUs, wait asleep: those of other tests have work to do meanwhile.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        torch.set_num_threads(1)
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read by the processes that are started


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first: one that begins last would leave the other CPUs idle."""

    def place(item: pytest.Item) -> int:
        if item.get_closest_marker("slow") is None:
            return len(LONGEST) + 1
        return LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST)

    items.sort(key=place)


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two training videos and one validation video of each class, with train.txt and val.txt."""
    return make(tmp_path_factory.mktemp("videos") / "set", SetConfig(train=2, val=1), workers=1)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A cache of the tests' own, empty at first: the user's may be full, and is not theirs to fill.

    Compiled kernels, which are named by their sources, are kept with pytest's own cache.
    """
    folder = tmp_path_factory.mktemp("cache")
    (folder / "expander").mkdir()
    (folder / "expander" / "kernels").symlink_to(request.config.cache.mkdir("kernels"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="session")
def environment(cache: Path) -> dict[str, str]:
    """The environment of a user whose cache is empty."""
    return {**os.environ, "XDG_CACHE_HOME": str(cache)}


@pytest.fixture
def expander(tmp_path: Path, environment: dict[str, str]) -> Run:
    """Calls the command as a process in an empty folder; with variables of its own, as a fresh Python."""

    def call(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
        if not variables:
            return run(list(map(str, arguments)), tmp_path)
        return subprocess.run(
            [sys.executable, "-m", "expander.cli", *map(str, arguments)],
            cwd=tmp_path, env={**environment, **variables}, capture_output=True, text=True,
            stdin=subprocess.DEVNULL, check=False, timeout=600,
        )  # fmt: skip

    return call


@pytest.fixture(scope="session")
def micro(videos: Path) -> list[str]:
    """Options of a search that takes seconds: three axes, four steps' worth, own videos."""
    return [
        "search", "--space", str(ASSETS / "micro.yaml"), "--target-gflops", "0.0004",
        "--train-ann", str(videos / "train.txt"), "--val-ann", str(videos / "val.txt"),
        "--data-root", str(videos),
    ]  # fmt: skip


@pytest.fixture(scope="session")
def brief(micro: list[str]) -> list[str]:
    """The same with three trials in two steps: what waits for processes to start needs no more."""
    return [*micro, "--max-steps", "1", "--set", "axes.width.limit=1"]


@dataclass(frozen=True)
class Searched:
    """What the search `micro` leaves without Ray, and prints. folder: of its run, which nobody changes."""

    folder: Path
    said: str

    def copied(self, folder: Path) -> Path:
        """The run in another place, to do with as one likes."""
        return shutil.copytree(self.folder, folder)


@pytest.fixture(scope="session")
def searched(cache: Path, micro: list[str], tmp_path_factory: pytest.TempPathFactory) -> Searched:  # noqa: ARG001
    """One undisturbed search for all tests that ask what it leaves."""
    place = tmp_path_factory.mktemp("searched")
    done = run([*micro, "--run", "whole", "--backend", "inline"], place)
    assert done.returncode == 0, done.stderr
    return Searched(place / "runs" / "whole", done.stdout)


def decisions(journal: Path) -> list[str]:
    """The journal without what may differ between two runs of the same search: times and places."""
    lines = []
    for line in journal.read_text().splitlines():
        event = json.loads(line)
        for name in ("time", "seal"):
            event.pop(name, None)
        for name in ("seconds", "attempts", "data_wait"):
            event.get("result", {}).pop(name, None)
            event.get("failure", {}).pop(name, None)
        for name in ("backend", "budget", "reused_from"):
            event.pop(name, None)
        lines.append(json.dumps(event, sort_keys=True))
    # Trials of a step end in any order; the decisions between them are in order.
    return sorted(lines, key=lambda text: (json.loads(text)["step"], "trial_" not in text, text))
