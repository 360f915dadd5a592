"""A full training: what it writes, that it repeats, stops, goes on and ends as it must."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fitting_cases import after, ends_as_undisturbed, folder_of, training_of, with_recipe
from safetensors.torch import load_file

from expander.config.settings import TrainRecipe
from expander.data.sources import open_data
from expander.errors import DataError, TrainingFault, UsageError
from expander.training.checkpoints import Checkpoints
from expander.training.distributed import Workers
from expander.training.init import new_network, started_from
from expander.training.trainer import fit
from expander.training.training_folder import Best, Training
from expander.weights.safetensors_file import load_weights, save_weights


@pytest.fixture(scope="module", autouse=True)
def _decoded_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def test_a_training_writes_rows_best_and_last_weights_and_its_end(videos: Path, tmp_path: Path) -> None:
    training = training_of(videos)
    folder = folder_of(tmp_path / "a", training)
    ended = fit(training, folder, Workers())
    assert ended == folder.read()
    assert ended.state == "finished"
    rows = folder.rows()
    assert [row["step"] for row in rows if "loss" in row] == list(range(1, 25))
    assert [row["epoch"] for row in rows if "loss" in row] == [n // 6 + 1 for n in range(24)]
    validated = [row for row in rows if "video_top1" in row]
    assert [(row["epoch"], row["step"]) for row in validated] == [(2, 12), (4, 24)]
    assert ended.best is not None
    assert ended.best.goodness == max(row["video_top1"] for row in validated)
    for file in (folder.best, folder.last):
        loaded = load_weights(file)
        assert loaded.spec == training.spec
        assert loaded.classes == training.classes
    assert list(folder.checkpoints.iterdir()) == []


def test_the_rate_follows_the_half_cosine_scaled_to_the_batch(videos: Path, tmp_path: Path) -> None:
    training = training_of(videos, warmup=0.25)
    folder = folder_of(tmp_path / "a", training)
    fit(training, folder, Workers())
    rates = [row["lr"] for row in folder.rows() if "lr" in row]
    peak = 0.8 * 8 / 128
    cosine = [peak * math.cos(math.pi * step / 48) ** 2 for step in range(24)]
    assert rates[6:] == pytest.approx(cosine[6:])
    assert rates[:6] == pytest.approx([cosine[6] * (0.1 + 0.9 * step / 6) for step in range(6)])


@pytest.mark.parametrize("steps", [1, 6, 13], ids=["first", "end of an epoch", "inside"])
def test_a_training_that_was_stopped_ends_bit_for_bit_as_if_it_had_not(
    videos: Path, tmp_path: Path, steps: int
) -> None:
    training = training_of(videos)
    whole, cut = folder_of(tmp_path / "whole", training), folder_of(tmp_path / "cut", training)
    fit(training, whole, Workers())
    ends_as_undisturbed(training, cut, whole, steps)


def test_overfitting_learns_a_batch_by_heart(videos: Path, tmp_path: Path) -> None:
    quiet = {"dropout": 0.0, "mixup": 0.0, "label_smoothing": 0.0, "flip": False}
    training = training_of(videos, epochs=120, validate_every=120, lr=1.6, ema=0.0, **quiet)
    training = replace(training, overfit_batches=1)
    folder = folder_of(tmp_path / "a", training)
    ended = fit(training, folder, Workers())
    assert training.steps == 120
    losses = [row["loss"] for row in folder.rows() if "loss" in row]
    assert losses[-1] < 0.1 * losses[0]
    assert ended.best is not None
    assert ended.best.goodness >= 3 / 8  # of 8 videos, of 24 classes: views that were never trained on


@pytest.mark.parametrize("precise", [0, 2])
def test_the_averaged_weights_are_kept_with_the_statistics_asked_for(
    videos: Path, tmp_path: Path, precise: int
) -> None:
    """Without precise batch norm the average has the running statistics of the network."""
    training = training_of(videos, epochs=2, validate_every=1, ema=0.9, precise_bn=precise)
    folder = folder_of(tmp_path / "a", training)
    fit(training, folder, Workers(), stop=after(7))
    (validated,) = [each for each in Checkpoints(folder.checkpoints).valid() if each["step"] == 6]
    kept, network, average = load_file(folder.best), validated["network"], validated["average"]
    assert all(torch.equal(value, average[name]) for name, value in kept.items())
    assert not torch.equal(kept["head.fc2.weight"], network["head.fc2.weight"])
    statistics = [name for name in kept if "running" in name]
    assert {torch.equal(kept[name], network[name]) for name in statistics} == {precise == 0}


def test_a_training_without_progress_stops_early_and_says_so(videos: Path, tmp_path: Path) -> None:
    still = training_of(videos, epochs=8, lr=1e-9, ema=0.0, validate_every=1, patience=2)
    folder = folder_of(tmp_path / "a", still)
    ended = fit(still, folder, Workers())
    assert (ended.state, ended.reason) == ("finished", "no better video_top1 for 2 validations")
    assert [row["epoch"] for row in folder.rows() if "video_top1" in row] == [1, 2, 3]
    assert folder.last.exists()


def test_a_loss_that_is_no_number_ends_the_training_with_a_remedy(videos: Path, tmp_path: Path) -> None:
    training = training_of(videos, lr=1e30)
    with pytest.raises(TrainingFault, match=r"the loss is .* at step \d+; .*--set train\.lr"):
        fit(training, folder_of(tmp_path / "a", training), Workers())


def test_changed_data_and_other_classes_are_refused(videos: Path, tmp_path: Path) -> None:
    training = training_of(videos)
    folder = folder_of(tmp_path / "a", training)
    with pytest.raises(DataError, match="the data set has changed since the training began"):
        fit(replace(training, data_fingerprint="another"), folder, Workers())
    with pytest.raises(DataError, match="24 classes in the data, 2 in the training"):
        fit(replace(training, classes=("a", "b")), folder, Workers())


def test_a_checkpoint_of_another_training_is_refused_and_told_apart(videos: Path, tmp_path: Path) -> None:
    training = training_of(videos)
    folder = folder_of(tmp_path / "a", training)
    fit(training, folder, Workers(), stop=after(2))
    other = replace(training, spec=training.spec.with_factor("width", 2.0))
    with pytest.raises(UsageError, match=r"of another spec: width 1\.0 instead of 2\.0"):
        fit(other, folder, Workers())
    with pytest.raises(UsageError, match=r"of another recipe: mixup 0\.2 instead of 0"):
        fit(with_recipe(training, mixup=0.0), folder, Workers())
    with pytest.raises(UsageError, match="of another training: seed 5 instead of 6"):
        fit(replace(training, seed=6), folder, Workers())
    assert Checkpoints(folder.checkpoints).newest() is not None


def test_weights_with_other_classes_keep_all_but_the_classifier(videos: Path, tmp_path: Path) -> None:
    training = training_of(videos)
    network = new_network(replace(training, seed=1))
    fewer = new_network(replace(training, spec=training.spec.with_classes(3), seed=2))
    for name, source, classes, kept in (
        ("same", network, training.classes, True),
        ("nameless", network, tuple(map(str, range(24))), True),
        ("renamed", network, tuple(f"other {n}" for n in range(24)), False),
        ("fewer", fewer, ("a", "b", "c"), False),
    ):
        path = tmp_path / f"{name}.safetensors"
        save_weights(path, source, training.spec.with_classes(len(classes)), classes)
        begun = replace(training, init=str(path))
        state, given = new_network(begun).state_dict(), source.state_dict()
        differing = [key for key in state if not state[key].equal(given[key])]
        anew = ["head.fc2.weight", "head.fc2.bias"] if name == "fewer" else ["head.fc2.weight"]
        assert differing == ([] if kept else anew), name  # biases of one shape are equal: zeros
        assert ("with its classifier" in started_from(begun)) is kept
    assert "3 classes in the weights, 24 in the data" in started_from(begun)


def test_weights_of_another_network_are_refused(videos: Path, tmp_path: Path) -> None:
    training = training_of(videos)
    wide = replace(training, spec=training.spec.with_factor("width", 2.0))
    save_weights(tmp_path / "w.safetensors", new_network(wide), wide.spec, wide.classes)
    with pytest.raises(UsageError, match="not the weights of"):
        new_network(replace(training, init=str(tmp_path / "w.safetensors")))


def test_too_many_unreadable_videos_end_the_training(videos: Path, tmp_path: Path) -> None:
    rows = (videos / "train.txt").read_text().splitlines()
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    listed = tmp_path / "train.txt"
    listed.write_text("\n".join([*rows[:-1], f"{tmp_path / 'broken.mp4'} {rows[-1].rsplit()[-1]}"]))
    training = training_of(videos)
    data = replace(training.data, train_ann=str(listed), allow_outside=True)
    training = replace(training, data=data, data_fingerprint=open_data(data).fingerprint)
    with pytest.raises(DataError, match=r"1 of 48 training videos cannot be read.*broken\.mp4"):
        fit(training, folder_of(tmp_path / "a", training), Workers())


def test_the_better_validation_has_the_higher_accuracy_then_the_lower_loss() -> None:
    first = Best(1, 10, 0.5, 2.0)
    assert first.beats(None)
    assert Best(2, 20, 0.6, 9.0).beats(first)
    assert Best(2, 20, 0.5, 1.9).beats(first)
    assert not Best(2, 20, 0.5, 2.0).beats(first)
    assert not Best(2, 20, 0.4, 0.1).beats(first)


def test_an_epoch_is_the_whole_batches_of_the_videos() -> None:
    training = Training(*[None] * 5, videos=100, seed=0)  # type: ignore[arg-type]
    training = replace(training, recipe=TrainRecipe(epochs=3, batch=32))
    assert (training.steps_per_epoch, training.steps) == (3, 9)
    assert replace(training, videos=10).steps_per_epoch == 1
    assert replace(training, overfit_batches=7).steps == 21
