"""The dilation of a detector as users set it: told once, known to what follows, refused where it is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import ASSETS, Run
from people import made
from saved_networks import SPEC, saved

from expander.engine.train import TrainOrder, plan
from expander.training.training_folder import TrainingFolder
from expander.weights.safetensors_file import load_weights

FAST = ("--epochs", "2", "--set=train.batch=8", "--set=train.lr=0.8", "--set=train.precise_bn=2",
        "--set=train.validate_every=1", "--set=backend.cpus_per_trial=1")  # fmt: skip
WITHIN = "dilation must be at least 1"


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small set with boxes of a detector."""
    return made(tmp_path_factory.mktemp("people") / "set", train=8, val=4)


def ran(expander: Run, *words: object) -> str:
    """What a command says that ends well."""
    done = expander(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_test_and_a_training_after_it_need_not_be_told(
    expander: Run, people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path, ("a", "b"), SPEC)
    words = ("train", "net.yaml", "--task", "detection", "--data", people, "--run", "wide", *FAST)
    ran(expander, *words, "--set=train.dilation=2")
    training = TrainingFolder(tmp_path / "runs/wide").read()
    assert training.best is not None
    assert load_weights(tmp_path / "runs/wide/best.safetensors", task="detection").network.dilation == 2
    ran(expander, "test", "wide", "--task", "detection")
    found = json.loads((tmp_path / "runs/wide/tests/best-detection.json").read_text())
    assert found["metrics"]["frame_map"]["value"] == pytest.approx(training.best.goodness, abs=1e-6)
    monkeypatch.chdir(tmp_path)
    own = str(tmp_path / "own.yaml")
    Path(own).write_text("epochs: 3\ndilation: 1\n")
    dilations = [
        plan(TrainOrder("wide", recipe=recipe, overrides=more, task="detection"))[0].recipe.dilation
        for recipe, *more in (("ava",), ("ava", "train.dilation=1"), ("ava", "train.dilation=3"), (own,))
    ]
    assert dilations == [2, 1, 3, 1]
    assert "last stage dilated by 2" in ran(expander, "train", "wide", "--dry-run", *FAST)


@pytest.mark.slow
def test_what_a_search_trains_and_what_it_found_is_dilated(
    expander: Run, people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran(expander, "search", "--task", "detection", "--space", ASSETS / "micro.yaml", "--target-gflops",
        "0.0008", "--data", people, "--max-steps", "1", "--set", "axes.width.limit=1", "--backend", "inline",
        "--run", "grown", "--set", "proxy.dilation=2")  # fmt: skip
    files = list((tmp_path / "runs/grown/trials").glob("*/weights.safetensors"))
    assert files
    assert {load_weights(file, task="detection").network.dilation for file in files} == {2}
    monkeypatch.chdir(tmp_path)
    training, _ = plan(TrainOrder("grown:final", task="detection"))
    assert training.recipe.dilation == 2


@pytest.mark.parametrize(
    ("setting", "task", "said"),
    [("dilation=0", "detection", WITHIN), ("dilation=17", "detection", "dilation must be at most 16 ("),
     ("dilation=1.5", "detection", "input should be a valid integer"),
     ("dilation=2", "classification", "train.dilation is of --task detection; leave it out of a class"),
     ("validate_stride=2", "classification", "train.validate_stride is of --task detection; leave it out")],
)  # fmt: skip
def test_a_training_refuses_what_is_none_in_a_line(
    expander: Run, tmp_path: Path, people: Path, videos: Path, setting: str, task: str, said: str
) -> None:
    saved(tmp_path, ("a", "b"), SPEC)
    data = people if task == "detection" else videos
    refused = expander("train", "net.yaml", "--task", task, "--data", data, f"--set=train.{setting}")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert said in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_search_of_classification_has_none(expander: Run, micro: list[str]) -> None:
    refused = expander(*micro, "--set", "proxy.dilation=2")
    assert refused.returncode == 2
    assert refused.stderr == (
        "error: proxy.dilation is of --task detection; leave it out of a classification\n"
    )
