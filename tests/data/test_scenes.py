"""The embedded set for action detection: boxes that fit, labels that hold, files that are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest

from expander.config.settings import DataConfig
from expander.data import sources
from expander.data.ava.boxes import iou
from expander.data.ava.folder import open_detection, recognised
from expander.data.embedded import scenes
from expander.data.embedded.detection import ACTIONS, POSTURES, SceneConfig, ensure_scenes
from expander.data.embedded.drawing import Limb, paint
from expander.data.embedded.figures import FPS, Camera
from expander.data.embedded.making import verify
from expander.data.embedded.scenes import render_scene
from expander.data.embedded.skeleton import Array, Joints
from expander.errors import DataError

TINY = SceneConfig(train=4, val=3, frames=44, height=64, width=96)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ensure_scenes(tmp_path_factory.mktemp("scenes"), TINY, workers=1)


@pytest.mark.parametrize("action", ACTIONS)
def test_a_box_is_the_extent_of_the_pixels_of_a_body(action: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bodies, drawn = list[list[Limb]](), scenes.dressed

    def kept(camera: Camera, body: Joints, colours: Mapping[str, Array]) -> list[Limb]:
        bodies.append(drawn(camera, body, {name: np.full(3, 255.0) for name in colours}))
        return bodies[-1]

    monkeypatch.setattr(scenes, "dressed", kept)
    _, (person,) = render_scene([action], np.random.default_rng(3), 40, 112, 160)
    alone = np.zeros((40, 112, 160, 3), np.float32)
    paint(alone, bodies[0])
    for frame in range(0, 40, 7):
        rows, columns = (np.flatnonzero(alone[frame, :, :, 0].max(axis=axis) > 0) for axis in (1, 0))
        seen = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        assert person.boxes[frame] * (160, 112, 160, 112) == pytest.approx(seen, abs=1.01)


def test_people_stand_side_by_side_in_order_and_hide_little_of_each_other() -> None:
    hidden = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        _, people = render_scene(rng.choice(ACTIONS, 3, replace=False).tolist(), rng, 40, 112, 176)
        boxes = np.stack([person.boxes[20] for person in people])
        assert np.all(np.diff(boxes[:, ::2].mean(axis=1)) > 0)
        assert np.all(boxes[:, 2:] > boxes[:, :2])
        hidden += (iou(boxes, boxes) - np.eye(3)).max(axis=1).tolist()
    assert np.mean(np.array(hidden) > 0.2) < 0.1


def test_what_is_played_once_is_true_while_it_is_played_and_changes_the_posture() -> None:
    seen = 0
    for seed in range(6):
        _, (person,) = render_scene(["sit-down"], np.random.default_rng(seed), 64, 32, 48)
        begin, end = np.flatnonzero(person.acting)[[0, -1]]
        assert person.acting[begin : end + 1].all()
        assert 0.8 * 1.2 * FPS - 2 <= end - begin + 1 <= 0.8 * 1.9 * FPS + 2  # its shortest and longest
        assert not person.low[: begin + 1].any()
        assert person.low[end:].all()
        seen += begin > 0
    assert seen  # of some the beginning is in the film
    _, (waves,) = render_scene(["wave"], np.random.default_rng(0), 64, 32, 48)
    assert waves.acting.all()
    assert not waves.low.any()


def test_the_files_are_a_detection_folder_with_films_that_have_the_key_seconds(made: Path) -> None:
    assert recognised(made)
    data = open_detection(DataConfig(folder=str(made)))
    assert data.classes == (*ACTIONS, *POSTURES)
    assert (len(data.train), len(data.val)) == (12, 9)
    assert [len(frame) for frame in data.val.truth] == [2] * 3 + [3] * 3 + [2] * 3
    for frame in data.train.truth:
        assert frame.labels is not None
        assert frame.labels[:, -2:].sum(axis=1).tolist() == [1] * len(frame)  # a posture each
        assert frame.labels[:, :-2].sum(axis=1).max() == 1
        with av.open(str(data.train.footage[frame.video].path)) as film:
            assert film.streams.video[0].codec_context.name == "h264"
            assert 0 < frame.second < sum(1 for _ in film.decode(video=0)) / FPS


def test_detected_boxes_are_near_people_or_of_nobody(tmp_path: Path) -> None:
    root = ensure_scenes(tmp_path, replace(TINY, train=60, val=1, frames=24, seconds=(1.0,)), workers=1)
    train = open_detection(DataConfig(folder=str(root))).train
    assert train.detected is not None
    truth = {frame.moment: frame.boxes for frame in train.truth}
    near = [iou(frame.boxes, truth[frame.moment]).max(axis=1) for frame in train.detected]
    right, scores = np.concatenate(near) > 0.5, np.concatenate([frame.scores for frame in train.detected])
    people = sum(map(len, train.truth))
    assert 0.85 * people < right.sum() < people  # 6 in 100 are missed
    assert 0.05 * people < (~right).sum() < 0.3 * people
    assert (scores[right] > 0.8).mean() > 0.9
    assert 0 < (scores[~right] > 0.8).mean() < 0.5


def test_the_set_is_the_same_with_more_workers_and_another_with_another_seed(made: Path) -> None:
    again = ensure_scenes(made.parent / "again", TINY, workers=2)
    manifest = (made / "manifest.json").read_bytes()
    assert (again / "manifest.json").read_bytes() == manifest
    assert verify(again) == []
    other = ensure_scenes(made.parent, TINY, seed=1, workers=1)
    assert other.parent == made.parent
    assert (other / "train.csv").read_text() != (made / "train.csv").read_text()


def test_without_a_folder_the_embedded_set_is_opened_and_lists_are_refused(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sources, "ensure_scenes", partial(ensure_scenes, config=TINY, workers=1))
    own = open_detection(DataConfig(folder=str(made))).fingerprint
    assert open_detection(DataConfig()).fingerprint == own
    assert [path.name for path in (tmp_path / "expander").iterdir()] == [made.name]
    with pytest.raises(DataError, match="instead of --train-ann"):
        open_detection(DataConfig(train_ann="a.csv", val_ann="b.csv"))
