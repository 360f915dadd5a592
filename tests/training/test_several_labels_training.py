"""A full training on videos of several labels: its measure, and that it repeats when it was stopped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fitting_cases import SMALL, ends_as_undisturbed, folder_of, training_of
from several_labels import CLASSES, made

from expander.training.distributed import Workers
from expander.training.trainer import fit
from expander.training.training_folder import Training
from expander.weights.safetensors_file import load_weights


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Training:
    """4 epochs of 3 steps of 4 clips, with mixed clips, smoothed labels and an average of the weights."""
    films = made(tmp_path_factory.mktemp("several") / "set", train=12, val=8)
    return replace(training_of(films, batch=4), multi_label=True)


def test_it_keeps_the_weights_of_the_highest_map(training: Training, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "a", training)
    ended = fit(training, folder, Workers())
    validated = [row for row in folder.rows() if "mAP" in row]
    assert [(row["epoch"], row["step"]) for row in validated] == [(2, 6), (4, 12)]
    assert not [row for row in folder.rows() if "video_top1" in row]
    assert ended.best is not None
    assert ended.best.goodness == max(row["mAP"] for row in validated)
    loaded = load_weights(folder.best)
    assert (loaded.multi_label, loaded.classes, loaded.spec) == (True, CLASSES, SMALL.with_classes(4))


@pytest.mark.parametrize("steps", [3, 7], ids=["end of an epoch", "inside"])
def test_stopped_and_resumed_it_ends_bit_for_bit_as_if_it_had_not(
    training: Training, tmp_path: Path, steps: int
) -> None:
    whole, cut = folder_of(tmp_path / "whole", training), folder_of(tmp_path / "cut", training)
    fit(training, whole, Workers())
    ends_as_undisturbed(training, cut, whole, steps)
