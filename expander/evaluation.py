"""Validation: every video of a list, the probabilities of its views averaged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from expander.data.dataset import Batch


@dataclass(frozen=True, slots=True)
class VideoScores:
    """probabilities: (V, classes) mean over views. labels: (V,). bad: unreadable videos, as told."""

    probabilities: Tensor
    labels: Tensor
    bad: tuple[str, ...]

    @property
    def correct(self) -> Tensor:
        """(V,) whether the most probable class is the label; never for an unreadable video."""
        return (self.probabilities.argmax(1) == self.labels) & self.readable

    @property
    def readable(self) -> Tensor:
        """(V,) whether the video could be decoded."""
        return self.probabilities.isfinite().all(1)

    @property
    def diverged(self) -> bool:
        """Whether a video that could be read got no finite score."""
        return int((~self.readable).sum()) > len(self.bad)

    @property
    def video_top1(self) -> float:
        """Share of videos right, of all in the list."""
        return float(self.correct.double().mean())

    @property
    def loss(self) -> float:
        """Mean negative log-probability of the label, over the readable videos."""
        rows = self.readable
        chosen = self.probabilities[rows].gather(1, self.labels[rows, None])
        return float(-chosen.clamp_min(1e-12).log().double().mean())


@torch.inference_mode()
def score_videos(
    network: nn.Module, batches: Iterable[Batch], views: int, device: torch.device
) -> VideoScores:
    """Scores whose views come video by video, `views` of each (dataset.ViewClips)."""
    network.eval()
    probabilities, labels = [], []
    bad: list[str] = []
    for batch in batches:
        logits = network(batch.clips.to(device, non_blocking=True))
        probabilities.append(logits.softmax(1).cpu())
        labels.append(batch.labels)
        bad.extend(batch.bad)
    per_view = torch.cat(probabilities)
    per_video = per_view.view(-1, views, per_view.shape[1]).mean(1)
    return VideoScores(per_video, torch.cat(labels)[::views], tuple(dict.fromkeys(bad)))
