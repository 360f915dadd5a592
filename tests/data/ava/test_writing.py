"""Detections as a file: what is read back is what was measured."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from recall_levels import another_ap

from expander.data.ava.keyframes import KeyFrame
from expander.data.ava.rows import read_boxes
from expander.data.ava.writing import detections
from expander.metrics.boxes import Floats
from expander.metrics.frame_map import Scene, average_precisions, ranked

NAMES = ("sit", "wave")


def boxes_of(rng: np.random.Generator, count: int) -> Floats:
    """(count, 4) boxes of a quarter of the picture and more."""
    corner = rng.uniform(0, 0.5, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(0.25, 0.5, (count, 2))], axis=1)


def scenes(scale: float) -> list[Scene]:
    """40 key frames of four people; scores are sigmoids of logits as far apart as `scale` says."""
    rng = np.random.default_rng(1)
    found = []
    for number in range(40):
        truth, logits = boxes_of(rng, 4), rng.normal(0, scale, (4, 3)).astype(np.float32)
        near = np.clip(truth + rng.uniform(-0.1, 0.1, truth.shape), 0, 1)
        scores = 1 / (1 + np.exp(-logits.astype(np.float64)))
        found.append(Scene(number, truth, rng.random((4, 3)) < 0.4, near, scores))
    return found


def back(file: Path, made: list[Scene], labels: tuple[str, ...]) -> list[Scene]:
    """The scenes with boxes and scores of the file."""
    rows = read_boxes(file, detected=True)
    boxes: dict[tuple[str, float], dict[tuple[float, ...], list[float]]] = defaultdict(dict)
    for video, second, box, label, score in zip(rows.video, rows.second, rows.boxes.tolist(), rows.label,
                                                rows.score, strict=True):  # fmt: skip
        own = boxes[video, second].setdefault(tuple(box), [np.nan] * len(labels))
        own[labels.index(label)] = score
    read = [boxes[place(number)] for number in range(len(made))]
    return [Scene(one.video, one.truth, one.labels, np.array(list(each)), np.array(list(each.values())))
            for one, each in zip(made, read, strict=True)]  # fmt: skip


def place(number: int) -> tuple[str, float]:
    return f"films/{number % 2}.mp4", 86_400 + number / 1000


@pytest.mark.parametrize("scale", [1.0, 12.0])
@pytest.mark.parametrize(("names", "labels"), [((), ("1", "2", "3")), (NAMES, NAMES)])
def test_the_file_has_the_average_precision_of_what_was_measured(
    tmp_path: Path, scale: float, names: tuple[str, ...], labels: tuple[str, ...]
) -> None:
    """By another count. Of a scale of 12 most scores are within a millionth of 0 or of 1."""
    made = [Scene(s.video, s.truth, s.labels[:, : len(labels)], s.found, s.scores[:, : len(labels)])
            for s in scenes(scale)]  # fmt: skip
    frames = [KeyFrame(*place(number), scene.found, None, np.ones(4)) for number, scene in enumerate(made)]
    text = detections(zip(frames, (scene.scores for scene in made), strict=True), range(len(labels)), names)
    (tmp_path / "found.csv").write_text(text)
    expected = average_precisions(ranked(made, len(labels)))
    read = back(tmp_path / "found.csv", made, labels)
    assert [another_ap(read, number) for number in range(len(labels))] == pytest.approx(expected, abs=1e-9)
    assert 0.2 < expected.min() < expected.max() < 0.8


def test_a_class_that_was_not_asked_for_has_no_row() -> None:
    frame = KeyFrame("v", 902.0, np.array([[0.1, 0.25, 0.5, 1.0]]), None, np.ones(1))
    text = detections([(frame, np.array([[0.75, np.nan, 1e-7]]))], (0, 1, 2))
    assert text == "v,0902,0.1,0.25,0.5,1.0,1,0.75\nv,0902,0.1,0.25,0.5,1.0,3,1e-07\n"
