"""How long a training waited for its clips: by a clock, and through a kill."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_trial_folder import cut, folder, order_in, rung

from expander.data.clips import Batch
from expander.runs.trials import TrialResult
from expander.training.checkpoints import Checkpoints
from expander.training.proxy.trial import run_trial
from expander.training.timing.throughput import Waiting

BATCH = Batch(torch.zeros(1), torch.zeros(1), ())


def test_the_share_is_of_the_time_to_the_last_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each batch takes 3 s and each of two steps between them 1 s: 9 of 11 s."""
    now = 0.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)

    def source() -> Iterator[Batch]:
        nonlocal now
        for _ in range(3):
            now += 3.0
            yield BATCH
        now += 100.0  # what comes after the last one is no wait

    waiting = Waiting()
    assert waiting.share is None
    for _ in waiting.watch(source()):
        now += 1.0
    assert (waiting.waited, waiting.passed, waiting.share) == (9.0, 11.0, 0.8182)


def test_what_was_waited_before_a_kill_counts_and_that_of_an_earlier_rung_does_not(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = rung(replace(order_in(tmp_path, videos), checkpoint_seconds=0.0), 30)
    cut(order, monkeypatch, 20)
    kept = Checkpoints(folder(order) / "checkpoints")
    state = kept.newest()
    assert state is not None
    waited, passed = state["waiting"]
    assert 0 < waited < passed
    kept.save(state["step"], {**state, "waiting": (1e6, 4e6)})
    first = run_trial(order)
    assert isinstance(first, TrialResult)
    assert first.data_wait == 0.25
    last = run_trial(rung(order, None))
    assert isinstance(last, TrialResult)
    assert last.data_wait is not None
    assert 0 < last.data_wait < 1
    assert last.data_wait != first.data_wait
