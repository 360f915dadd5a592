"""Videos of several labels by the command line: tested, and the whole chain from a search to a prediction."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ASSETS, Run, decisions
from forking import Command, run
from saved_networks import SPEC, saved
from several_labels import CLASSES, made

from expander.runs.evidence import by_video
from expander.training.training_folder import TrainingFolder
from expander.video.decoder import Decoder
from expander.video.view_protocols import Views
from expander.video.views import Look, look

BROKEN = "films/broken.mp4"


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 training videos and 10 to validate with, some without any label."""
    return made(tmp_path_factory.mktemp("several") / "set", train=12, val=10)


@pytest.fixture(scope="module")
def search(films: Path) -> list[str]:
    """Options of a search of seconds: three axes, two steps' worth."""
    return ["search", "--space", str(ASSETS / "micro.yaml"), "--target-gflops", "0.0004",
            "--data", str(films)]  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(search: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What the search decides."""
    place = tmp_path_factory.mktemp("undisturbed")
    done = run([*search, "--backend", "inline", "--run", "whole"], place)
    assert done.returncode == 0, done.stderr
    return decisions(place / "runs" / "whole" / "journal.jsonl")


def precision(scores: Sequence[float], has: Sequence[bool]) -> float:
    """AP by its definition: of each video with the class, the share with it among those no lower."""
    shares = []
    for mine, wanted in zip(scores, has, strict=True):
        if wanted:
            above = [there for other, there in zip(scores, has, strict=True) if other >= mine]
            shares.append(sum(above) / len(above))
    return sum(shares) / len(shares) if shares else math.nan


@pytest.mark.parametrize("average", ["max", "prob"])
def test_the_map_of_a_test_is_that_of_its_dumped_scores(
    expander: Run, films: Path, tmp_path: Path, average: str
) -> None:
    (tmp_path / "films").symlink_to(films / "films")
    (films / BROKEN).write_bytes(b"no video")
    listed = (films / "val.txt").read_text().splitlines()
    (tmp_path / "val.txt").write_text("\n".join([*listed, f"{BROKEN} 0 1", ""]))
    network = saved(tmp_path, (*CLASSES, "never"), multi_label=True)
    done = expander(
        "test", "net.yaml", "net.safetensors", "--train-ann", "val.txt", "--val-ann", "val.txt",
        "--allow-outside", "--views", "3x1", "--average-clips", average, "--out", "r.json",
        "--dump-scores", "s.jsonl", "--allow-missing",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "r.json").read_text())
    rows = [json.loads(line) for line in (tmp_path / "s.jsonl").read_text().splitlines()[1:]]
    assert [row["label"] for row in rows[:-1]] == [[int(n) for n in line.split()[1:]] for line in listed]
    assert rows.pop()["failed"]
    aps = [precision([row["scores"][k] for row in rows], [k in row["label"] for row in rows])
           for k in range(5)]  # fmt: skip
    assert math.isnan(aps[4])
    assert found["metrics"]["mean_average_precision"]["value"] == pytest.approx(sum(aps[:4]) / 4, abs=1e-12)
    assert {row["class"]: row["average_precision"] for row in found["per_class"]} == pytest.approx(
        dict(zip(CLASSES, aps[:4], strict=True)), abs=1e-12)  # fmt: skip
    assert (found["n"], found["n_failed"], found["average_clips"]) == (10, 1, average)
    assert "mAP   " in done.stdout
    assert not list(tmp_path.glob("*confusion*"))
    how = Look(SPEC.with_classes(5), Views(3, 1))
    for row, line in zip(rows, listed, strict=True):
        (views,) = look(films / line.split()[0], how, Decoder()).batches(10)
        with torch.inference_mode():
            each = torch.sigmoid(network(views)).numpy()
        combined = each.max(0) if average == "max" else each.mean(0)
        np.testing.assert_allclose(row["scores"], combined, atol=1e-5)


def _events(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_from_a_search_to_a_prediction(
    expander: Run, search: list[str], films: Path, tmp_path: Path
) -> None:
    def ran(*arguments: object) -> str:
        done = expander(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    said = ran(*search, "--run", "grown", "--backend", "inline", "--max-steps", "1")
    assert "several labels a video" in said
    assert " mAP " in said
    assert "accuracy" not in said
    results = [e["result"] for e in _events(tmp_path / "runs/grown") if e["event"] == "trial_finished"]
    for result in results:
        credits = by_video(result["correct"], 10)
        assert result["accuracy"] == pytest.approx(credits.mean(), abs=1e-9)
    for more in (["baseline", "grown", "--kind", "random", "--count", "1"],
                 ["contract", "grown", "--target-gflops", "0.0002", "--train"]):  # fmt: skip
        told = ran(*more)
        assert " mAP " in told, more
        assert "accuracy" not in told, more
    assert "mAP" in (tmp_path / "runs/grown/specs/final.yaml").read_text().splitlines()[0]
    settings = ["train.epochs=4", "train.batch=4", "train.lr=0.5", "train.precise_bn=1", "train.views=10"]
    ran("train", "grown:final", "--run", "trained", *(f"--set={setting}" for setting in settings))
    training = TrainingFolder(tmp_path / "runs" / "trained").read()
    assert training.best is not None
    assert (training.state, training.multi_label, training.measure) == ("finished", True, "mAP")
    ran("test", "trained", "--views", "10x1", "--dump-scores", "s.jsonl")
    tested = json.loads((tmp_path / "runs/trained/tests/best-expander-10x1.json").read_text())
    # The views of the validation, so its measure too.
    value = tested["metrics"]["mean_average_precision"]["value"]
    assert value == pytest.approx(training.best.goodness, abs=1e-6)
    row = json.loads((tmp_path / "s.jsonl").read_text().splitlines()[1])
    predicted = json.loads(ran("predict", films / row["video"], "--weights", "trained", "--json"))
    expected = dict(zip(CLASSES, row["scores"], strict=True))
    assert {each["label"]: each["probability"] for each in predicted} == pytest.approx(expected, abs=1e-5)
    assert "best_mAP" in ran("report", "trained")
    page = tmp_path / "page.html"
    ran("report", "grown", "trained", "--format", "html", "--out", page)
    for text in ("proxy validation mAP, %", "validation mAP, %", "average precision, %"):
        assert text in page.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["inline", "ray"])
def test_a_killed_search_of_several_labels_ends_as_an_undisturbed_one(
    expander: Run, search: list[str], undisturbed: list[str], tmp_path: Path, backend: str
) -> None:
    """The undisturbed one is inline, the other under Ray too: both choose the same by the same mAP."""
    killed = Command([*search, "--backend", backend, "--run", "cut"], tmp_path)
    told = 0
    while told < 3:  # the base is trained with three seeds, and then the step
        told += killed.stderr.readline().startswith("step ")
    killed.send_signal(signal.SIGKILL)
    killed.stderr.close()
    assert killed.wait(60) == -signal.SIGKILL
    before = len(_events(tmp_path / "runs" / "cut"))
    assert _events(tmp_path / "runs" / "cut")[-1]["event"] != "run_finished"
    done = expander("search", "--run", "cut", "--resume")
    assert done.returncode == 0, done.stderr
    cut = tmp_path / "runs" / "cut" / "journal.jsonl"
    assert decisions(cut) == undisturbed
    assert len(_events(cut.parent)) > before
    assert _events(cut.parent)[0]["multi_label"] is True
