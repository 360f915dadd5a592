"""Clips of a data set as tensors, in an order that only the seed decides.

Shapes: N clips, C = 3 colours, T frames, H = W = crop. A batch (N, 3, T, H, W) is channels-last in
memory, as decoded video already is.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing.forkserver import ensure_running
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from expander.data.annotations import Label, VideoList, multi_hot
from expander.data.shards.order import Buffered
from expander.data.store.patience import WISH
from expander.runs.machine import begin_worker
from expander.runs.workers import SERVER, without_script
from expander.specs.spec import Spec
from expander.video.decoder import Decoder, VideoError
from expander.video.sampling import training_indices, view_indices
from expander.video.transforms import centre_window, random_window, view

Sample = tuple[Tensor, Label, list[str]]
REPLACEMENTS = 10
"""Unreadable videos in a row after which a training clip gives up."""


@dataclass(frozen=True, slots=True)
class Batch:
    """clips: (N, 3, T, H, W) floats, channels-last. labels: (N,) class numbers, or of videos with several
    labels (N, classes) ones and zeros as floats. Of people in the clips, see `data.ava.samples`. bad:
    unreadable videos replaced.
    """

    clips: Tensor
    labels: Tensor
    bad: tuple[str, ...]


class Collated(Protocol):
    """A data set that makes batches of its samples."""

    def __getitem__(self, item: Any) -> Any:
        """One sample."""

    def collate(self, samples: list[Any]) -> Batch:
        """A batch of samples."""


class Clips(Dataset[Sample]):
    """Clips of the videos of a list, for a network of `spec`."""

    videos: VideoList
    spec: Spec

    def collate(self, samples: list[Sample]) -> Batch:
        """See Collated."""
        clips_NTHWC = torch.stack([clip for clip, _, _ in samples])
        found = [label for _, label, _ in samples]
        if isinstance(found[0], tuple):
            labels = torch.from_numpy(multi_hot(found, self.spec.base.classes)).float()
        else:
            labels = torch.tensor(found)
        bad = tuple(message for _, _, messages in samples for message in messages)
        return Batch(clips_NTHWC.permute(0, 4, 1, 2, 3), labels, bad)


class TrainingClips(Clips):
    """Random clips; an item is (video, seed, position): the same triple gives the same clip."""

    def __init__(self, videos: VideoList, spec: Spec, flip: bool, decoder: Decoder) -> None:
        self.videos, self.spec, self.flip, self.decoder = videos, spec, flip, decoder

    def __getitem__(self, item: tuple[int, int, int]) -> Sample:
        video, *seed = item
        rng = np.random.default_rng(seed)
        bad: list[str] = []
        for _ in range(REPLACEMENTS):
            try:
                return self._clip(video, rng), self.videos.labels[video], bad
            except VideoError as error:
                bad.append(str(error))
                video = int(rng.integers(len(self.videos)))
        raise VideoError(f"{REPLACEMENTS} videos in a row cannot be read, the last: {bad[-1]}")

    def _clip(self, video: int, rng: np.random.Generator) -> Tensor:
        spec, u = self.spec, float(rng.random())
        frames = self.decoder.read(
            self.videos.paths[video],
            lambda length: training_indices(u, spec.frames, spec.stride, length),
        )
        window = random_window(frames.shape[1], frames.shape[2], spec, self.flip, rng)
        return view(torch.from_numpy(np.ascontiguousarray(frames)), window)


class ViewClips(Clips):
    """Every view of every video, video by video: item i is view i % views of video i // views."""

    def __init__(self, videos: VideoList, spec: Spec, views: int, decoder: Decoder) -> None:
        self.videos, self.spec, self.views, self.decoder = videos, spec, views, decoder

    def __len__(self) -> int:
        return len(self.videos) * self.views

    def __getitem__(self, item: int) -> Sample:
        video, number = divmod(item, self.views)
        spec, label = self.spec, self.videos.labels[video]
        try:
            frames = self.decoder.read(
                self.videos.paths[video],
                lambda n: view_indices(number, self.views, spec.frames, spec.stride, n),
            )
        except VideoError as error:
            # Never replaced, so that the list stays whole: an unreadable video counts as wrong.
            return torch.full((spec.frames, spec.crop, spec.crop, 3), torch.nan), label, [str(error)]
        window = centre_window(frames.shape[1], frames.shape[2], spec)
        return view(torch.from_numpy(np.ascontiguousarray(frames)), window), label, []


def training_order(
    videos: int, clips: int, seed: int, begin: int = 0, through: Buffered | None = None
) -> Iterator[tuple[int, int, int]]:
    """Items `begin` to `clips` of TrainingClips: whole random passes over the list, one after another.

    through: the order of each pass over shards; none: any video may follow any.
    """
    for first in range(begin - begin % videos, clips, videos):
        rng = np.random.default_rng((seed, first))
        order = rng.permutation(videos) if through is None else through.order(rng)
        for position in range(max(begin, first), min(first + videos, clips)):
            yield int(order[position - first]), seed, position


def loader(dataset: Collated, items: Any, batch: int, workers: int) -> DataLoader[Any]:
    """Batches of `items` in their order, loaded by `workers` processes (0: by this one)."""
    items = list(items)
    return batched(dataset, [items[i : i + batch] for i in range(0, len(items), batch)], workers)


def batched(dataset: Collated, batches: Iterable[Any], workers: int) -> DataLoader[Any]:
    """One batch for each of `batches`, lists of items; taken from it only as they are needed."""
    if workers:
        _start_server()
    return DataLoader(
        dataset,  # type: ignore[arg-type]
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=dataset.collate,
        # A fork would copy this process's threads and CUDA state into a dead lock.
        multiprocessing_context=SERVER if workers else None,
        # A forkserver and its loaders keep each other alive when who started them is killed.
        worker_init_fn=partial(_begin, WISH.file),
        prefetch_factor=4 if workers else None,
        pin_memory=torch.cuda.is_available(),
        # Else each loader would draw from the generator that dropout draws from.
        generator=torch.Generator(),
    )


def _start_server() -> None:
    """Of whom loaders are forked. Ctrl-C reaches neither, for a terminal sends it to all: even one that just
    begins would end, and be missed.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with without_script():
            ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(stop: Path | None, _: int) -> None:
    """In a loader. stop: see patience.Wish."""
    WISH.file = stop
    begin_worker()
