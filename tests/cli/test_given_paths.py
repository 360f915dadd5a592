"""Paths that people give, at every option that takes one: nothing there, shut, empty, not UTF-8."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Run

LISTS = ("--train-ann", "{}", "--val-ann", "{}")
COMMANDS = [
    ("cost", "{}"), ("cost", "{}:final"), ("cost", "{}.yaml"), ("status", "{}"), ("report", "{}"),
    ("report", "{}", "--format", "html"), ("contract", "{}", "--target-gflops", "1"),
    ("baseline", "{}", "--kind", "random"), ("test", "{}"), ("test", "x3d_s", "{}"),
    ("train", "{}", "--run", "r"), ("train", "x3d_s", "--recipe", "{}.yaml", "--run", "r"),
    ("train", "--resume", "--run", "{}"), ("search", "--resume", "--run", "{}"),
    ("search", "--target-gflops", "1", "--space", "{}.yaml"),
    ("search", "--target-gflops", "1", "--data", "{}"),
    ("data", "check", "{}"), ("data", "check", *LISTS), ("data", "index", "{}", "--out", "x.csv"),
    ("predict", "{}.mp4", "--weights", "{}"), ("predict", "x.mp4", "--weights", "w", "--labels", "{}"),
    ("weights", "import", "{}", "--out", "o"), ("weights", "export", "{}", "--to", "onnx", "--out", "o"),
]  # fmt: skip


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """What a command is refused with: one line, and an exit code that says why."""
    assert done.returncode in (2, 3, 6), done.stderr
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
    assert "a bug" not in done.stderr
    return done.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_path_that_leads_nowhere_is_told_in_a_line(
    expander: Run, tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for path in ("x" * 300, "loop", "loop/x"):
        one_line(expander(*(word.format(path) for word in command)))
    assert not (tmp_path / "runs").exists()


@pytest.mark.skipif(os.getuid() == 0 and shutil.which("setpriv") is None, reason="root needs setpriv for it")
@pytest.mark.parametrize("command", [
    ("status", "shut/r"), ("cost", "shut/r"), ("data", "check", "shut/d"), ("report", "shut/r"),
    ("predict", "shut/x.mp4", "--weights", "shut/w"), ("search", "--target-gflops", "1", "--data", "shut/d"),
])  # fmt: skip
def test_a_folder_that_nobody_may_enter_is_told_as_that(
    tmp_path: Path, environment: dict[str, str], command: tuple[str, ...]
) -> None:
    (tmp_path / "shut" / "d").mkdir(parents=True)
    (tmp_path / "shut").chmod(0)
    # Root may enter any folder unless it gives that up.
    powerless = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.getuid() == 0 else []
    done = subprocess.run(
        [*powerless, sys.executable, "-m", "expander.cli", *command], cwd=tmp_path, env=environment,
        capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, timeout=300,
    )  # fmt: skip
    (tmp_path / "shut").chmod(0o700)
    assert done.returncode == 6, done.stderr
    assert one_line(done).endswith(": cannot be looked at: Permission denied\n")


@pytest.mark.parametrize(("command", "what"), [
    (["data", "check", ""], "an argument"), (["cost", ""], "an argument"),
    (["report", "r", "--out", ""], "--out"), (["report", "r", "--out="], "--out"),
    (["predict", "x.mp4", "--weights", ""], "--weights"), (["test", "x3d_s", "w", "--device="], "--device"),
    (["search", "--target-gflops", "1", "--data", ""], "--data"), (["train", "x3d_s", "--run", ""], "--run"),
    (["weights", "import", "x", "--out", ""], "--out"), (["data", "index", "d", "--out", ""], "--out"),
])  # fmt: skip
def test_an_empty_argument_is_refused_whichever_it_is(expander: Run, command: list[str], what: str) -> None:
    done = expander(*command)
    assert done.returncode == 2
    assert done.stderr == f"error: {what} is empty; leave it out, or say what it is\n"


@pytest.mark.parametrize("command", [["cost", "caf\udce9"], ["report", "r", "--out", "caf\udce9"],
                                     ["train", "x3d_s", "--init", "caf\udce9"]])  # fmt: skip
def test_a_name_that_is_not_utf8_is_refused_wherever_it_stands(expander: Run, command: list[str]) -> None:
    done = expander(*command)
    assert done.returncode == 3
    assert done.stderr == "error: caf\\xe9: the name is not UTF-8; rename it\n"


def test_a_folder_that_was_deleted_is_told(tmp_path: Path, environment: dict[str, str]) -> None:
    gone = tmp_path / "gone"
    for command in (["cost", "x3d_s"], ["data", "check", "x"], ["predict", "x.mp4", "--weights", "w"]):
        gone.mkdir()
        program = f"import os, sys; os.rmdir(os.getcwd()); sys.argv = ['expander', *{command!r}]"
        program += "; from expander.cli.main import main; main()"
        done = subprocess.run([sys.executable, "-c", program], cwd=gone, env=environment, capture_output=True,
                              text=True, check=False, timeout=300)  # fmt: skip
        assert done.returncode == 6
        assert done.stderr == "error: the current folder is gone; change to another one\n"
