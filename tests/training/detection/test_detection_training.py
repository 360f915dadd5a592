"""A training of detection: what it writes, that it goes on as if it had not stopped, that it learns."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fitting_cases import after, ends_as_undisturbed, folder_of, timeless, with_recipe
from forking import Command
from kills import killed
from people import CLASSES, made

from expander.config.settings import BackendConfig, DataConfig, TrainRecipe
from expander.config.space import dump_spec
from expander.data.ava.boxes import to_train
from expander.data.ava.folder import open_detection
from expander.errors import DataError, UsageError
from expander.model.detector import Detector
from expander.specs.spec import Base, Spec
from expander.training.checkpoints import identity
from expander.training.detection.task import Detection
from expander.training.distributed import Workers
from expander.training.init import new_network, started_from
from expander.training.tasks import task_of
from expander.training.trainer import fit
from expander.training.training_folder import Training, TrainingFolder
from expander.weights.safetensors_file import load_weights

SMALL = Spec(Base(frames=4, stride=1, crop=32, stem_width=8, depths=(1, 1), head_width=16, width_divisor=4,
                  classes=3))  # fmt: skip


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("people") / "set", train=8, val=4)


@pytest.fixture(scope="module", autouse=True)
def _decoded_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def training_of(people: Path, **recipe: Any) -> Training:
    """A training of SMALL on the 16 key frames: by default 4 epochs of 4 steps of 4 clips."""
    data = DataConfig(str(people), cache_gb=1)
    found = open_detection(data)
    defaults = {"epochs": 4, "batch": 4, "lr": 0.8, "dropout": 0.3, "precise_bn": 2, "validate_every": 2,
                "ema": 0.9, "label_smoothing": 0.1}  # fmt: skip
    return Training(
        SMALL, TrainRecipe(**{**defaults, **recipe}), data, found.fingerprint, found.classes,
        len(to_train(found.train)), seed=5, backend=BackendConfig(cpus_per_trial=1), task="detection",
    )  # fmt: skip


def trained(training: Training, place: Path) -> TrainingFolder:
    folder = folder_of(place, training)
    assert fit(training, folder, Workers()).state == "finished"
    return folder


def test_a_training_writes_rows_and_weights_that_say_what_they_are_for(people: Path, tmp_path: Path) -> None:
    training = training_of(people)
    folder = trained(training, tmp_path / "a")
    rows, ended = folder.rows(), folder.read()
    assert [row["step"] for row in rows if "loss" in row] == list(range(1, 17))
    validated = [row for row in rows if "mAP" in row]
    assert [(row["epoch"], row["step"]) for row in validated] == [(2, 8), (4, 16)]
    assert all(0 <= row["mAP"] <= 1 and row["val_loss"] > 0 for row in validated)
    assert ended.best is not None
    assert ended.best.goodness == max(row["mAP"] for row in validated)
    assert ended.measure == "mAP"
    for file in (folder.best, folder.last):
        loaded = load_weights(file, task="detection")
        assert (loaded.task, loaded.classes, loaded.spec) == ("detection", CLASSES, SMALL)
        assert isinstance(loaded.network, Detector)
        with pytest.raises(UsageError, match="a network for detection, used for classification: see --task"):
            load_weights(file)
    assert list(folder.checkpoints.iterdir()) == []


@pytest.mark.parametrize("steps", [1, 4, 7, 8], ids=["first", "end of an epoch", "inside", "validated"])
def test_a_training_that_was_stopped_ends_bit_for_bit_as_if_it_had_not(
    people: Path, tmp_path: Path, steps: int
) -> None:
    training = training_of(people)
    whole, cut = trained(training, tmp_path / "whole"), folder_of(tmp_path / "cut", training)
    ends_as_undisturbed(training, cut, whole, steps)


def test_a_dilated_training_goes_on_and_is_loaded_as_what_it_is(people: Path, tmp_path: Path) -> None:
    training = training_of(people, dilation=2)
    whole, cut = trained(training, tmp_path / "whole"), folder_of(tmp_path / "cut", training)
    ends_as_undisturbed(training, cut, whole, 7)
    assert load_weights(whole.best, task="detection").network.dilation == 2
    assert whole.read().recipe.dilation == 2
    undilated = trained(training_of(people), tmp_path / "plain")
    assert timeless(undilated) != timeless(whole)
    begun = started_from(replace(training_of(people), init=str(whole.best)))
    assert begun.endswith("(of dilation 2, here 1: train.dilation), with its classifier")
    folder = folder_of(tmp_path / "other", training)
    fit(training, folder, Workers(), stop=after(2))
    with pytest.raises(UsageError, match=r"of another recipe: dilation 2 instead of 1"):
        fit(with_recipe(training, dilation=1), folder, Workers())


def test_loading_processes_change_nothing(people: Path, tmp_path: Path) -> None:
    training = training_of(people, epochs=2)
    whole = trained(training, tmp_path / "whole")
    others = trained(replace(training, data=replace(training.data, workers=2)), tmp_path / "others")
    assert timeless(others) == timeless(whole)
    assert others.last.read_bytes() == whole.last.read_bytes()


QUIET: dict[str, Any] = {"dropout": 0.0, "label_smoothing": 0.0, "ema": 0.0, "batch": 8}


def test_overfitting_learns_the_people_of_two_batches_by_heart(people: Path, tmp_path: Path) -> None:
    """The same crops over and over, tested as whole pictures: views that were never trained on."""
    training = training_of(people, epochs=40, validate_every=40, lr=3.2, flip=False, **QUIET)
    folder = trained(replace(training, overfit_batches=2), tmp_path / "a")
    losses = [row["loss"] for row in folder.rows() if "loss" in row]
    assert len(losses) == 80
    assert losses[0] == pytest.approx(math.log(2), rel=0.05)
    assert losses[-1] < 0.05 * losses[0]
    best = folder.read().best
    assert best is not None
    assert best.goodness > 0.95


def test_what_is_learned_is_true_of_people_never_seen(people: Path, tmp_path: Path) -> None:
    """Red, green and blinking figures of other films, in boxes of a detector that are not quite theirs."""
    training = training_of(people, epochs=30, validate_every=30, lr=1.6, **QUIET)
    best = trained(training, tmp_path / "a").read().best
    assert best is not None
    assert best.goodness > 0.9


def test_validations_but_the_last_are_on_the_seconds_that_the_stride_divides(
    people: Path, tmp_path: Path
) -> None:
    """Key frames are at seconds 0.75 and 1.25 of 4 films; what is trained is the same."""
    training = training_of(people, validate_every=1, epochs=3)
    halved = with_recipe(training, validate_stride=2)
    task, network = task_of(halved, open_detection(halved.data), Workers()), new_network(halved)
    assert isinstance(task, Detection)
    few, whole = (task.scores(network, last) for last in (False, True))
    assert (len(few.scenes), len(whole.scenes)) == (4, 8)
    for one, same in zip(few.scenes, whole.scenes[::2], strict=True):
        np.testing.assert_array_equal(one.found, same.found)
    assert "validate_stride" not in identity(training)["recipe"]  # as checkpoints of before have it
    both = [trained(one, tmp_path / str(one.recipe.validate_stride)) for one in (training, halved)]
    losses = [[row["val_loss"] for row in folder.rows() if "mAP" in row] for folder in both]
    assert [each == other for each, other in zip(*losses, strict=True)] == [False, False, True]
    assert both[0].last.read_bytes() == both[1].last.read_bytes()
    assert both[1].best.read_bytes() == both[1].last.read_bytes()  # a part and the whole do not compare


def test_changed_boxes_are_refused(people: Path, tmp_path: Path) -> None:
    training = replace(training_of(people), data_fingerprint="another")
    with pytest.raises(DataError, match="the data set has changed since the training began"):
        fit(training, folder_of(tmp_path / "a", training), Workers())


def test_a_validation_without_detected_people_is_refused_at_the_start(people: Path, tmp_path: Path) -> None:
    """The made detector's scores are below 1."""
    training = training_of(people)
    data = replace(training.data, test_score=1.0)
    training = replace(training, data=data, data_fingerprint=open_detection(data).fingerprint)
    folder = folder_of(tmp_path / "a", training)
    with pytest.raises(DataError, match=r"val\.csv: no detected person at its .* 1 or more; lower data"):
        fit(training, folder, Workers())
    assert folder.rows() == []


