"""Frame mAP: small cases by hand, and random scenes against another way to count."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from recall_levels import another_ap

from expander.metrics.boxes import iou
from expander.metrics.frame_map import (
    RESAMPLES,
    Ranked,
    Scene,
    average_precisions,
    interval,
    mean_over,
    ranked,
)

UNIT = [0.0, 0.0, 1.0, 1.0]
AWAY = [0.0, 0.0, 0.1, 0.1]


Rows = Sequence[Sequence[float]]


def scene(truth: Rows, found: Rows, scores: Sequence[float], video: int = 0) -> Scene:
    """A key frame of one class that every box of the ground truth has."""
    return Scene(video, np.array(truth).reshape(-1, 4), np.ones((len(truth), 1), np.bool_),
                 np.array(found).reshape(-1, 4), np.array(scores).reshape(-1, 1))  # fmt: skip


def precision_of(*scenes: Scene) -> float:
    """AP of the only class."""
    return float(average_precisions(ranked(scenes, 1))[0])


@pytest.mark.parametrize(
    ("found", "scores", "expected"),
    [
        ([UNIT], [0.9], 1.0),
        ([UNIT, UNIT], [0.9, 0.8], 1.0),  # the second is a duplicate: wrong, and after all is found
        ([AWAY, UNIT], [0.9, 0.8], 0.5),
        ([AWAY, UNIT], [0.8, 0.8], 0.5),  # a tie: as they come
        ([UNIT, AWAY], [0.8, 0.8], 1.0),
        ([[0, 0, 1, 0.5]], [0.9], 1.0),  # touches an overlap of one half
        ([[0, 0, 1, 0.499]], [0.9], 0.0),
        ([], [], 0.0),
    ],
)
def test_one_person(found: list[list[float]], scores: list[float], expected: float) -> None:
    assert precision_of(scene([UNIT], found, scores)) == expected


def test_a_duplicate_that_comes_before_another_person_costs() -> None:
    other = [2.0, 0.0, 3.0, 1.0]
    found = precision_of(scene([UNIT, other], [UNIT, UNIT, other], [0.9, 0.8, 0.7]))
    assert found == pytest.approx((1 + 2 / 3) / 2)


def test_precision_may_only_fall() -> None:
    # By hand: precision at the three hits 1/1, 2/4, 3/5; the envelope lifts the second to 3/5.
    boxes = [[2.0 * i, 0.0, 2.0 * i + 1, 1.0] for i in range(3)]
    found = precision_of(scene(boxes, [boxes[0], AWAY, AWAY, boxes[1], boxes[2]], [0.9, 0.8, 0.7, 0.6, 0.5]))
    assert found == pytest.approx((1 + 3 / 5 + 3 / 5) / 3)


def test_a_box_counts_in_its_own_key_frame_only() -> None:
    assert precision_of(scene([UNIT], [], []), scene([AWAY], [UNIT], [0.9])) == 0


def test_classes_without_ground_truth_or_not_counted_leave_the_mean() -> None:
    labels = np.array([[True, False, True]])
    frame = Scene(0, np.array([UNIT]), labels, np.array([UNIT, AWAY]),
                  np.array([[0.9, 0.9, 0.1], [0.1, 0.8, 0.9]]))  # fmt: skip
    found = average_precisions(ranked([frame], 3))
    assert found.tolist()[::2] == [1.0, 0.5]
    assert np.isnan(found[1])
    assert mean_over(found, (0, 1, 2)) == 0.75
    assert mean_over(found, (1, 2)) == 0.5
    assert np.isnan(mean_over(found, (1,)))


def test_a_class_that_was_not_asked_for_is_no_detection() -> None:
    frame = scene([UNIT], [AWAY, UNIT], [np.nan, 0.8])
    assert precision_of(frame) == 1


def test_nothing_to_measure_is_told() -> None:
    with pytest.raises(ValueError, match="no key frame"):
        ranked([], 1)


def random_scenes(count: int, classes: int, seed: int) -> list[Scene]:
    """Detections near the ground truth and elsewhere, with scores of one digit: many ties."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        n, more = int(rng.integers(0, 4)), int(rng.integers(0, 3))
        corner = rng.random((n + more, 2)) * 0.6
        boxes = np.concatenate([corner, corner + 0.1 + rng.random((n + more, 2)) * 0.3], 1)
        near = np.clip(boxes + rng.normal(0, 0.04, boxes.shape), 0, 1)
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 0.01)
        labels = rng.random((n, classes)) < 0.4
        found.append(Scene(number // 5, boxes[:n], labels, near, rng.random((n + more, classes)).round(1)))
    return found


def test_200_random_scenes_give_what_another_way_to_count_gives() -> None:
    scenes = random_scenes(200, 6, 0)
    found = average_precisions(ranked(scenes, 6))
    expected = [another_ap(scenes, number) for number in range(6)]
    assert 0.1 < np.mean(expected) < 0.9
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def test_single_random_scenes_too() -> None:
    for each in random_scenes(100, 2, 1):
        expected = [another_ap([each], number) for number in range(2)]
        np.testing.assert_allclose(average_precisions(ranked([each], 2)), expected, rtol=0, atol=1e-9)


def test_a_video_that_counts_twice_is_two_videos() -> None:
    rng = np.random.default_rng(3)
    scenes = [Scene(s.video, s.truth, s.labels, s.found, rng.random(s.scores.shape))
              for s in random_scenes(15, 2, 2)]  # fmt: skip
    repeated = [each for each in scenes for _ in range((2, 0, 1)[each.video])]
    weighted = average_precisions(ranked(scenes, 2), np.array([2, 0, 1]))
    np.testing.assert_allclose(weighted, average_precisions(ranked(repeated, 2)), rtol=0, atol=1e-12)


def test_many_draws_of_videos_are_each_of_them() -> None:
    scenes = random_scenes(60, 3, 9)
    each, rng = ranked(scenes, 3), np.random.default_rng(1)
    weights = rng.integers(0, 3, (50, len(each[0].positives)))
    for one in each:
        expected = [one.average_precision(row) for row in weights]
        np.testing.assert_allclose(one.resampled(weights), expected, rtol=0, atol=1e-12)
    nothing = ranked([scene([], [UNIT], [0.9])], 1)[0]
    assert np.isnan(nothing.resampled(np.ones((2, 1), np.int64))).all()
    missed = ranked([scene([UNIT], [AWAY], [0.9])], 1)[0]
    assert missed.resampled(np.array([[1], [2], [0]])).tolist()[:2] == [0.0, 0.0]


def test_the_interval_is_that_of_draws_of_videos() -> None:
    # Two videos, one all right and one all wrong: mAP of a draw is 1, about 1/2 or 0.
    good, bad = scene([UNIT], [UNIT], [0.9], 0), scene([UNIT], [], [], 1)
    low, high = interval(ranked([good, bad], 1), (0,))
    assert (low, high) == (0.0, 1.0)
    assert interval(ranked([good], 1), (0,)) == (1.0, 1.0)
    assert RESAMPLES >= 1000


def test_boxes_without_area_overlap_nothing() -> None:
    flat = np.array([[0.2, 0.2, 0.2, 0.8]])
    assert iou(flat, flat).tolist() == [[0.0]]
    assert isinstance(ranked([scene([UNIT], [UNIT], [1])], 1)[0], Ranked)
