"""Faults as they happen: real processes killed, real signals, disks that refuse, folders that vanish."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from conftest import ASSETS, Run, decisions
from forking import Command

pytestmark = pytest.mark.slow
HERE = Path(__file__).parent.parent
CAREFUL = ["--set", "backend.checkpoint_seconds=0"]


def script(name: str, *arguments: object, cwd: Path, env: dict[str, str]) -> dict[str, list[str]]:
    """What a script beside this file prints."""
    done = subprocess.run(
        [sys.executable, str(HERE / name), *map(str, arguments)],
        cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


def journal(tmp_path: Path, run: str) -> Path:
    return tmp_path / "runs" / run / "journal.jsonl"


def finished_trials(file: Path) -> Counter[str]:
    events = (json.loads(line) for line in file.read_text().splitlines())
    return Counter(e["result"]["trial"] for e in events if e["event"] == "trial_finished")


def test_a_disk_that_refuses_any_write_ends_the_search_with_exit_6_and_costs_nothing_done(
    micro: list[str], tmp_path: Path, environment: dict[str, str]
) -> None:
    small = ["--max-steps", "1", "--set", "axes.width.limit=1", "--set", "axes.temporal.limit=1"]
    options = [*micro, "--backend", "inline", *small, "--set", "proxy.steps=2", *CAREFUL]
    told = script("full_disk.py", *options, cwd=tmp_path, env=environment)
    assert len(told["refused"]) > 20
    assert len(told["small"]) > 5
    for run in ("refused", "small"):
        assert decisions(journal(tmp_path, run)) == decisions(journal(tmp_path, "whole"))
        assert set(finished_trials(journal(tmp_path, run)).values()) == {1}


def started(micro: list[str], tmp_path: Path, *more: str) -> Command:
    """A search that has told of its first trial."""
    process = Command([*micro, *more], tmp_path)
    for line in process.stderr:
        if line.startswith("step "):
            break
    return process


def test_a_run_folder_that_vanishes_ends_the_search_with_exit_6(micro: list[str], tmp_path: Path) -> None:
    with started(micro, tmp_path, "--run", "r", "--backend", "inline") as process:
        # At once: what is deleted file by file, a search at work fills again meanwhile.
        (tmp_path / "runs" / "r").rename(tmp_path / "gone")
        shutil.rmtree(tmp_path / "gone", ignore_errors=True)
        told = process.stderr.read()
    assert process.returncode == 6, told
    assert "runs/r" in told.splitlines()[-1]
    assert "Traceback" not in told


@pytest.mark.parametrize("place", ["file", "/proc"])
def test_an_output_folder_that_cannot_be_made_is_told_before_training(
    expander: Run, micro: list[str], tmp_path: Path, place: str
) -> None:
    if place == "file":
        (tmp_path / "runs").write_text("not a folder")
    else:
        (tmp_path / "runs").symlink_to(place)
    done = expander(*micro, "--run", "r", "--backend", "inline", "--max-steps", "1")
    assert done.returncode == 6, done.stderr
    assert "runs/r" in done.stderr
    assert "cannot be made" in done.stderr
    assert "step 0" not in done.stdout


def test_signals_stop_a_search_after_a_checkpoint_and_twice_at_once(
    expander: Run, micro: list[str], tmp_path: Path
) -> None:
    long = [*micro, "--backend", "inline", "--set", "proxy.steps=60"]
    first = started([*long, "--run", "r"], tmp_path)
    again = ["search", "--run", "r", "--resume"]
    for signals, code in (([signal.SIGINT], 130), ([signal.SIGTERM], 143), ([signal.SIGINT] * 2, 130)):
        process = first if code == 130 and len(signals) == 1 else started(again, tmp_path)
        with process:
            for number in signals:
                process.send_signal(number)
                time.sleep(0.01)  # two of the same kind that come at once are one
            begun = time.monotonic()
            told = process.stderr.read()
        assert process.returncode == code, told
        assert time.monotonic() - begun < 60
        assert "go on with: expander search --run r --resume" in told
        assert "Traceback" not in told
    done = expander(*again)
    assert done.returncode == 0, done.stderr
    assert expander(*long, "--run", "whole").returncode == 0
    assert decisions(journal(tmp_path, "r")) == decisions(journal(tmp_path, "whole"))


def test_an_identical_search_trains_nothing_and_a_budget_stops_where_it_says(
    expander: Run, micro: list[str], tmp_path: Path
) -> None:
    inline = [*micro, "--backend", "inline"]
    stopped = expander(*inline, "--run", "a", "--max-trials", "3")
    assert stopped.returncode == 5
    assert "the budget is spent (--max-trials 3)" in stopped.stderr
    assert finished_trials(journal(tmp_path, "a")).total() == 3
    more = expander("search", "--run", "a", "--resume", "--max-trials", "100")
    assert more.returncode == 0, more.stderr
    second = expander(*micro, "--run", "b", "--reuse", "a")
    assert second.returncode == 0, second.stderr
    count = finished_trials(journal(tmp_path, "a")).total()
    assert f"reused {count} results; nothing was trained" in second.stdout
    assert f"spent: 0 trials ({count} reused)" in second.stdout
    assert decisions(journal(tmp_path, "b")) == decisions(journal(tmp_path, "a"))
    weights = [sorted((tmp_path / "runs" / run).glob("trials/*/weights.safetensors")) for run in "ab"]
    assert [file.read_bytes() for file in weights[0]] == [file.read_bytes() for file in weights[1]]
    other = expander(*inline, "--run", "c", "--reuse", "b", "--seed", "9", "--max-trials", "1")
    assert "reused" not in other.stdout


def test_an_unknown_run_to_reuse_is_told(expander: Run, micro: list[str]) -> None:
    done = expander(*micro, "--run", "r", "--reuse", "nothing")
    assert done.returncode == 2
    assert "no run 'nothing'" in done.stderr


def test_bad_budgets_and_places_are_told_before_anything_is_done(expander: Run, tmp_path: Path) -> None:
    for option, value in (
        ("--max-hours", "0"), ("--max-hours", "nan"), ("--max-gpu-hours", "-1"), ("--max-trials", "0"),
        ("--ray-address", "ray://head:10001"), ("--storage-path", "https://bucket/x"),
        ("--storage-path", "ftp://user:secret@host/x"), ("--storage-path", "s3://user:secret@bucket/x"),
        ("--storage-path", "s3://key:a/secret@bucket/x"), ("--storage-path", "s3://"),
        ("--set", "backend.storage=ftp://user:secret@host/x"),
    ):  # fmt: skip
        done = expander("search", "--space", ASSETS / "micro.yaml", "--target-gflops", "0.0004",
                        option, value)  # fmt: skip
        assert done.returncode == 2, (option, done.stderr)
        assert "Traceback" not in done.stderr
        assert "secret" not in done.stderr
    assert not (tmp_path / "runs").exists()
