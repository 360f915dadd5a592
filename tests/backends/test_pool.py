"""Trials in processes of this machine, without Ray: a real search, a real kill, memory that runs out."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from conftest import Run, decisions
from forking import Command

from expander.backends.pool import PoolBackend
from expander.config.settings import BackendConfig, DataConfig, Recipe
from expander.data.sources import open_data
from expander.runs.orders import TrialOrder
from expander.runs.trials import Trial, TrialFailure, TrialResult
from expander.specs.spec import Base, Spec

pytestmark = pytest.mark.slow
TWO = ["--backend", "processes", "--set", "backend.cpus_per_trial=1"]


def journal(tmp_path: Path, run: str) -> Path:
    return tmp_path / "runs" / run / "journal.jsonl"


def test_it_decides_as_one_after_another_even_when_a_process_is_killed(
    expander: Run, brief: list[str], tmp_path: Path
) -> None:
    options = [*brief, "--set", "proxy.steps=60", "--set", "backend.checkpoint_seconds=0"]
    done = expander(*options, "--run", "inline", "--backend", "inline")
    assert done.returncode == 0, done.stderr
    with Command([*options, *TWO, "--run", "pool"], tmp_path) as search:
        trials, found = tmp_path / "runs" / "pool" / "trials", []
        while not found and search.poll() is None:
            time.sleep(0.05)
            found = list(trials.glob("*/checkpoints/step-*.json"))
        rows = (found[0].parent.parent / "attempts.jsonl").read_text().splitlines()
        os.kill(json.loads(rows[-1])["pid"], signal.SIGKILL)
        assert search.wait(300) == 0
    assert decisions(journal(tmp_path, "pool")) == decisions(journal(tmp_path, "inline"))


def test_trials_that_find_no_memory_are_tried_again_with_half_as_many_at_a_time(
    videos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = DataConfig(None, str(videos / "train.txt"), str(videos / "val.txt"), str(videos), cache_gb=0)
    data, told = open_data(settings), []
    recipe = Recipe(steps=1, batch=2, lr=0.1, dropout=0.0, views=1)

    def order(name: str, width: int) -> TrialOrder:
        base = Base(frames=1, crop=32, stem_width=width, depths=(1,), head_width=8, classes=2)
        trial = Trial(name, 0, "base", Spec(base=base), seed=0)
        return TrialOrder(trial, recipe, settings, data.classes, data.fingerprint, str(tmp_path), threads=1)

    backend = PoolBackend(BackendConfig(kind="processes"))
    backend.places = 2
    with backend:
        backend.run([order("huge", 100_000), order("small", 8)], told.append)
    assert [record.getMessage() for record in caplog.records] == [
        "memory does not suffice for so many trials at a time: now 1"
    ]
    small, huge = told
    assert isinstance(small, TrialResult)
    assert isinstance(huge, TrialFailure)
    assert "out of memory on" in huge.reason