def test_a_checkpoint_of_another_recipe_is_refused(people: Path, tmp_path: Path) -> None:
    training = training_of(people)
    folder = folder_of(tmp_path / "a", training)
    fit(training, folder, Workers(), stop=after(2))
    with pytest.raises(UsageError, match=r"of another recipe: label_smoothing 0\.1 instead of 0"):
        fit(with_recipe(training, label_smoothing=0.0), folder, Workers())


@pytest.mark.slow
def test_a_training_that_was_killed_ends_as_if_it_had_not(people: Path, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(dump_spec(SMALL, "small"))
    settings = ("batch=4", "epochs=12", "checkpoint_minutes=0", "ema=0.9", "validate_every=4",
                "precise_bn=2")  # fmt: skip
    options = ["train", "small.yaml", "--task", "detection", "--data", str(people),
               *(f"--set=train.{setting}" for setting in settings)]  # fmt: skip

    def start(name: str) -> Command:
        record = tmp_path / "runs" / name / "training.json"
        return Command([*(["train", "--resume"] if record.exists() else options), "--run", name], tmp_path)

    told = killed(start, kills=1, seed=20261129)
    assert (told.kills, told.orphans) == (1, set())
    whole = TrainingFolder(tmp_path / "runs" / "whole")
    for name in told.finished:
        cut = TrainingFolder(tmp_path / "runs" / name)
        assert timeless(cut) == timeless(whole)
        assert cut.best.read_bytes() == whole.best.read_bytes()
        assert cut.last.read_bytes() == whole.last.read_bytes()
