"""Searches of action detection: the same wherever they run and however they are stopped, and what follows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from conftest import ASSETS, Run, decisions
from kills import kill_after
from people import CLASSES, made

from expander.config.settings import DataConfig, Recipe
from expander.data.tasks import open_for
from expander.runs.evidence import by_video
from expander.runs.orders import TrialOrder
from expander.runs.trials import Trial, TrialResult
from expander.specs.cost import cost
from expander.specs.spec import Base, Spec
from expander.training.proxy.trial import run_trial
from expander.weights.safetensors_file import load_weights

TINY = Spec(Base(frames=2, stride=4, crop=32, stem_width=8, depths=(1, 1), head_width=16, width_divisor=2))


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small set with boxes of a detector."""
    return made(tmp_path_factory.mktemp("people") / "set")


@pytest.fixture
def grow(people: Path) -> list[str]:
    """Options of a search that takes seconds."""
    return ["search", "--task", "detection", "--space", str(ASSETS / "micro.yaml"), "--target-gflops",
            "0.0008", "--data", str(people), "--max-steps", "1", "--set", "axes.width.limit=1"]  # fmt: skip


def order_of(people: Path, folder: Path, steps: int = 8) -> TrialOrder:
    settings = DataConfig(str(people), cache_gb=0)
    data = open_for("detection", settings)
    recipe = Recipe(steps=steps, batch=4, lr=0.1, dropout=0.5, views=2)
    trial = Trial("t", 0, "base", TINY, seed=3)
    return TrialOrder(trial, recipe, settings, data.classes, data.fingerprint, str(folder), threads=1,
                      task="detection")  # fmt: skip


def test_a_trial_repeats_bit_for_bit_and_its_evidence_is_of_videos(people: Path, tmp_path: Path) -> None:
    results = [run_trial(order_of(people, tmp_path / name)) for name in "ab"]
    first, again = results
    assert isinstance(first, TrialResult)
    assert isinstance(again, TrialResult)
    assert (first.accuracy, first.loss, first.correct) == (again.accuracy, again.loss, again.correct)
    assert first.videos == 8
    assert by_video(first.correct, 8).mean() == pytest.approx(first.accuracy, abs=1e-9)
    files = [tmp_path / name / "trials/t/weights.safetensors" for name in "ab"]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert load_weights(files[0], task="detection").classes == CLASSES
    rows = (tmp_path / "a/trials/t/metrics.jsonl").read_text().splitlines()
    assert json.loads(rows[-1])["mAP"] == first.accuracy


def test_other_scores_of_a_detector_are_other_data(people: Path) -> None:
    """Results of one are not taken over for the other."""
    settings = DataConfig(str(people))
    others = (settings, replace(settings, train_score=0.95), replace(settings, test_score=0.5))
    assert len({open_for("detection", one).fingerprint for one in others}) == 3


def test_it_grows_by_the_cost_of_a_clip_with_one_person(
    expander: Run, grow: list[str], tmp_path: Path
) -> None:
    done = expander(*grow, "--run", "r", "--backend", "inline", "--max-trials", "1")
    assert done.returncode == 5, done.stderr
    events = [json.loads(line) for line in (tmp_path / "runs/r/journal.jsonl").read_text().splitlines()]
    base = next(event for event in events if event["event"] == "step_planned")["candidates"][0]
    sizes = {**base["spec"]["base"], "depths": tuple(base["spec"]["base"]["depths"])}
    spec = Spec(Base(**sizes))
    assert base["cost"]["macs"] == cost(spec, boxes=1).macs > cost(spec).macs
    refused = expander("search", "--run", "r", "--resume", "--task", "detection")
    assert refused.returncode == 2
    assert "--resume takes --run NAME" in refused.stderr


def test_data_with_boxes_say_which_task_they_are_for(expander: Run, grow: list[str]) -> None:
    words = [word for word in grow if word not in ("--task", "detection")]
    refused = expander(*words)
    assert refused.returncode == 3
    assert len(refused.stderr.strip().splitlines()) == 1
    assert "--task detection" in refused.stderr


@pytest.mark.slow
def test_killed_on_ray_it_ends_as_undisturbed_inline(
    expander: Run, grow: list[str], tmp_path: Path
) -> None:
    done = expander(*grow, "--backend", "inline", "--run", "whole")
    assert done.returncode == 0, done.stderr
    kill_after([*grow, "--backend", "ray", "--run", "cut"], 3, tmp_path)
    done = expander("search", "--run", "cut", "--resume")
    assert done.returncode == 0, done.stderr
    runs = tmp_path / "runs"
    assert decisions(runs / "cut/journal.jsonl") == decisions(runs / "whole/journal.jsonl")


@pytest.mark.slow
def test_from_a_search_to_what_people_do_in_a_film(
    expander: Run, grow: list[str], people: Path, tmp_path: Path
) -> None:
    def ran(*arguments: object) -> str:
        done = expander(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    ran(*grow, "--run", "grown", "--backend", "inline")
    journal = (tmp_path / "runs/grown/journal.jsonl").read_text().splitlines()
    chosen = [row for row in map(json.loads, journal) if row["event"] == "step_chosen"][-1]
    ran("test", "grown", "--task", "detection", "--out", tmp_path / "proxy.json")
    proxy = json.loads((tmp_path / "proxy.json").read_text())
    assert proxy["metrics"]["frame_map"]["value"] == pytest.approx(chosen["accuracy"], abs=1e-6)
    assert proxy["cost"]["macs_per_clip"] == chosen["winner"]["cost"]["macs"]
    settings = ("--set=train.batch=8", "--set=train.lr=0.8", "--epochs", "2")
    ran("train", "grown:final", "--task", "detection", "--init", "grown", "--run", "full", *settings)
    ran("test", "full", "--task", "detection")
    tested = json.loads((tmp_path / "runs/full/tests/best-detection.json").read_text())
    assert (tested["n"], tested["videos"], tested["n_failed"]) == (16, 8, 0)
    ran("report", "grown", "full", "--format", "html", "--out", "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "No frames to show" not in page
    assert page.count('<img src="data:image/png;base64,') > 2 * 3  # of two specs three strips, and key frames
    assert "Average precision of each class, and how many true boxes have it" in page
    assert "Which videos cannot be read is not known" not in page
    ran("report", "full", "--format", "csv", "--table", "tests", "--out", "tests.csv")
    row = pd.read_csv(tmp_path / "tests.csv").iloc[0]
    assert (row["metric"], row["videos"]) == ("frame_map", 8)
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("second,x1,y1,x2,y2\n0.75,0,0,0.3,1\n1.25,0.3,0,0.6,1\n1.25,0.6,0,1,1\n")
    film = people / "films/val000.mp4"
    asked = ran("predict", film, "--weights", "full", "--boxes", boxes, "--draw", "drawn.mp4", "--json")
    found = json.loads(asked)
    assert [(one["second"], one["number"]) for one in found] == [(0.75, 1), (1.25, 1), (1.25, 2)]
    assert all({action["label"] for action in one["actions"]} == set(CLASSES) for one in found)
    assert (tmp_path / "drawn.mp4").stat().st_size > 0
