"""A validation within a training: precise batch norm, then every video, shared among the processes."""

from __future__ import annotations

from itertools import islice

import torch
from torch import nn

from expander.averages import measure_statistics
from expander.data.annotations import VideoData, VideoList
from expander.data.dataset import TrainingClips, ViewClips, loader, training_order
from expander.data.decode import Decoder
from expander.errors import DataError
from expander.evaluation import VideoScores, score_videos
from expander.team import Team
from expander.training import Diverged
from expander.trainings import Training

STATISTICS_SEED = 1_000_003
"""Added to the seed for the clips of precise batch norm: others than those trained on."""


def validate(
    network: nn.Module, training: Training, data: VideoData, frames: Decoder, team: Team
) -> VideoScores:
    """The scores of the validation videos, the same in every process. Raises DataError or Diverged."""
    _refresh(network, training, data, frames, team)
    scores = _scores(network, training, data.val, frames, team)
    if len(scores.bad) > training.data.max_bad_fraction * len(data.val):
        share = f"{len(scores.bad)} of {len(data.val)} validation videos cannot be read"
        raise DataError(f"{share}, more than data.max_bad_fraction; {scores.bad[0]}")
    if scores.diverged:
        raise Diverged("the scores of the validation are not finite; a lower learning rate may help")
    return scores


def _refresh(network: nn.Module, training: Training, data: VideoData, frames: Decoder, team: Team) -> None:
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
    network: nn.Module, training: Training, videos: VideoList, frames: Decoder, team: Team
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
