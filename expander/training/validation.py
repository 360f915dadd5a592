"""Validation: every video of a list, the probabilities of its views averaged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn

from expander.config.settings import DataConfig
from expander.data.annotations import VideoData, VideoList
from expander.data.clips import Batch, TrainingClips, ViewClips, loader, training_order
from expander.errors import DataError
from expander.training.averaging import measure_statistics
from expander.training.distributed import Workers
from expander.training.loop import Diverged
from expander.training.training_folder import Training
from expander.video.decoder import Decoder


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


def check_readable(bad: Sequence[str], videos: VideoList, config: DataConfig, kind: str) -> None:
    """Raises DataError for too many unreadable videos in a list, naming the first. kind: of the list."""
    if len(bad) > config.max_bad_fraction * len(videos):
        share = f"{len(bad)} of {len(videos)} {kind} videos cannot be read"
        raise DataError(f"{share}, more than data.max_bad_fraction; {bad[0]}")


@torch.inference_mode()
def score_videos(
    network: nn.Module, batches: Iterable[Batch], views: int, device: torch.device
) -> VideoScores:
    """Scores whose views come video by video, `views` of each (`ViewClips`)."""
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


STATISTICS_SEED = 1_000_003
"""Added to the seed for the clips of precise batch norm: others than those trained on."""


def validate(
    network: nn.Module, training: Training, data: VideoData, frames: Decoder, team: Workers
) -> VideoScores:
    """The scores of the validation videos, the same in every process. Raises DataError or Diverged."""
    _refresh(network, training, data, frames, team)
    scores = _scores(network, training, data.val, frames, team)
    check_readable(scores.bad, data.val, training.data, "validation")
    if scores.diverged:
        raise Diverged("the scores of the validation are not finite; a lower learning rate may help")
    return scores


def _refresh(network: nn.Module, training: Training, data: VideoData, frames: Decoder, team: Workers) -> None:
    recipe = training.recipe
    count = min(recipe.precise_bn, training.steps_per_epoch)
    if count == 0:
        return
    part = recipe.batch // (team.size * recipe.accumulate)
    parts = count * recipe.accumulate
    items = training_order(len(data.train), part * parts * team.size, training.seed + STATISTICS_SEED)
    own = islice(items, team.rank * part * parts, (team.rank + 1) * part * parts)
    clips = TrainingClips(data.train, training.spec, recipe.flip, frames)
    measure_statistics(network, loader(clips, own, part, training.data.workers), team)


def _scores(
    network: nn.Module, training: Training, videos: VideoList, frames: Decoder, team: Workers
) -> VideoScores:
    """Process r takes videos r, r + size, ...; the results are put back in the order of the list."""
    views, mine = training.recipe.views, None
    if own := range(team.rank, len(videos), team.size):
        clips = ViewClips(videos, training.spec, views, frames)
        items = [video * views + view for video in own for view in range(views)]
        part = training.recipe.batch // (team.size * training.recipe.accumulate)
        mine = score_videos(network, loader(clips, items, part, training.data.workers), views, team.device)
    shares = [share for share in team.gather(mine) if share is not None]
    order = torch.cat([torch.arange(rank, len(videos), team.size) for rank in range(team.size)]).argsort()
    return VideoScores(
        torch.cat([share.probabilities for share in shares])[order],
        torch.cat([share.labels for share in shares])[order],
        tuple(message for share in shares for message in share.bad),
    )
