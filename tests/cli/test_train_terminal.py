"""A training on a terminal: its line of progress, Ctrl-C and SIGTERM, in one process and in two."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fitting_cases import SMALL
from terminal import LIMIT, Terminal

from expander.backends.processes import Process, descendants
from expander.config.space import dump_spec
from expander.training.training_folder import TrainingFolder

LINE = re.compile(
    r"epoch (\d+) .*\| (\d+)/(\d+), loss [\d.]+, ([\d.e+]+) clips/s, \d+% waiting for clips, "
    r"memory \d\.\d+ GB, about .+ left"
)
"""Where it is, how fast, how much of the time it waits, memory, and how long it takes."""


@pytest.fixture
def small(videos: Path, tmp_path: Path) -> list[str]:
    """Options of a training without end, of 6 steps an epoch, named t."""
    (tmp_path / "small.yaml").write_text(dump_spec(SMALL, "small"))
    settings = ("epochs=40000", "batch=8", "precise_bn=0", "validate_every=1000", "views=1")
    data = ["--train-ann", str(videos / "train.txt"), "--val-ann", str(videos / "val.txt"),
            "--data-root", str(videos), "--set=data.cache_gb=1"]  # fmt: skip
    return ["train", "small.yaml", *data, "--run", "t", "--set=backend.cpus_per_trial=1",
            *(f"--set=train.{setting}" for setting in settings)]  # fmt: skip


Start = Callable[[list[str]], Terminal]


@pytest.fixture
def start(tmp_path: Path, environment: dict[str, str]) -> Iterator[Start]:
    """Starts a command on a terminal; what a failed test leaves is killed."""
    begun: list[Terminal] = []

    def on_terminal(command: list[str]) -> Terminal:
        begun.append(Terminal(command, tmp_path, environment))
        return begun[-1]

    yield on_terminal
    for one in begun:
        one.process.kill()
        one.process.wait()


def wait_for_line(terminal: Terminal, step: int) -> re.Match[str]:
    """The first line of progress at or after a step."""
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        for shown in filter(None, map(LINE.fullmatch, terminal.lines)):
            if int(shown[2]) >= step:
                return shown
        with contextlib.suppress(subprocess.TimeoutExpired):
            raise AssertionError(f"it ended with {terminal.process.wait(0.1)}: {terminal.lines[-20:]}")
    raise AssertionError(terminal.lines[-20:])


def check_line(shown: re.Match[str]) -> None:
    epoch, step, steps, rate = int(shown[1]), int(shown[2]), int(shown[3]), float(shown[4])
    assert (epoch, steps) == (-(-step // 6), 240000)
    assert rate > 0


def check_stopped(terminal: Terminal, tmp_path: Path, code: int) -> int:
    """It has ended as it must; the step of its newest checkpoint."""
    assert terminal.end() == code, terminal.lines[-20:]
    assert terminal.lines[-1] == "stopped; go on with: expander train --run t --resume"
    assert not [line for line in terminal.lines if "Traceback" in line]
    folder = TrainingFolder(tmp_path / "runs" / "t")
    training = folder.read()
    assert (training.state, training.reason) == ("stopped", "interrupted")
    assert not folder.stop.exists()
    assert not folder.pace.exists()
    newest = max(int(file.stem.removeprefix("step-")) for file in folder.checkpoints.glob("*.json"))
    assert folder.rows()[-1]["step"] == newest
    return newest


def gone(processes: tuple[Process, ...]) -> bool:
    """Whether all of them end soon."""
    deadline = time.monotonic() + LIMIT
    while any(process.alive for process in processes) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not any(process.alive for process in processes)


@pytest.mark.slow
def test_a_training_shows_one_line_and_stops_at_ctrl_c(
    start: Start, small: list[str], tmp_path: Path
) -> None:
    terminal = start(small)
    check_line(wait_for_line(terminal, 20))
    terminal.press_ctrl_c()
    assert check_stopped(terminal, tmp_path, 130) >= 20


@pytest.mark.slow
def test_two_processes_show_the_same_line_stop_at_signals_and_go_on(
    start: Start, small: list[str], tmp_path: Path
) -> None:
    """Ctrl-C, then SIGKILL to the process that a person has started, then SIGTERM: no step is lost."""
    again = ["train", "--run", "t", "--resume"]
    terminal = start([*small, "--workers-ddp", "2"])
    check_line(wait_for_line(terminal, 20))
    below = descendants(terminal.process.pid)
    assert [process for process in below if process.name.startswith("ray::RayTrain")]
    terminal.press_ctrl_c()
    first = check_stopped(terminal, tmp_path, 130)
    assert first >= 20
    assert gone(below)
    terminal = start(again)
    check_line(wait_for_line(terminal, first + 20))
    below = descendants(terminal.process.pid)
    terminal.process.kill()
    assert terminal.end() == -signal.SIGKILL
    assert gone(below)
    terminal = start(again)
    wait_for_line(terminal, first + 20)
    terminal.process.send_signal(signal.SIGTERM)
    last = check_stopped(terminal, tmp_path, 143)
    rows = TrainingFolder(tmp_path / "runs" / "t").rows()
    assert [row["step"] for row in rows] == list(range(1, last + 1))
