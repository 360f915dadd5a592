"""What the proxy trainings of a task learn from and are measured by."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import torch

from expander.config.settings import DataConfig, Recipe
from expander.data.annotations import VideoData
from expander.data.ava.boxes import to_test, to_train
from expander.data.ava.keyframes import DetectionData
from expander.data.ava.samples import TestPeople, TrainingPeople
from expander.data.clips import Batch, Collated, TrainingClips, ViewClips, loader, training_order
from expander.data.shards.order import buffered
from expander.data.sources import decoder
from expander.data.tasks import TaskData, decoder_of
from expander.model.network import X3D
from expander.specs.spec import Spec
from expander.training.detection.scores import Loading, PeopleScores, answered, measured
from expander.training.detection.step import people_step
from expander.training.loop import Diverged, Step, step_on
from expander.training.tasks import Scores
from expander.training.validation import VideoScores, check_readable, score_videos
from expander.video.decoder import Decoder

Item = tuple[int, int, int]
"""Number of a sample, and what its crop is drawn from."""


class TrialScores(Scores, Protocol):
    """Of a validation, with what a search weighs."""

    @property
    def bad(self) -> tuple[str, ...]:
        """Unreadable videos, as told."""

    @property
    def evidence(self) -> str:
        """What each video says of the network: see `runs.evidence`."""


class ProxyTask(Protocol):
    """videos: in the training list. counted: videos that evidence is of. frames: who decodes them; the caller
    closes it.
    """

    videos: int
    counted: int
    multi_label: bool
    frames: Decoder

    def clips(self, spec: Spec, flip: bool) -> Collated:
        """The training samples, for a network of `spec`."""

    def order(self, clips: int, seed: int, begin: int = 0) -> Iterator[Item]:
        """Items `begin` to `clips` of the training samples."""

    def step(self, device: torch.device) -> Step:
        """One optimiser step."""

    def scores(self, network: X3D, spec: Spec, recipe: Recipe, pause: Callable[[], None]) -> TrialScores:
        """Of the validation; `pause` is called between batches. Raises DataError or Diverged."""


def proxy_task(data: TaskData, config: DataConfig) -> ProxyTask:
    """What proxies on these data learn from."""
    return PeopleTask(data, config) if isinstance(data, DetectionData) else VideoTask(data, config)


class VideoTask:
    """Clips of videos, and their views. See ProxyTask."""

    def __init__(self, data: VideoData, config: DataConfig) -> None:
        self.data, self.config, self.frames = data, config, decoder(config, data.fingerprint)
        self.videos, self.counted, self.multi_label = len(data.train), len(data.val), data.multi_label

    def clips(self, spec: Spec, flip: bool) -> TrainingClips:
        """See ProxyTask."""
        return TrainingClips(self.data.train, spec, flip, self.frames)

    def order(self, clips: int, seed: int, begin: int = 0) -> Iterator[Item]:
        """See ProxyTask."""
        return training_order(self.videos, clips, seed, begin, buffered(self.data.train, self.config))

    def step(self, device: torch.device) -> Step:
        """See ProxyTask."""
        return step_on(device)

    def scores(self, network: X3D, spec: Spec, recipe: Recipe, pause: Callable[[], None]) -> VideoScores:
        """See ProxyTask."""
        clips = ViewClips(self.data.val, spec, recipe.views, self.frames)

        def seen() -> Iterator[Batch]:
            for batch in loader(clips, range(len(clips)), recipe.batch, self.config.workers):
                yield batch
                pause()

        scores = score_videos(network, seen(), recipe.views, next(network.parameters()).device)
        check_readable(scores.bad, self.counted, self.config, "validation")
        if scores.diverged:
            raise Diverged("the scores of the validation are not finite; a lower proxy.lr may help")
        return scores


class PeopleTask:
    """Key frames with people, and all that were detected. See ProxyTask."""

    multi_label = False

    def __init__(self, data: DetectionData, config: DataConfig) -> None:
        self.data, self.config, self.frames = data, config, decoder_of(data, config)
        self.videos, self.counted = len(data.train.footage), len({one.video for one in data.val.truth})
        self.people = to_train(data.train, config.train_score)
        self.tested = to_test(data, config.test_score)

    def clips(self, spec: Spec, flip: bool) -> TrainingPeople:
        """See ProxyTask."""
        found = TrainingPeople(self.people, self.data.train.footage, spec, self.frames)
        found.flip = flip
        return found

    def order(self, clips: int, seed: int, begin: int = 0) -> Iterator[Item]:
        """See ProxyTask."""
        return training_order(len(self.people), clips, seed, begin)

    def step(self, device: torch.device) -> Step:  # noqa: ARG002
        """See ProxyTask."""
        return people_step

    def scores(self, network: X3D, spec: Spec, recipe: Recipe, pause: Callable[[], None]) -> PeopleScores:
        """See ProxyTask."""
        clips = TestPeople(self.tested, self.data.val.footage, spec, self.frames)
        how = Loading(recipe.batch, self.config.workers, next(network.parameters()).device)
        found = answered(network, clips, range(len(clips)), how, lambda _: pause())
        return measured(self.tested, found, self.data, self.config)
