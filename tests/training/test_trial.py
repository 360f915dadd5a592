"""Clips, trials and their promises: deterministic, paired, tolerant of a few broken videos."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from expander.config.settings import DataConfig, Recipe
from expander.data.annotations import VideoData, VideoList
from expander.data.clips import TrainingClips, loader, training_order
from expander.data.sources import open_data
from expander.errors import DataError
from expander.runs.evidence import unpack_bits
from expander.runs.orders import TrialOrder
from expander.runs.trials import Trial, TrialFailure, TrialResult
from expander.specs.spec import Base, Spec
from expander.training.proxy.trial import run_trial
from expander.video.decoder import Decoder
from expander.video.sampling import view_indices

TINY = Spec(Base(frames=2, stride=8, crop=32, stem_width=8, depths=(1,), head_width=8, width_divisor=2))


def listed_data(train: Path, val: Path, root: Path) -> VideoData:
    return open_data(DataConfig(train_ann=str(train), val_ann=str(val), root=str(root)))


def order_of(videos: Path, folder: Path, **recipe: object) -> TrialOrder:
    """A trial of a second on the shared videos."""
    data = listed_data(videos / "train.txt", videos / "val.txt", videos)
    settings = DataConfig(None, str(videos / "train.txt"), str(videos / "val.txt"), str(videos), cache_gb=0)
    defaults = {"steps": 3, "batch": 4, "lr": 0.1, "dropout": 0.5, "views": 2}
    return TrialOrder(
        Trial("t", 0, "base", TINY, seed=3), Recipe(**{**defaults, **recipe}),  # type: ignore[arg-type]
        settings, data.classes, data.fingerprint, str(folder), threads=1,
    )  # fmt: skip


def timeless(result: TrialResult) -> TrialResult:
    """Without what the clock says."""
    return replace(result, seconds=0.0, data_wait=None)


def test_a_trial_repeats_bit_for_bit_and_another_seed_differs(videos: Path, tmp_path: Path) -> None:
    order = order_of(videos, tmp_path / "a")
    first = run_trial(order)
    again = run_trial(replace(order, folder=str(tmp_path / "b")))
    assert isinstance(first, TrialResult)
    assert isinstance(again, TrialResult)
    assert timeless(first) == timeless(again)
    weights = [tmp_path / run / "trials" / "t" / "weights.safetensors" for run in "ab"]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    other = run_trial(replace(order, trial=replace(order.trial, seed=4)))
    assert isinstance(other, TrialResult)
    assert other.train_loss != first.train_loss


def test_a_trial_tells_which_videos_were_right_and_keeps_its_weights(videos: Path, tmp_path: Path) -> None:
    result = run_trial(order_of(videos, tmp_path))
    assert isinstance(result, TrialResult)
    count = len((videos / "val.txt").read_text().splitlines())
    assert result.videos == count
    assert sum(unpack_bits(result.correct, count)) / count == pytest.approx(result.accuracy)
    rows = [json.loads(line) for line in (tmp_path / "trials/t/metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows[:-1]] == [1, 2, 3]
    assert rows[-1]["video_top1"] == result.accuracy
    with safe_open(str(tmp_path / "trials/t/weights.safetensors"), "pt") as file:
        kept = json.loads(file.metadata()["expander"])
    assert kept["spec"]["base"]["stem_width"] == 8
    assert len(kept["classes"]) == 24


def test_a_loss_that_is_not_finite_is_a_failure_with_its_reason(videos: Path, tmp_path: Path) -> None:
    outcome = run_trial(order_of(videos, tmp_path, lr=1e30))
    assert isinstance(outcome, TrialFailure)
    assert "the loss is" in outcome.reason


def test_changed_data_are_refused(videos: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="differs from the one this run was started on"):
        run_trial(replace(order_of(videos, tmp_path), data_fingerprint="another"))


def test_too_many_unreadable_videos_stop_the_run(videos: Path, tmp_path: Path) -> None:
    broken = [tmp_path / f"broken{number}.mp4" for number in range(4)]
    for file in broken:
        file.write_bytes(b"no video")
    rows = (videos / "train.txt").read_text().splitlines()
    listed = tmp_path / "train.txt"
    replaced = (f"{file} {row.rsplit()[-1]}" for file, row in zip(broken, rows[-4:], strict=True))
    listed.write_text("\n".join([*rows[:-4], *replaced]))
    own = DataConfig(None, str(listed), str(videos / "val.txt"), str(videos), allow_outside=True, cache_gb=0)
    data = open_data(own)
    order = order_of(videos, tmp_path)
    order = replace(order, data=own,
                    data_fingerprint=data.fingerprint, recipe=replace(order.recipe, steps=12))  # fmt: skip
    with pytest.raises(DataError, match=r"max_bad_fraction.*broken\d\.mp4"):
        run_trial(order)
    tolerant = run_trial(replace(order, data=replace(order.data, max_bad_fraction=0.5)))
    assert isinstance(tolerant, TrialResult)
    assert tolerant.bad_videos == len(broken)


def test_clips_depend_on_seed_and_position_only_not_on_loader_processes(videos: Path) -> None:
    data = listed_data(videos / "train.txt", videos / "val.txt", videos)
    clips = TrainingClips(data.train, TINY, True, Decoder())
    items = list(training_order(len(data.train), 8, seed=5))
    alone = [batch.clips for batch in loader(clips, items, 4, workers=0)]  # type: ignore[attr-defined]
    helped = [batch.clips for batch in loader(clips, items, 4, workers=1)]  # type: ignore[attr-defined]
    assert all(torch.equal(a, b) for a, b in zip(alone, helped, strict=True))
    assert alone[0].shape == (4, 3, 2, 32, 32)
    assert alone[0].is_contiguous(memory_format=torch.channels_last_3d)


def test_every_pass_shows_every_video_once() -> None:
    order = [video for video, _, _ in training_order(7, 21, seed=1)]
    passes = [order[start : start + 7] for start in (0, 7, 14)]
    assert all(sorted(one) == list(range(7)) for one in passes)
    assert passes[0] != passes[1]


def test_an_unreadable_video_is_replaced_by_the_same_one_every_time(videos: Path, tmp_path: Path) -> None:
    data = listed_data(videos / "train.txt", videos / "val.txt", videos)
    paths = (tmp_path / "missing.mp4", *data.train.paths[1:])
    clips = TrainingClips(VideoList(paths, data.train.labels), TINY, False, Decoder())
    (first, label, bad), (second, _, _) = clips[0, 9, 0], clips[0, 9, 0]
    assert torch.equal(first, second)
    assert len(bad) == 1
    assert label in data.train.labels


def test_views_reach_from_the_first_to_the_last_start() -> None:
    assert np.array_equal(view_indices(0, 3, 2, 8, 64), [0, 8])
    assert np.array_equal(view_indices(2, 3, 2, 8, 64), [55, 63])
    assert np.array_equal(view_indices(0, 1, 2, 8, 64), [27, 35])
