"""Validation: every video of a list, the probabilities of its views averaged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy

from expander.config.settings import DataConfig
from expander.data.annotations import VideoData, VideoList
from expander.data.clips import Batch, TrainingClips, ViewClips, loader, training_order
from expander.errors import DataError
from expander.metrics.average_precision import Bools, Floats, credits, mean_average_precision
from expander.runs.evidence import pack_bits, pack_credits
from expander.training.averaging import measure_statistics
from expander.training.distributed import Workers
from expander.training.loop import Diverged
from expander.training.training_folder import MEASURES, Training
from expander.video.decoder import Decoder


@dataclass(frozen=True, slots=True)
class VideoScores:
    """probabilities: (V, classes) mean over views, or of several labels the highest of them.

    labels: (V,) class numbers, or (V, classes) ones and zeros of several labels. bad: unreadable videos, as
    told.
    """

    probabilities: Tensor
    labels: Tensor
    bad: tuple[str, ...]

    @property
    def multi_label(self) -> bool:
        """Whether videos have several labels each."""
        return self.labels.dim() == 2

    @property
    def measure(self) -> str:
        """What its goodness is called."""
        return MEASURES[self.multi_label]

    @property
    def goodness(self) -> float:
        """What networks are chosen by: video_top1, or mAP of several labels."""
        return self.mean_average_precision if self.multi_label else self.video_top1

    @property
    def evidence(self) -> str:
        """What each video says of the network: see `runs.evidence`."""
        if self.multi_label:
            return pack_credits(credits(*self._ranked).tolist())
        return pack_bits(self.correct.tolist())

    @property
    def mean_average_precision(self) -> float:
        """Of videos with several labels; an unreadable one comes last for every class."""
        return mean_average_precision(*self._ranked)

    @property
    def _ranked(self) -> tuple[Floats, Bools]:
        """Scores and truth as `average_precision` takes them."""
        scores = self.probabilities.double().masked_fill(~self.readable[:, None], -torch.inf)
        return scores.numpy(), self.labels.bool().numpy()

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
        """Mean negative log-probability of the label, or of each class as it is, over the readable videos."""
        rows = self.readable
        if self.multi_label:
            likely = self.probabilities[rows].double().clamp(1e-12, 1 - 1e-12)
            return float(binary_cross_entropy(likely, self.labels[rows].double()))
        chosen = self.probabilities[rows].gather(1, self.labels[rows, None])
        return float(-chosen.clamp_min(1e-12).log().double().mean())


def check_readable(bad: Sequence[str], videos: int, config: DataConfig, kind: str) -> None:
    """Raises DataError for too many unreadable videos of so many, naming the first. kind: of their list."""
    if len(bad) > config.max_bad_fraction * videos:
        share = f"{len(bad)} of {videos} {kind} videos cannot be read"
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
        several = batch.labels.dim() == 2
        probabilities.append((logits.sigmoid() if several else logits.softmax(1)).cpu())
        labels.append(batch.labels)
        bad.extend(batch.bad)
    per_view = torch.cat(probabilities)
    of_video = per_view.view(-1, views, per_view.shape[1])
    wanted = torch.cat(labels)[::views]
    per_video = of_video.mean(1) if wanted.dim() == 1 else of_video.amax(1)
    return VideoScores(per_video, wanted, tuple(dict.fromkeys(bad)))


STATISTICS_SEED = 1_000_003
"""Added to the seed for the clips of precise batch norm: others than those trained on."""


def validate(
    network: nn.Module, training: Training, data: VideoData, frames: Decoder, team: Workers
) -> VideoScores:
    """The scores of the validation videos, the same in every process. Raises DataError or Diverged."""
    _refresh(network, training, data, frames, team)
    scores = _scores(network, training, data.val, frames, team)
    check_readable(scores.bad, len(data.val), training.data, "validation")
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
