"""A trial that was cut anywhere, or trained in rungs, gives what it would have given in one go."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_trial import order_of, timeless

from expander.runs.orders import TrialOrder
from expander.runs.trials import Trial, TrialFailure, TrialResult, make_trial
from expander.training.loop import train_step
from expander.training.proxy.tasks import VideoTask
from expander.training.proxy.trial import Stopped, run_trial

# 60 steps are logged every third one: a rung may end between two rows.
STEPS, BATCH = 60, 2


def rung(order: TrialOrder, until: int | None) -> TrialOrder:
    trial = order.trial
    return replace(order, trial=make_trial(0, trial.axis, trial.spec, trial.seed, until))


def order_in(place: Path, videos: Path) -> TrialOrder:
    """A trial whose decoded frames are kept: none of the trainings here need decode again."""
    made = order_of(videos, place, steps=STEPS, batch=BATCH)
    return rung(replace(made, data=replace(made.data, cache_gb=1)), None)


@pytest.fixture
def order(videos: Path, tmp_path: Path) -> TrialOrder:
    """A trial that writes a checkpoint with every row of its metrics."""
    return replace(order_in(tmp_path / "run", videos), checkpoint_seconds=0.0)


@pytest.fixture(scope="module")
def whole(
    videos: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TrialResult, bytes, list[dict[str, Any]]]:
    """Result, weights and metrics of the trial in one go, without a checkpoint."""
    alone = replace(order_in(tmp_path_factory.mktemp("whole"), videos), checkpoint_seconds=1e6)
    result = run_trial(alone)
    assert isinstance(result, TrialResult)
    assert not list(folder(alone).glob("checkpoints/*"))
    return result, (folder(alone) / "weights.safetensors").read_bytes(), rows(alone)


def folder(order: TrialOrder) -> Path:
    return Path(order.folder) / "trials" / order.trial.folder


def rows(order: TrialOrder, name: str = "metrics.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder(order) / name).read_text().splitlines()]


def dying(monkeypatch: pytest.MonkeyPatch, step: int, error: BaseException) -> None:
    """Raises an error after so many optimiser steps."""
    done = 0

    def stepped(*arguments: Any) -> torch.Tensor:
        nonlocal done
        loss = train_step(*arguments)
        done += 1
        if done == step:
            raise error
        return loss

    monkeypatch.setattr(VideoTask, "step", lambda *_: stepped)


def cut(order: TrialOrder, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Ends the trial as a kill would: after the optimiser step `step`, nothing is written any more."""
    with monkeypatch.context() as patched:
        dying(patched, step, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            run_trial(order)


def test_a_trial_that_was_cut_goes_on_from_its_checkpoint_to_the_same_result(
    order: TrialOrder, whole: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    cut(order, monkeypatch, 20)  # between two rows; the last checkpoint is of step 18
    cut(order, monkeypatch, 15)  # in step 33, before its row is written
    result = run_trial(order)
    assert isinstance(result, TrialResult)
    assert timeless(replace(result, attempts=1)) == timeless(whole[0])
    assert result.attempts == 3
    assert [row["step"] for row in rows(order, "attempts.jsonl")] == [0, 18, 30]
    assert (folder(order) / "weights.safetensors").read_bytes() == whole[1]
    assert rows(order) == whole[2]


def test_rungs_add_up_to_the_whole_training(order: TrialOrder, whole: tuple[Any, ...]) -> None:
    parts = [run_trial(rung(order, until)) for until in (10, 30, None)]
    clips = [part.clips for part in parts if isinstance(part, TrialResult)]
    assert clips == [10 * BATCH, 20 * BATCH, 30 * BATCH]
    last = parts[-1]
    assert isinstance(last, TrialResult)
    assert (last.accuracy, last.loss, last.correct) == (whole[0].accuracy, whole[0].loss, whole[0].correct)
    assert (folder(order) / "weights.safetensors").read_bytes() == whole[1]
    steps = [row["step"] for row in rows(order) if "loss" in row]
    assert steps == [3, 6, 9, 10, *range(12, 61, 3)]
    assert [row["step"] for row in rows(order) if "val_loss" in row] == [10, 30, 60]


def test_a_rung_keeps_one_checkpoint_and_repeats_nothing_when_asked_again(
    order: TrialOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run_trial(rung(order, 10))
    kept = sorted(path.name for path in (folder(order) / "checkpoints").iterdir())
    assert kept == ["step-00000010.json", "step-00000010.pt"]
    cut(rung(order, 30), monkeypatch, 7)
    again = run_trial(rung(order, 30))
    assert isinstance(first, TrialResult)
    assert isinstance(again, TrialResult)
    assert again.clips == 20 * BATCH
    repeated = run_trial(rung(order, 30))
    assert isinstance(repeated, TrialResult)
    assert timeless(replace(repeated, attempts=0)) == timeless(replace(again, attempts=0))
    assert [row["step"] for row in rows(order) if "val_loss" in row] == [10, 30]


def test_a_trial_that_is_asked_to_stop_writes_a_checkpoint_and_stops(
    order: TrialOrder, whole: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    lazy = replace(order, checkpoint_seconds=1e6)
    stop = Path(order.folder) / "trials" / "stop"
    def asking(*arguments: Any) -> torch.Tensor:
        stop.touch()
        return train_step(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(VideoTask, "step", lambda *_: asking)
        with pytest.raises(Stopped):
            run_trial(lazy)
    assert [path.name for path in (folder(lazy) / "checkpoints").glob("*.pt")] == ["step-00000003.pt"]
    with pytest.raises(Stopped):
        run_trial(lazy)
    stop.unlink()
    result = run_trial(lazy)
    assert isinstance(result, TrialResult)
    assert (folder(lazy) / "weights.safetensors").read_bytes() == whole[1]


def test_a_checkpoint_of_another_training_is_not_used(
    order: TrialOrder, whole: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    other = replace(order, recipe=replace(order.recipe, lr=0.01))
    cut(other, monkeypatch, 20)
    with caplog.at_level(logging.WARNING):
        run_trial(order)
    assert "a checkpoint of another training; not used" in caplog.text
    assert (folder(order) / "weights.safetensors").read_bytes() == whole[1]
    assert rows(order) == whole[2]


@pytest.mark.parametrize("damage", [b"", b"not a checkpoint"])
def test_a_damaged_checkpoint_costs_the_steps_since_the_one_before(
    order: TrialOrder, whole: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch, damage: bytes
) -> None:
    cut(order, monkeypatch, 20)
    (folder(order) / "checkpoints" / "step-00000018.pt").write_bytes(damage)
    with (folder(order) / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2')
    run_trial(order)
    assert [row["step"] for row in rows(order, "attempts.jsonl")] == [0, 15]
    assert (folder(order) / "weights.safetensors").read_bytes() == whole[1]
    assert rows(order) == whole[2]


def test_a_training_that_does_not_fit_into_memory_is_a_failure_that_says_so(order: TrialOrder) -> None:
    spec = replace(order.trial.spec, temporal=3e4, spatial=3e3)
    huge = replace(order, recipe=replace(order.recipe, batch=1), trial=Trial("huge", 0, "temporal", spec, 0))
    outcome = run_trial(huge)
    assert isinstance(outcome, TrialFailure)
    assert outcome.reason.startswith("out of memory on ")
    assert "proxy.batch" in outcome.reason
