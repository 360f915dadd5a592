"""status: what a run is doing now, from its journal and its trials' metrics."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ASSETS
from conftest import Run as Command

from expander.report.status import status_of, status_text
from expander.runs.journal import Run


@pytest.fixture
def lines() -> list[str]:
    """The recorded journal."""
    return (ASSETS / "journal-v1.jsonl").read_text().splitlines(keepends=True)


def run_of(folder: Path, lines: list[str]) -> Run:
    """A run folder with these events."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "journal.jsonl").write_text("".join(lines))
    return Run(folder)


def test_every_candidate_of_a_step_has_its_state_and_progress(tmp_path: Path, lines: list[str]) -> None:
    # The base is decided, step 1 is planned, its first two trials are done; steps: 200 in the recipe.
    run = run_of(tmp_path, lines[:7])
    metrics = tmp_path / "trials" / "s01-spatial-seed000-aef508aa" / "metrics.jsonl"
    metrics.parent.mkdir(parents=True)
    metrics.write_text('{"step": 20, "loss": 1}\n{"step": 50, "loss": 1}\n{"st')
    now = status_of(run)
    rows = {row["axis"]: row for row in now["candidates"]}
    states = [rows[axis]["state"] for axis in ("temporal", "spatial", "depth")]
    assert states == ["finished", "running", "waiting"]
    assert rows["spatial"]["progress"] == 0.25
    assert rows["temporal"]["accuracy"] == 0.37
    assert now["forecast"]["seconds"] is None  # no pace was recorded
    text = status_text(now)
    assert "[#####...............]  25%  running" in text
    assert "no process of this machine is at work" in text


def test_the_forecast_is_corrected_by_what_trials_took(tmp_path: Path, lines: list[str]) -> None:
    run = run_of(tmp_path, lines[:4])
    pace = {"fixed": 0.5, "per_clip": 0.0, "per_mac": 0.0, "videos": 200, "parallel": 1}
    (tmp_path / "provenance.json").write_text(json.dumps({"pace": pace}))
    now = status_of(run)
    # The base took 1.5 s and was foretold 0.5: every trial ahead will take three times the forecast.
    assert now["forecast"]["seconds"] == pytest.approx(now["forecast"]["trials"] * 1.5)
    assert now["foretold"]["seconds"] == pytest.approx(now["foretold"]["trials"] * 0.5)
    assert now["foretold"]["trials"] == now["forecast"]["trials"] + 1


def test_failures_are_named_with_their_reasons(tmp_path: Path, lines: list[str]) -> None:
    now = status_of(run_of(tmp_path, lines))
    assert [row["trial"] for row in now["failed"]] == ["s01-bottleneck-seed000-dc31a8b5"]
    assert "failed: s01-bottleneck-seed000-dc31a8b5: the loss is nan at step 40" in status_text(now)


def test_a_living_process_at_work_is_named(tmp_path: Path, lines: list[str]) -> None:
    run = run_of(tmp_path, lines[:7])
    (tmp_path / "lock").write_text(f"{os.getpid()}\n")
    assert f"process {os.getpid()} is at work" in status_text(status_of(run))


def test_watch_shows_every_change_and_ends_with_the_run(tmp_path: Path, lines: list[str]) -> None:
    run = run_of(tmp_path / "runs" / "r", lines[:7])
    command = [sys.executable, "-m", "expander.cli", "status", "r", "--watch", "--every", "0.2"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        first = watching.stdout.readline()
        run_of(run.folder, lines)
        rest = watching.stdout.read()
    assert watching.returncode == 0
    assert "not finished" in first
    assert "runs/r: target:" in rest


def test_status_of_a_finished_run_as_json(expander: Command, tmp_path: Path, lines: list[str]) -> None:
    run_of(tmp_path / "runs" / "r", lines)
    done = expander("status", "r", "--json", "--watch")
    assert done.returncode == 0, done.stderr
    now = json.loads(done.stdout)
    assert (now["outcome"], now["failures"], now["candidates"]) == ("target", 1, [])
