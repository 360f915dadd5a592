"""Action detection as a user runs it: a training, its test, and a film with what it found drawn in it."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from conftest import Run
from films import film, textured
from forking import run
from numpy.typing import NDArray
from people import CLASSES, SECONDS, made
from recall_levels import another_ap
from saved_networks import saved

from expander.config.space import dump_spec
from expander.data.ava.annotations import key_frames
from expander.data.ava.rows import read_boxes
from expander.metrics.frame_map import Scene
from expander.model.network import X3D
from expander.specs.spec import Base, Spec
from expander.training.init import CLASSIFIER, new_network
from expander.training.training_folder import TrainingFolder
from expander.weights.safetensors_file import load_weights, save_weights

pytestmark = pytest.mark.slow
SPEC = Spec(Base(frames=4, stride=1, crop=32, stem_width=8, depths=(1, 1), head_width=16, width_divisor=4))
FAST = ("train.epochs=3", "train.batch=8", "train.lr=0.8", "train.precise_bn=2", "train.label_smoothing=0.2",
        "backend.cpus_per_trial=1")  # fmt: skip
FILM = "films/val000.mp4"


def done(place: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """What a command says that ends well."""
    ended = run(list(map(str, words)), place)
    assert ended.returncode == 0, ended.stderr
    return ended


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data set, a spec, and a network that was trained a little and tested."""
    folder = tmp_path_factory.mktemp("detection")
    made(folder / "set", train=8, val=6)
    (folder / "net.yaml").write_text(dump_spec(SPEC, "small"))
    done(folder, "train", "net.yaml", "--task", "detection", "--data", "set", "--run", "t",
         *(f"--set={setting}" for setting in FAST))  # fmt: skip
    done(folder, "test", "net.yaml", "runs/t/last.safetensors", "--task", "detection", "--data", "set",
         "--out", "found.json")  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def result(place: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((place / "found.json").read_text())
    return found


def rows(file: Path) -> list[dict[str, str]]:
    with file.open() as text:
        return list(csv.DictReader(text))


def corners(row: dict[str, str]) -> tuple[float, ...]:
    return tuple(float(row[name]) for name in ("x1", "y1", "x2", "y2"))


def scenes_of(truth: Sequence[dict[str, str]], found: Sequence[dict[str, str]]) -> list[Scene]:
    """Key frame by key frame, from the rows of two files alone."""
    moments = list(dict.fromkeys((row["video"], float(row["second"])) for row in truth))
    scenes = []
    for moment in moments:
        own = [row for row in truth if (row["video"], float(row["second"])) == moment]
        labels = [[name in row["labels"].split(";") for name in CLASSES] for row in own]
        scores: dict[tuple[float, ...], dict[str, float]] = {}
        for row in found:
            if (row["video"], float(row["second"])) == moment:
                scores.setdefault(corners(row), {})[row["labels"]] = float(row["score"])
        rated = np.array([[each[name] for name in CLASSES] for each in scores.values()])
        scenes.append(Scene(0, np.array([corners(row) for row in own]), np.array(labels),
                            np.array(list(scores)).reshape(-1, 4), rated.reshape(-1, 3)))  # fmt: skip
    return scenes


def test_frame_map_is_what_another_count_of_the_two_files_gives(place: Path, result: dict[str, Any]) -> None:
    """The files: the ground truth that is tested, and the detections that the test leaves."""
    scenes = scenes_of(rows(place / "set/val.csv"), rows(place / "found.detections.csv"))
    assert len(scenes) == result["n"] == 12
    expected = {name: another_ap(scenes, number) for number, name in enumerate(CLASSES)}
    assert {row["class"]: row["average_precision"] for row in result["per_class"]} == pytest.approx(
        expected, abs=1e-9)  # fmt: skip
    measured = result["metrics"]["frame_map"]
    assert measured["value"] == pytest.approx(np.mean(list(expected.values())), abs=1e-9)
    assert 0.2 < measured["low"] <= measured["value"] <= measured["high"] <= 1
    assert len(set(expected.values())) == 3
    counts = {row["class"]: row["n"] for row in result["per_class"]}
    assert counts == {name: sum(name in row["labels"].split(";") for row in rows(place / "set/val.csv"))
                      for name in CLASSES}  # fmt: skip


def test_the_test_scores_the_detected_people_and_says_so(place: Path, result: dict[str, Any]) -> None:
    """Those of at least 0.8; the made detector's false ones have at most 0.7."""
    found = [row for row in rows(place / "set/val_detected.csv") if float(row["score"]) >= 0.8]
    assert result["boxes"] == len(found)
    assert len(rows(place / "found.detections.csv")) == 3 * len(found)
    all_of_them = done(place, "test", "t", "--min-score", "0", "--out", "all.json")
    assert json.loads((place / "all.json").read_text())["boxes"] == len(rows(place / "set/val_detected.csv"))
    assert "frame mAP" in all_of_them.stdout
    assert "at IoU 0.5, 95 % over videos" in all_of_them.stdout


def test_the_detections_are_read_back(place: Path, result: dict[str, Any]) -> None:
    back = key_frames(read_boxes(place / "found.detections.csv", detected=True), CLASSES)
    tested = key_frames(read_boxes(place / "set/val_detected.csv", detected=True), CLASSES)
    assert [frame.moment for frame in back] == [frame.moment for frame in tested]
    for frame, wanted in zip(back, tested, strict=True):
        np.testing.assert_array_equal(frame.boxes, wanted.boxes[wanted.scores >= 0.8])
    assert sum(map(len, back)) == result["boxes"]


def test_the_figures_of_a_test_are_there(place: Path) -> None:
    for kind in ("classes", "keyframes"):
        assert (place / f"found.{kind}.png").read_bytes().startswith(b"\x89PNG")


def decoded(path: Path) -> NDArray[np.int64]:
    """(T, H, W, 3) of a film, by the library itself."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]).astype(int)


Drawn = tuple[list[str], NDArray[np.int64], NDArray[np.float64]]


def drawn(place: Path, video: str, boxes: list[str]) -> Drawn:
    """What `predict --draw` prints, the film that it makes, and how far each pixel is from the source's."""
    (place / "asked.csv").write_text("\n".join(["second,x1,y1,x2,y2", *boxes]) + "\n")
    words = ("--weights", "t", "--boxes", "asked.csv", "--draw", "drawn.mp4")
    said = done(place, "predict", video, *words).stdout
    film_of, source = decoded(place / "drawn.mp4"), decoded(place / video)
    assert film_of.shape == source.shape
    return said.splitlines(), film_of, np.abs(film_of - source).mean(3)


def test_a_drawn_film_has_boxes_around_their_seconds(place: Path) -> None:
    """20 frames a second, the first key second is 0.75: boxes are from frame 5 to the last of 32."""
    people = [row for row in rows(place / "set/val.csv") if row["video"] == FILM]
    boxes = [",".join([row["second"], *map(str, corners(row))]) for row in people]
    said, _, changed = drawn(place, f"set/{FILM}", boxes)
    assert said[-1] == f"drawn: {place / 'drawn.mp4'}"
    assert len(said) == 1 + len(people)
    assert said[0].startswith(f"     {SECONDS[0]:.2f} s  person 1  ")
    within, without = changed[5:], changed[:5]
    assert without.mean() < 4
    for row in people:
        left, top, right, bottom = (round(x * size) for x, size in zip(corners(row), (80, 48, 80, 48),
                                                                       strict=True))  # fmt: skip
        for lines, least, most in ((within, 25, 255), (without, 0, 8)):
            assert least <= lines[:, top, left:right].mean() <= most
            assert least <= lines[:, top:bottom, left].mean() <= most


def test_a_drawn_film_is_the_source_away_from_the_boxes(place: Path) -> None:
    """A box in the left half of 128 x 192 pixels at second 1 of 2: frames 13 to 37 of 50 have it."""
    film(place / "wide.mp4", 50, size=(128, 192), draw=textured)
    _, film_of, changed = drawn(place, "wide.mp4", ["1.0,0.125,0.25,0.375,0.75"])
    assert changed[:13].mean() < 6
    assert changed[38:].mean() < 6
    assert changed[13:38, :, 112:].mean() < 6  # right of the box and of its label
    assert changed[13:38, :24].mean() < 6
    assert changed[13:38, 40:90, 32:66].mean() < 6  # inside of the box
    edges = [film_of[:, 32:96, 24], film_of[:, 96, 24:72]]
    for blueness in ((edge[:, :, 2] - edge[:, :, 0]).mean(1) for edge in edges):  # the source is grey
        assert blueness[13:38].min() > 40
        assert max(blueness[:13].max(), blueness[38:].max()) < 10


def test_a_video_is_not_drawn_over(place: Path, expander: Run) -> None:
    (place / "one.csv").write_text("second,x1,y1,x2,y2\n1.0,0,0,0.5,1\n")
    source = place / "set" / FILM
    before = source.read_bytes()
    boxes = ("--boxes", place / "one.csv", "--draw", source)
    refused = expander("predict", source, "--weights", place / "runs/t", *boxes)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == f"error: --draw: {source} is the video itself; name another file\n"
    assert source.read_bytes() == before


def test_what_is_printed_as_json_is_what_each_person_does(place: Path) -> None:
    (place / "one.csv").write_text("second,x1,y1,x2,y2\n1.0,0,0,0.5,1\n1.0,0.5,0,1,1\n")
    words = ("predict", f"set/{FILM}", "--weights", "t", "--boxes", "one.csv", "--topk", "2", "--json")
    first, second = json.loads(done(place, *words).stdout)
    assert (first["second"], first["number"], second["number"]) == (1.0, 1, 2)
    assert second["box"] == [0.5, 0, 1, 1]
    for person in (first, second):
        likely = [one["probability"] for one in person["actions"]]
        assert len(likely) == 2
        assert 1 > likely[0] >= likely[1] > 0


def test_people_of_an_unreadable_video_count_as_not_found(
    place: Path, expander: Run, tmp_path: Path, result: dict[str, Any]
) -> None:
    """Exit code 4, unless they may be missing; the key frames are in the mean all the same."""
    shutil.copytree(place / "set", tmp_path / "set")
    (tmp_path / "set" / FILM).write_bytes(b"<html>not found</html>")
    words = ("test", place / "net.yaml", place / "runs/t/last.safetensors", "--task", "detection",
             "--data", "set", "--out", "failed.json")  # fmt: skip
    failed = expander(*words)
    assert failed.returncode == 4
    assert failed.stderr.splitlines()[-1] == "1 videos failed; --allow-missing accepts that"
    assert expander(*words, "--allow-missing").returncode == 0
    found = json.loads((tmp_path / "failed.json").read_text())
    assert (found["n"], found["n_failed"]) == (result["n"], 1)
    assert FILM in found["failed"][0]["reason"]
    left = rows(tmp_path / "failed.detections.csv")
    assert left == [row for row in rows(place / "found.detections.csv") if row["video"] != FILM]
    scenes = scenes_of(rows(place / "set/val.csv"), left)
    expected = np.mean([another_ap(scenes, number) for number in range(3)])
    assert found["metrics"]["frame_map"]["value"] == pytest.approx(expected)
    shutil.copy(place / "set" / FILM, tmp_path / "set" / FILM)  # what failed is tried again
    assert expander(*words, "--resume").returncode == 0
    assert rows(tmp_path / "failed.detections.csv") == rows(place / "found.detections.csv")
    assert not (tmp_path / "failed.scores.jsonl").exists()


def test_weights_of_another_task_are_refused_in_one_line(place: Path, videos: Path, expander: Run) -> None:
    """Exit code 2, as of every wrong option."""
    saved(place, CLASSES, SPEC)  # net.safetensors, of classification
    other = place / "net.safetensors"
    refused = expander("test", place / "net.yaml", other, "--task", "detection", "--data", place / "set")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == (
        f"error: {other}: a network for classification, used for detection: see --task\n"
    )
    own = place / "runs/t/best.safetensors"
    for words in (("test", place / "net.yaml", own, "--data", videos), ("predict", f"{place}/set/{FILM}",
                                                                      "--weights", own)):  # fmt: skip
        refused = expander(*words)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert refused.stderr == (
            f"error: {own}: a network for detection, used for classification: see --task\n"
        )


def test_weights_of_classification_begin_a_detection_without_their_classes(place: Path) -> None:
    source = saved(place, tuple(f"kinetics {number}" for number in range(24)), SPEC)
    said = done(place, "train", "net.yaml", "--task", "detection", "--data", "set", "--run", "begun",
                "--init", "net.safetensors", *(f"--set={setting}" for setting in FAST))  # fmt: skip
    assert "the classifier starts anew: 24 classes in the weights, 3 in the data" in said.stdout
    training = TrainingFolder(place / "runs/begun").read()
    begun, given = new_network(training).state_dict(), source.state_dict()
    assert [name for name in given if not begun[name].equal(given[name])] == list(CLASSIFIER)
    assert begun["head.fc2.weight"].shape == (3, given["head.fc2.weight"].shape[1])
    assert isinstance(source, X3D)
    assert load_weights(place / "runs/begun/best.safetensors", task="detection").classes == CLASSES


def test_weights_that_went_through_slowfasts_format_begin_a_detection_whole(place: Path) -> None:
    """Of a network that no seed makes; all but the layer of its classes arrives."""
    folder, source = place / "exported", saved(place, tuple(map(str, range(24))), SPEC)
    folder.mkdir()
    for name, value in source.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            value.add_(0.05 * torch.rand(value.shape))  # variances stay positive
    save_weights(folder / "ours.safetensors", source, SPEC.with_classes(24), tuple(map(str, range(24))))
    theirs, back = folder / "theirs.pyth", folder / "back.safetensors"
    done(place, "weights", "export", folder / "ours.safetensors", "--to", "slowfast", "--out", theirs)
    said = done(place, "weights", "import", theirs, "--spec", "net.yaml", "--out", back)
    assert said.stdout.startswith("slowfast weights of ")
    said = done(place, "train", "net.yaml", "--task", "detection", "--data", "set", "--run", "after",
                "--init", back, *(f"--set={setting}" for setting in FAST))  # fmt: skip
    assert "the classifier starts anew: 24 classes in the weights, 3 in the data" in said.stdout
    begun = new_network(TrainingFolder(place / "runs/after").read()).state_dict()
    given = source.state_dict()
    assert list(begun) == list(given)
    differ = [name for name in given if not begun[name].equal(given[name])]
    assert differ == list(CLASSIFIER)


@pytest.mark.parametrize("option", [("--views", "30"), ("--eval", "mean_class_accuracy")])
def test_options_of_a_test_of_classification_are_refused(
    place: Path, expander: Run, option: tuple[str, ...]
) -> None:
    refused = expander("test", place / "runs/t", *option)  # the task is the training's
    assert refused.returncode == 2
    assert refused.stderr == f"error: {option[0]}: not of --task detection\n"
