"""Recipes, which process loads what, the folder of a training, its pace: without training anything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from expander.config.load import load_training
from expander.config.settings import BackendConfig, DataConfig, TrainRecipe
from expander.data.clips import Batch, training_order
from expander.data.shards.order import Buffered
from expander.errors import DataError, UsageError
from expander.specs.spec import Spec
from expander.training.checkpoints import check_identity, identity
from expander.training.distributed import Workers
from expander.training.metrics_log import open_log
from expander.training.sampler import shares
from expander.training.schedule import lr_at
from expander.training.timing.throughput import Meter
from expander.training.training_folder import Training, TrainingFolder

TRAINING = Training(Spec(), TrainRecipe(epochs=3, batch=8), DataConfig(), "f", ("a", "b"), videos=20)


def test_the_published_recipe_is_the_default_one() -> None:
    """SlowFast's X3D configurations: 0.1 per 128 clips, 35 of 300 epochs of warm-up from 0.01."""
    recipe, data, backend = load_training("x3d", [], {})
    assert recipe == TrainRecipe()
    assert (data, backend) == (DataConfig(), BackendConfig())
    loop = recipe.loop(3000, False)
    assert (recipe.epochs, loop.lr, loop.momentum) == (300, 0.1, 0.9)
    assert (loop.weight_decay, loop.dropout) == (5e-5, 0.5)
    assert lr_at(0, loop) == pytest.approx(0.01, rel=0.05)
    assert loop.warmup == pytest.approx(35 / 300, rel=1e-3)


@pytest.mark.parametrize("name", ["x3d", "finetune", "tiny"])
def test_shipped_recipes_load_and_open_with_the_command_that_uses_them(name: str) -> None:
    load_training(name, [], {})
    root = Path(__file__).parent.parent.parent
    assert "expander train" in (root / "recipes" / f"{name}.yaml").read_text().splitlines()[0]


def test_the_learning_rate_is_scaled_to_the_batch() -> None:
    assert TrainRecipe(lr=0.1, batch=128).loop(1, False).lr == pytest.approx(0.1)
    assert TrainRecipe(lr=0.1, batch=1024).loop(1, False).lr == pytest.approx(0.8)


def test_an_override_wins_over_an_option_and_that_over_the_recipe(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("epochs: 7\nlr: 1e-3\n")
    assert load_training(str(own), [], {})[0] == TrainRecipe(epochs=7, lr=0.001)
    given_too = {"train": {"epochs": 8, "batch": None}}
    assert load_training(str(own), [], given_too)[0].epochs == 8
    recipe, data, backend = load_training(
        str(own), ["train.epochs=9", "data.workers=2", "backend.address=auto"], given_too
    )
    assert (recipe.epochs, data.workers, backend.address) == (9, 2, "auto")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epochs: 0", r"own\.yaml:1:1: .*epochs must be at least 1"),
        ("epoch: 3", r"own\.yaml:1:1: unknown key 'epoch'; did you mean 'epochs'"),
        ("lr: -1", "lr must be a positive number"),
        ("batch: 10\naccumulate: 4", "accumulate must divide batch"),
        ("ema: 1.0", "ema must be at least 0 and below 1"),
        ("[1, 2]", "a recipe is lines of `key: value`"),
    ],
)
def test_a_wrong_recipe_is_told_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(UsageError, match=said):
        load_training(str(tmp_path / "own.yaml"), [], {})


def test_an_override_of_an_unknown_section_is_told() -> None:
    with pytest.raises(UsageError, match=r"proxy\.steps=3: unknown section 'proxy'.*known: train, data"):
        load_training("x3d", ["proxy.steps=3"], {})


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.integers(3, 50), st.integers(0, 10), st.sampled_from([1, 2, 4]))
def test_the_processes_share_each_batch_and_a_resume_goes_on_in_the_order(
    videos: int, begin: int, size: int
) -> None:
    training = replace(TRAINING, videos=videos, recipe=TrainRecipe(epochs=12, batch=4))
    whole = list(training_order(videos, training.steps * 4, training.seed))
    each = [list(shares(training, videos, begin, Workers(rank, size))) for rank in range(size)]
    together = [item for step in zip(*each, strict=True) for part in step for item in part]
    assert together == whole[begin * 4 :]
    assert {len(part) for share in each for part in share} == {4 // size}


@pytest.mark.parametrize("size", [1, 2, 4])
def test_the_processes_share_what_comes_out_of_a_shuffle_buffer_without_repeats(size: int) -> None:
    through, videos = Buffered((0, 10, 25), 40, 8), 40
    training = replace(TRAINING, videos=videos, recipe=TrainRecipe(epochs=2, batch=8))
    for begin in (0, 3):
        each = [list(shares(training, videos, begin, Workers(rank, size), through)) for rank in range(size)]
        together = [item for step in zip(*each, strict=True) for part in step for item in part]
        assert together == list(training_order(videos, 80, training.seed, begin * 8, through))


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.integers(1, 30), st.integers(0, 100), st.integers(0, 100))
def test_the_order_from_a_position_is_the_rest_of_it(videos: int, clips: int, begin: int) -> None:
    whole = list(training_order(videos, clips, 3))
    assert list(training_order(videos, clips, 3, begin)) == whole[begin:]
    assert [position for _, _, position in whole] == list(range(clips))


