"""Average precision against cases by hand, a definition written out, and finite differences."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from expander.metrics.average_precision import (
    average_precisions,
    credits,
    mean_average_precision,
    resampled,
)

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def by_definition(scores: list[float], truth: list[bool], weights: list[float]) -> float:
    """Area under precision over recall, threshold by threshold, from the highest."""
    area, recall_before = 0.0, 0.0
    whole = sum(w for w, t in zip(weights, truth, strict=True) if t)
    for threshold in sorted(set(scores), reverse=True):
        taken = [(w, t) for s, t, w in zip(scores, truth, weights, strict=True) if s >= threshold]
        right = sum(w for w, t in taken if t)
        recall = right / whole
        area += (recall - recall_before) * right / sum(w for w, _ in taken) if taken else 0.0
        recall_before = recall
    return area


def scene(seed: int, videos: int = 30, classes: int = 4) -> tuple[Floats, Bools]:
    """Scores with ties, some of them by hundreds, and a rare class."""
    rng = np.random.default_rng(seed)
    truth = rng.random((videos, classes)) < rng.choice([0.05, 0.3, 0.8], classes)
    truth[rng.integers(videos), 0] = True
    noisy = truth * rng.choice([0.0, 0.5, 2.0]) + rng.standard_normal((videos, classes))
    return noisy.round(int(rng.integers(0, 4))), truth


@pytest.mark.parametrize(("scores", "truth", "expected"), [
    ([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 0], (1 + 2 / 3) / 2),
    ([0.9, 0.8, 0.7, 0.6], [0, 0, 0, 1], 1 / 4),
    ([0.9, 0.8, 0.7, 0.6], [1, 1, 1, 1], 1.0),
    ([0.5, 0.5, 0.5, 0.5], [1, 0, 0, 0], 1 / 4),  # all of one score: precision is the share of positives
    ([0.9, 0.5, 0.5, 0.1], [0, 1, 0, 1], (1 / 3 + 2 / 4) / 2),
    ([0.9, -np.inf, -np.inf], [1, 1, 0], (1 + 2 / 3) / 2),  # unreadable videos come last, together
    ([0.3, 0.2], [0, 0], np.nan),
])  # fmt: skip
def test_average_precision_of_cases_by_hand(scores: list[float], truth: list[int], expected: float) -> None:
    (found,) = average_precisions(np.array(scores)[:, None], np.array(truth, bool)[:, None])
    assert found == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_average_precision_is_that_of_the_definition_in_200_scenes() -> None:
    for seed in range(200):
        scores, truth = scene(seed)
        expected = [by_definition(scores[:, k].tolist(), truth[:, k].tolist(), [1.0] * len(scores))
                    for k in range(4) if truth[:, k].any()]  # fmt: skip
        found = average_precisions(scores, truth)
        assert found[~np.isnan(found)] == pytest.approx(expected, abs=1e-9)
        assert mean_average_precision(scores, truth) == pytest.approx(np.mean(expected), abs=1e-9)


def test_the_order_of_the_videos_decides_nothing() -> None:
    scores, truth = scene(7)
    order = np.random.default_rng(0).permutation(len(scores))
    assert average_precisions(scores[order], truth[order]) == pytest.approx(
        average_precisions(scores, truth), nan_ok=True)  # fmt: skip
    assert credits(scores[order], truth[order]) == pytest.approx(credits(scores, truth)[order])


def test_no_labels_at_all_have_no_measure() -> None:
    nothing = np.zeros((3, 2), bool)
    for measure in (mean_average_precision, credits):
        with pytest.raises(ValueError, match="no video has a label"):
            measure(np.zeros((3, 2)), nothing)


def test_credits_are_the_derivative_of_map_by_the_weight_of_a_video() -> None:
    for seed in range(20):
        scores, truth = scene(seed, videos=12)
        kept = [k for k in range(4) if truth[:, k].any()]

        def measure(weights: Floats, scores: Floats = scores, truth: Bools = truth,
                    kept: list[int] = kept) -> float:  # fmt: skip
            parts = [by_definition(scores[:, k].tolist(), truth[:, k].tolist(), weights.tolist())
                     for k in kept]  # fmt: skip
            return float(np.mean(parts))

        step, one = 1e-6, np.ones(12)
        slopes = [(measure(one + step * unit) - measure(one - step * unit)) / (2 * step)
                  for unit in np.eye(12)]  # fmt: skip
        found = credits(scores, truth)
        assert found == pytest.approx(measure(one) + 12 * np.array(slopes), abs=1e-6)
        assert found.mean() == pytest.approx(mean_average_precision(scores, truth), abs=1e-12)


def test_resamples_are_those_of_repeated_videos() -> None:
    scores, truth = scene(3)
    rng = np.random.default_rng(1)
    drawn = rng.integers(30, size=(50, 30))
    weights = np.stack([np.bincount(row, minlength=30) for row in drawn])
    expected = [mean_average_precision(scores[row], truth[row]) for row in drawn]
    assert resampled(scores, truth, weights) == pytest.approx(expected)


def test_credits_drawn_again_spread_as_map_of_videos_drawn_again() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random((400, 8)) < 0.2
    scores = truth * 1.0 + rng.standard_normal(truth.shape)
    weights = rng.multinomial(400, np.full(400, 1 / 400), size=2000)
    whole = resampled(scores, truth, weights)
    linear = weights @ credits(scores, truth) / 400
    assert linear.std() == pytest.approx(whole.std(), rel=0.1)
    assert np.corrcoef(linear, whole)[0, 1] > 0.98
