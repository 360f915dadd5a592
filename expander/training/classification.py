"""What a training of classification learns from and is measured by: clips of videos, and all their views."""

from __future__ import annotations

from collections.abc import Iterator

from expander.data.annotations import VideoData
from expander.data.clips import Batch, TrainingClips, batched
from expander.data.shards.order import buffered
from expander.data.sources import decoder
from expander.model.network import X3D
from expander.training.distributed import Workers
from expander.training.sampler import shares
from expander.training.step import FullStep
from expander.training.training_folder import Training
from expander.training.validation import VideoScores, validate


class Classification:
    """See tasks.TrainingTask."""

    step = FullStep
    partial = False

    def __init__(self, training: Training, data: VideoData, team: Workers) -> None:
        self.training, self.data, self.team = training, data, team
        self.frames = decoder(training.data, data.fingerprint)
        self.videos = len(data.train)

    def batches(self, begin: int, loaders: int) -> Iterator[Batch]:
        """See tasks.TrainingTask."""
        training = self.training
        clips = TrainingClips(self.data.train, training.spec, training.recipe.flip, self.frames)
        through = None if training.overfit_batches else buffered(self.data.train, training.data)
        items = shares(training, len(self.data.train), begin, self.team, through)
        return iter(batched(clips, items, loaders))

    def scores(self, network: X3D, last: bool) -> VideoScores:  # noqa: ARG002
        """See tasks.TrainingTask. Each validation is the same."""
        return validate(network, self.training, self.data, self.frames, self.team)