def test_overfitting_shows_the_same_batches_over_and_over() -> None:
    training = replace(TRAINING, overfit_batches=2)
    steps = list(shares(training, 16, 0, Workers()))
    assert len(steps) == 6
    assert steps[0] == steps[2] == steps[4] != steps[1] == steps[3]


def test_the_folder_gives_back_what_was_written(tmp_path: Path) -> None:
    folder = TrainingFolder(tmp_path)
    assert not folder.exists()
    folder.write(TRAINING)
    assert folder.exists()
    assert folder.read() == TRAINING
    assert folder.rows() == []


def test_rows_after_a_checkpoint_and_torn_lines_are_cut(tmp_path: Path) -> None:
    folder = TrainingFolder(tmp_path)
    for step in range(5):
        folder.append({"step": step})
    with folder.metrics.open("ab") as file:
        file.write(b'{"step": 5, "lo')
    assert len(folder.rows()) == 5
    folder.cut(3)
    assert folder.rows() == [{"step": 0}, {"step": 1}, {"step": 2}]
    folder.append({"step": 7})
    assert TrainingFolder(tmp_path).rows() == [{"step": 0}, {"step": 1}, {"step": 2}, {"step": 7}]
    folder.metrics.write_text("{}\nno json\n{}\n")
    with pytest.raises(DataError, match=r"metrics\.jsonl:2: not a row of metrics"):
        folder.rows()


def test_metrics_go_to_csv_and_to_event_files_too(tmp_path: Path) -> None:
    folder = TrainingFolder(tmp_path)
    rows = [{"epoch": 1, "step": 1, "loss": 2.5}, {"epoch": 1, "step": 1, "val_loss": 2.0, "video_top1": 0.5}]
    for form in ("csv", "tensorboard", ""):
        log = open_log(form, folder)  # type: ignore[arg-type]
        for row in rows:
            if form == "csv":
                folder.append(row)
            log.add(row)
        log.close()
    table = (tmp_path / "metrics.csv").read_text().splitlines()
    assert table == ["epoch,step,loss,lr,clips_per_second,data_wait,val_loss,video_top1",
                     "1,1,2.5,,,,,", "1,1,,,,,2.0,0.5"]  # fmt: skip
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert b"video_top1" in events.read_bytes()


def test_a_training_is_another_one_by_classes_data_spec_recipe_and_seed(tmp_path: Path) -> None:
    same = replace(TRAINING, recipe=replace(TRAINING.recipe, checkpoint_minutes=1.0), command=("x",))
    check_identity(identity(TRAINING), identity(same), tmp_path)
    for other, kind in (
        (replace(TRAINING, classes=("a",)), DataError),
        (replace(TRAINING, data_fingerprint="g"), DataError),
        (replace(TRAINING, classes=("a", "c")), DataError),
        (replace(TRAINING, spec=Spec(width=2.0)), UsageError),
        (replace(TRAINING, recipe=TrainRecipe()), UsageError),
        (replace(TRAINING, seed=1), UsageError),
    ):
        with pytest.raises(kind):
            check_identity(identity(other), identity(TRAINING), tmp_path)


def test_the_pace_counts_clips_and_epochs_from_where_it_began() -> None:
    meter = Meter(clips=8, per_epoch=4, steps=20, done=6, device=torch.device("cpu"))
    batch = Batch(torch.zeros(1), torch.zeros(1), ())
    assert list(meter.watch(iter([batch] * 3))) == [batch] * 3
    pace = meter.close(9)
    assert (pace.step, pace.steps, pace.epoch) == (9, 20, 3)
    assert pace.clips_per_second > 0
    assert 0 <= pace.data_wait <= 1
    assert meter.close(9).clips_per_second == 0  # a span of its own
    shown = meter.pace(9)  # of the last seconds, whatever span they belong to
    assert shown.clips_per_second > 0
    assert shown.memory > 1e6
    assert not shown.on_gpu
