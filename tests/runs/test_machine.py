"""Processes and cores of this machine, as Linux tells them and as other systems do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from expander.backends.processes import descendants
from expander.runs import machine


@pytest.fixture(params=["proc", "ps"])
def table(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Both ways of learning which processes run."""
    if request.param == "ps":
        if shutil.which("ps") is None:
            pytest.skip("there is no ps; procps has it")
        monkeypatch.setattr(machine, "PROC", tmp_path / "none")
    elif not (machine.PROC / "self").exists():
        pytest.skip("this system has no /proc")


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process of ours that waits for the end of its input."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


@pytest.mark.usefixtures("table")
def test_a_process_is_found_below_its_parent_until_it_ends(child: subprocess.Popen[bytes]) -> None:
    (found,) = [process for process in descendants(os.getpid()) if process.pid == child.pid]
    assert found.parent == os.getpid()
    assert found.name.startswith("python")
    assert found.alive
    assert machine.alive(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, its parent not yet told
    assert not found.alive
    assert child.pid not in machine.running()
    child.wait()
    assert not machine.alive(child.pid)


@pytest.mark.usefixtures("table")
def test_a_number_that_is_used_again_is_another_process(child: subprocess.Popen[bytes]) -> None:
    found = machine.running(child.pid)[child.pid]
    assert not machine.Process(found.pid, found.parent, found.name, f"{found.started}0").alive


@pytest.mark.parametrize("pid", [0, -1, 2**80])
def test_a_number_that_no_process_can_have_is_none(pid: int) -> None:
    assert not machine.alive(pid)


def test_a_system_that_does_not_say_which_cores_a_process_may_use_has_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert 1 <= machine.cores() <= (os.cpu_count() or 1)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert machine.cores() == os.cpu_count()
