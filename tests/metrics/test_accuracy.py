"""Metrics by hand, and the conventions that differ between MMAction2 and ours."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expander.metrics.accuracy import (
    class_accuracy,
    confusion,
    in_top,
    interval,
    mean_class_accuracy,
    resampled,
)
from expander.report.confusion import figure, matrix

SCORES = np.array([[0.1, 0.2, 0.7], [0.5, 0.4, 0.1], [0.3, 0.3, 0.4], [0.2, 0.2, 0.6]], np.float32)
LABELS = np.array([2, 1, 0, 0])


def test_top_k_counts_labels_among_the_k_highest() -> None:
    assert in_top(SCORES, LABELS, 1).tolist() == [True, False, False, False]
    assert in_top(SCORES, LABELS, 2).tolist() == [True, True, True, True]
    assert in_top(SCORES, LABELS, 9).all()


def test_of_equal_scores_the_lower_class_comes_first_as_in_argmax() -> None:
    equal = np.zeros((3, 3), np.float32)
    assert in_top(equal, np.array([0, 1, 2]), 1).tolist() == [True, False, False]
    assert in_top(equal, np.array([0, 1, 2]), 2).tolist() == [True, True, False]


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.lists(st.lists(st.integers(0, 9), min_size=5, max_size=5), min_size=1), st.integers(1, 5))
def test_top_k_is_that_of_sorting(rows: list[list[int]], k: int) -> None:
    scores = np.array(rows, np.float32)
    labels = np.arange(len(rows)) % 5
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    wanted = [label in row for label, row in zip(labels, best.tolist(), strict=True)]
    assert in_top(scores, labels, k).tolist() == wanted


def test_mean_class_accuracy_leaves_out_absent_classes_and_mmaction2_counts_predicted_ones() -> None:
    predicted, labels = np.array([0, 0, 1, 2]), np.array([0, 0, 0, 1])
    counts = confusion(predicted, labels, 4)
    assert counts.tolist() == [[2, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    shares = class_accuracy(counts).tolist()
    assert shares[:2] == [pytest.approx(2 / 3), 0]
    assert math.isnan(shares[2])
    assert mean_class_accuracy(counts) == pytest.approx((2 / 3 + 0) / 2)
    assert mean_class_accuracy(counts, predicted_too=True) == pytest.approx((2 / 3 + 0 + 0) / 3)


def test_the_interval_of_an_accuracy_is_that_of_its_binomial() -> None:
    labels = np.zeros(400, np.int64)
    predicted = (np.arange(400) >= 300).astype(np.int64)  # 75 % right
    draws = resampled([predicted == labels], predicted, labels, 2)
    low, high = interval(draws[0])
    deviation = math.sqrt(0.75 * 0.25 / 400)
    assert low == pytest.approx(0.75 - 1.96 * deviation, abs=0.005)
    assert high == pytest.approx(0.75 + 1.96 * deviation, abs=0.005)
    assert np.array_equal(draws[0], draws[1])  # one class: its mean is the accuracy
    assert np.array_equal(draws, resampled([predicted == labels], predicted, labels, 2))


def test_resampled_means_follow_the_convention() -> None:
    predicted, labels = np.array([0, 0, 2, 1]), np.array([0, 0, 0, 1])
    ours = resampled([], predicted, labels, 3)[-1]
    theirs = resampled([], predicted, labels, 3, predicted_too=True)[-1]
    assert (theirs <= ours).all()
    assert (theirs < ours).any()


def test_the_confusion_matrix_is_a_table_of_names() -> None:
    table = matrix({"confusion": [[0, 0, 5], [1, 0, 2]], "classes": ["jump, rope", "sit"]})
    assert table.to_csv().splitlines() == [
        'true \\ predicted,"jump, rope",sit', '"jump, rope",5,0', "sit,2,0"
    ]  # fmt: skip


def test_the_confusion_figure_has_shares_of_the_true_class_in_its_cells() -> None:
    test = {"confusion": [[0, 0, 5], [1, 0, 1], [1, 1, 3]], "classes": ["jump", "sit"]}
    drawn = figure(test, 5.0, "two classes")
    assert drawn is not None
    (axes,) = drawn.axes
    assert [(text.get_text(), text.xy) for text in axes.texts] == [
        ("100", (0, 0)), ("25", (0, 1)), ("75", (1, 1))
    ]  # fmt: skip
    entries = [*([n, n, 2] for n in range(60)), [59, 0, 6]]
    many = {"confusion": entries, "classes": [f"c{n}" for n in range(60)]}
    drawn = figure(many, 8.0)
    assert drawn is not None
    shown = drawn.axes[0].images[0].get_array()
    assert shown is not None
    # Of class 59 a quarter is right; the smallest share is dark enough to be seen.
    assert [shown[0][0], shown[0][1], shown[59][59]] == pytest.approx([1.0, 0.0, 0.12 + 0.88 / 4])
