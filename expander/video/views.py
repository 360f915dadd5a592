"""All views of a video from one pass of its decoder, and several videos ahead of the network.

Shapes: K clips, M crops, U unique frames of all clips, T frames of a clip, H = W = crop. A view is
(T, H, W, 3) floats; clips come one after another, the crops of a clip side by side.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from expander.runs.threads import in_order
from expander.specs.spec import Spec
from expander.video.decoder import Decoder, VideoError
from expander.video.room import BYTES, check_room
from expander.video.sampling import Indices
from expander.video.transforms import cut, extent, painted
from expander.video.view_protocols import MMACTION2, Canvas, Protocol, Views, canvas, clip_frames

NUMBER = 100
"""Bytes that the number of a frame may take while it is computed."""


@dataclass(frozen=True, slots=True)
class Look:
    """How videos are looked at: a spec's clips and crops, as one of the protocols has them."""

    spec: Spec
    views: Views
    protocol: Protocol = "expander"


@dataclass(frozen=True, slots=True)
class ViewedVideo:
    """frames: (U, h, w, 3), resized, what the crops cover. rows: (K, T), which of them each clip takes.

    seconds: that decoding and resizing took.
    """

    frames: Tensor
    rows: Indices
    place: Canvas
    seconds: float

    def __len__(self) -> int:
        return len(self.rows) * len(self.place.places)

    def __getitem__(self, number: int) -> Tensor:
        clip, crop = divmod(number, len(self.place.places))
        return cut(self.frames, self.place, crop)[torch.from_numpy(self.rows[clip])]

    def batches(self, size: int) -> Iterator[Tensor]:
        """Its views, (N, 3, T, H, W), channels-last in memory, up to `size` at a time."""
        clips, frames, crop = min(size, len(self)), self.rows.shape[1], self.place.crop
        check_room(3 * BYTES * clips * frames * crop**2, f"{clips} clips of {frames} frames of {crop} pixels")
        for start in range(0, len(self), size):
            views = [self[number] for number in range(start, min(start + size, len(self)))]
            yield torch.stack(views).permute(0, 4, 1, 2, 3)


def look(path: Path, how: Look, decoder: Decoder) -> ViewedVideo:
    """Opens and decodes a video once for all its views. Raises VideoError."""
    begun = time.perf_counter()
    video = decoder.open(path)
    check_room(NUMBER * how.views.clips * how.spec.frames, f"{path}: the numbers of its frames in all clips")
    wanted = clip_frames(how.protocol, how.views.clips, how.spec, video.length, video.fps)
    unique, rows = np.unique(wanted, return_inverse=True)
    place = canvas(how.protocol, how.views.crops, how.spec, video.height, video.width)
    clip, seen = how.spec.frames * place.crop**2, len(unique) * math.prod(extent(place))
    check_room(3 * BYTES * (clip + seen), f"{path}: {how.spec.frames} frames of {place.crop} pixels a clip")
    parts = [painted(torch.from_numpy(np.ascontiguousarray(frames)), place, how.protocol in MMACTION2)
             for frames in decoder.stream(path, video, unique)]  # fmt: skip
    frames = parts[0] if len(parts) == 1 else torch.cat(parts)
    return ViewedVideo(frames, rows.reshape(wanted.shape), place, time.perf_counter() - begun)


def look_ahead(
    paths: Sequence[Path], how: Look, decoder: Callable[[], Decoder], workers: int
) -> Iterator[ViewedVideo | VideoError]:
    """Every video in order, or why it cannot be read; each of `workers` threads decodes one ahead.

    A thread has a decoder, and so a decoding process, of its own; 0: decoded when it is its turn. No more
    than workers + 1 videos are in memory.
    """
    own, made = threading.local(), list[Decoder]()

    def one(path: Path) -> ViewedVideo | VideoError:
        if not hasattr(own, "decoder"):
            if workers:
                torch.set_num_threads(1)  # this thread's: the network beside it has the other cores
            own.decoder = decoder()
            made.append(own.decoder)
        try:
            return look(path, how, own.decoder)
        except VideoError as error:
            return error

    try:
        yield from in_order(one, paths, workers, workers + 1) if workers else map(one, paths)
    finally:
        for each in made:
            each.close()
