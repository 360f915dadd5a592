"""What each video gives to frame mAP: against differences of weighted mAP, and drawn videos."""

from __future__ import annotations

import numpy as np
import pytest

from expander.metrics.boxes import Floats
from expander.metrics.frame_map import (
    Ranked,
    Scene,
    average_precisions,
    credits,
    mean_over,
    ranked,
)

MANY = 10**7
"""Times that every video counts, so that one more is little."""


def scenes(seed: int, videos: int = 12, classes: int = 3) -> list[Scene]:
    """Two key frames a video with two people each, found with noisy boxes and scores, and a false box."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(2 * videos):
        truth = np.array([[0.0, 0.0, 0.4, 1.0], [0.5, 0.0, 0.9, 1.0]])
        labels = rng.random((2, classes)) < 0.4
        boxes = np.concatenate([truth + rng.normal(0, 0.04, truth.shape), rng.random((1, 4))])
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2])
        likely = np.concatenate([labels, np.zeros((1, classes))]) + rng.normal(0, 0.7, (3, classes))
        found.append(Scene(number // 2, truth, labels, boxes, likely))
    return found


def slopes(one: Ranked) -> tuple[Floats, Floats]:
    """(V,) of AP by the weight of each video, upward and downward."""
    whole = np.full(len(one.positives), MANY)
    here, both = one.average_precision(whole), []
    for sign in (1, -1):
        steps = []
        for video in range(len(whole)):
            near = whole.copy()
            near[video] += sign * 10
            steps.append((one.average_precision(near) - here) * sign * MANY / 10)
        both.append(np.array(steps))
    return both[0], both[1]


@pytest.mark.parametrize("seed", range(5))
def test_the_derivative_is_that_of_differences(seed: int) -> None:
    checked = 0
    for one in ranked(scenes(seed), 3):
        up, down = slopes(one)
        smooth = np.abs(up - down) < 1e-6  # where two places of a list are equally precise, AP has an edge
        checked += smooth.sum()
        found = one.derivative()
        np.testing.assert_allclose(found[smooth], up[smooth], rtol=0, atol=1e-6)
        assert found.sum() == pytest.approx(0, abs=1e-12)
    assert checked >= 18


def test_a_class_without_ground_truth_has_none() -> None:
    empty = Ranked(np.zeros(2, np.bool_), np.array([0, 1]), np.zeros(2, np.int64))
    assert np.isnan(empty.derivative()).all()


def test_nothing_was_found_and_nothing_follows() -> None:
    blind = Ranked(np.zeros(0, np.bool_), np.zeros(0, np.int64), np.array([2, 1]))
    assert blind.derivative().tolist() == [0.0, 0.0]


def test_credits_are_map_in_the_mean_and_of_draws_nearly() -> None:
    each, evaluated = ranked(scenes(7, videos=200), 3), (0, 2)
    found = credits(each, evaluated)
    assert found.mean() == pytest.approx(mean_over(average_precisions(each), evaluated), abs=1e-12)
    rng, exact, first_order = np.random.default_rng(0), [], []
    for _ in range(200):
        drawn = np.bincount(rng.integers(200, size=200), minlength=200)
        exact.append(mean_over(average_precisions(each, drawn), evaluated))
        first_order.append((found * drawn).mean())
    assert np.corrcoef(exact, first_order)[0, 1] > 0.98
    assert np.std(first_order) == pytest.approx(np.std(exact), rel=0.1)


def test_a_class_that_nobody_shows_leaves_the_credits() -> None:
    two = ranked(scenes(3), 3)
    rare = Ranked(np.zeros(0, np.bool_), np.zeros(0, np.int64), np.zeros(12, np.int64))
    np.testing.assert_array_equal(credits([*two, rare], (0, 1, 2, 3)), credits(two, (0, 1, 2)))
