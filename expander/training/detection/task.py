"""What a training of detection learns from and is measured by: people at key frames."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from torch import Tensor, nn

from expander.data.ava.boxes import to_train, to_validate
from expander.data.ava.keyframes import DetectionData
from expander.data.ava.samples import TestPeople, TrainingPeople
from expander.data.clips import Batch, batched, loader, training_order
from expander.data.tasks import decoder_of
from expander.model.detector import Detector
from expander.model.network import X3D
from expander.training.averaging import measure_statistics
from expander.training.detection.scores import Answers, Loading, PeopleScores, answered, measured
from expander.training.detection.step import DetectionStep
from expander.training.distributed import Workers
from expander.training.sampler import shares
from expander.training.training_folder import Training
from expander.training.validation import STATISTICS_SEED


class Detection:
    """See tasks.TrainingTask. Raises DataError where no detected person would be validated on."""

    step = DetectionStep

    def __init__(self, training: Training, data: DetectionData, team: Workers) -> None:
        self.training, self.data, self.team = training, data, team
        self.frames = decoder_of(data, training.data)
        self.videos = len(data.train.footage)
        people = to_train(data.train, training.data.train_score)
        self.clips = TrainingPeople(people, data.train.footage, training.spec, self.frames)
        self.clips.flip = training.recipe.flip
        recipe, score = training.recipe, training.data.test_score
        self.few = self.all = to_validate(data, score, 1)
        if recipe.validate_stride > 1:
            self.few = to_validate(data, score, recipe.validate_stride)
        self.partial = len(self.few[1]) < len(self.all[1])
        self.part = recipe.batch // (team.size * recipe.accumulate)

    def batches(self, begin: int, loaders: int) -> Iterator[Batch]:
        """See tasks.TrainingTask."""
        return iter(batched(self.clips, shares(self.training, len(self.clips), begin, self.team), loaders))

    def scores(self, network: X3D, last: bool) -> PeopleScores:
        """See tasks.TrainingTask. Process r takes videos r, r + size, ..."""
        assert isinstance(network, Detector)
        self._refresh(network)
        team, loaders = self.team, self.training.data.workers
        data, tested = self.all if last else self.few
        clips = TestPeople(tested, self.data.val.footage, self.training.spec, self.frames)
        turn = {name: number for number, name in enumerate(dict.fromkeys(one.video for one in tested))}
        own = [number for number, one in enumerate(tested) if turn[one.video] % team.size == team.rank]
        mine = answered(network, clips, own, Loading(self.part, loaders, team.device))
        shared: list[Answers] = team.gather(mine)
        together = {number: rows for share in shared for number, rows in share.scores.items()}
        bad = tuple(message for share in shared for message in share.bad)
        return measured(tested, Answers(together, bad), data, self.training.data)

    def _refresh(self, network: Detector) -> None:
        """Precise batch norm, by clips alone."""
        training, team = self.training, self.team
        count = min(training.recipe.precise_bn, training.steps_per_epoch)
        if count == 0:
            return
        clips = self.part * count * training.recipe.accumulate
        items = training_order(len(self.clips), clips * team.size, training.seed + STATISTICS_SEED)
        own = islice(items, team.rank * clips, (team.rank + 1) * clips)
        batches = loader(self.clips, own, self.part, training.data.workers)
        measure_statistics(_Features(network), batches, team)


class _Features(nn.Module):
    """A detector called with clips alone: its statistics do not depend on boxes."""

    def __init__(self, network: Detector) -> None:
        super().__init__()
        self.network = network

    def forward(self, x_NCTHW: Tensor) -> Tensor:
        return self.network.features(x_NCTHW)
