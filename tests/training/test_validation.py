"""Scores of videos: the mean of their views' probabilities, and unreadable ones."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from expander.data.clips import Batch
from expander.model.network import X3D
from expander.specs.spec import Base, Spec
from expander.training.validation import VideoScores, score_videos

CPU = torch.device("cpu")


class Echo(nn.Module):
    """A network whose clips are their own logits."""

    def forward(self, x: Tensor) -> Tensor:
        return x


def in_batches(logits: Tensor, labels: Sequence[int], views: int, size: int) -> list[Batch]:
    """Views video by video, in batches that need not end with a video."""
    repeated = torch.tensor([label for label in labels for _ in range(views)])
    pairs = zip(logits.split(size), repeated.split(size), strict=True)
    return [Batch(clips, of_clips, ()) for clips, of_clips in pairs]


def softmax(row: np.ndarray) -> np.ndarray:
    powers = np.exp(row - row.max())
    return powers / powers.sum()


@pytest.mark.parametrize(("views", "batch"), [(1, 4), (2, 3), (3, 2), (10, 7)])
def test_probabilities_are_the_mean_over_views_of_the_softmax(views: int, batch: int) -> None:
    random = np.random.default_rng(views)
    logits = random.normal(size=(5, views, 4)) * 5
    labels = [3, 0, 1, 1, 2]
    flat = torch.tensor(logits.reshape(-1, 4))
    scores = score_videos(Echo(), in_batches(flat, labels, views, batch), views, CPU)
    expected = np.array([np.mean([softmax(row) for row in video], axis=0) for video in logits])
    np.testing.assert_allclose(scores.probabilities.numpy(), expected, rtol=1e-10)
    assert scores.labels.tolist() == labels
    assert scores.correct.tolist() == (expected.argmax(1) == labels).tolist()
    assert scores.video_top1 == np.mean(expected.argmax(1) == labels)
    picked = [expected[video, label] for video, label in enumerate(labels)]
    assert scores.loss == pytest.approx(-np.log(picked).mean())


def test_probabilities_are_averaged_not_logits_nor_votes() -> None:
    """Two unsure views for class 0 and one that is certain of class 1."""
    logits = torch.tensor([[0.2, 0.0], [0.2, 0.0], [0.0, 9.0]])
    scores = score_videos(Echo(), in_batches(logits, [1], 3, 3), 3, CPU)
    sure = 1 / (1 + math.exp(-9))
    unsure = 1 / (1 + math.exp(0.2))
    assert scores.probabilities[0, 1].item() == pytest.approx((2 * unsure + sure) / 3)
    assert scores.video_top1 == 1


def test_an_unreadable_video_counts_as_wrong_and_not_in_the_loss() -> None:
    nan = math.nan
    logits = torch.tensor([[9.0, 0.0], [9.0, 0.0], [nan, nan], [nan, nan], [0.0, 9.0], [0.0, 9.0]])
    scores = score_videos(Echo(), in_batches(logits, [0, 0, 1], 2, 4), 2, CPU)
    assert scores.readable.tolist() == [True, False, True]
    assert scores.correct.tolist() == [True, False, True]
    assert scores.video_top1 == pytest.approx(2 / 3)
    assert scores.loss == pytest.approx(math.log1p(math.exp(-9)), rel=1e-3)


def test_a_video_with_one_unreadable_view_counts_as_wrong() -> None:
    logits = torch.tensor([[9.0, 0.0], [math.nan, math.nan]])
    scores = score_videos(Echo(), in_batches(logits, [0], 2, 2), 2, CPU)
    assert scores.video_top1 == 0


def test_unreadable_videos_are_told_once_in_order() -> None:
    clips, labels = torch.zeros(2, 3), torch.tensor([0, 0])
    batches = [Batch(clips, labels, ("b", "a")), Batch(clips, labels, ("a", "c"))]
    assert score_videos(Echo(), batches, 2, CPU).bad == ("b", "a", "c")


def test_an_unreadable_clip_spoils_no_other_clip_of_its_batch() -> None:
    base = Base(frames=3, stride=1, crop=16, stem_width=4, depths=(1, 2), head_width=8, classes=3)
    torch.manual_seed(0)
    network = X3D(Spec(base))
    clips = torch.randn(4, 3, 3, 16, 16)
    labels = torch.zeros(4, dtype=torch.long)
    whole = score_videos(network, [Batch(clips, labels, ())], 1, CPU)
    spoilt = clips.clone()
    spoilt[1] = math.nan
    found = score_videos(network, [Batch(spoilt, labels, ())], 1, CPU)
    assert found.readable.tolist() == [True, False, True, True]
    keep = [0, 2, 3]
    torch.testing.assert_close(found.probabilities[keep], whole.probabilities[keep])


def test_validation_changes_no_weight_and_no_statistic_of_the_network() -> None:
    network = X3D(Spec(Base(crop=8, stem_width=4, depths=(1,), head_width=4, classes=3))).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    batch = Batch(torch.randn(2, 3, 1, 8, 8), torch.tensor([0, 1]), ())
    one = score_videos(network, [batch], 1, CPU)
    two = score_videos(network, [batch], 1, CPU)
    assert torch.equal(one.probabilities, two.probabilities)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not one.probabilities.requires_grad


def test_a_certain_mistake_costs_a_finite_loss() -> None:
    scores = VideoScores(torch.tensor([[1.0, 0.0]]), torch.tensor([1]), ())
    assert scores.loss == pytest.approx(-math.log(1e-12))
