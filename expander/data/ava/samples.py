"""Key frames as clips and boxes: what a network for detection sees (arXiv 1705.08421; 1812.03982, section 5).

A clip lies around its key frame: of the L = T * stride frames about it every stride-th, never past an end of
the video. Boxes go with it through resizing, crop and flip.

Shapes: N clips, T frames, H height, W width, K boxes of all clips together, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from expander.data.ava.footage import centre, indices_around
from expander.data.ava.keyframes import Boxes, Footage, KeyFrame
from expander.data.clips import REPLACEMENTS, Batch
from expander.metrics.boxes import areas
from expander.specs.spec import Spec
from expander.video.decoder import Decoder, VideoError
from expander.video.readers import Frames
from expander.video.sampling import Indices
from expander.video.transforms import Window, random_window, resized, view, whole

LEAST = 0.1
"""Share of a box that must be left in a crop."""
TRIES = 10
"""Crops of a key frame before its best is taken for one without people, and another is drawn."""
LATE = 1.0
"""Seconds after the end of a video that a key frame may be: films are cut to whole seconds."""
FIRST = 5
"""Columns of a row of people before its labels: the number of the clip, and its box."""


@dataclass(frozen=True, slots=True)
class Sample:
    """clip: (T, H, W, 3) floats; none of an unreadable video. boxes: (n, 4) pixels. labels: (n, C)."""

    clip: Tensor | None
    boxes: Boxes
    labels: np.ndarray
    bad: tuple[str, ...] = ()


def numbers_of_clips(people: Tensor) -> Tensor:
    """(K,) the clip of each row of `Batch.labels` of people, which are (K, 5 + C): clip, box, labels."""
    return people[:, 0].long()


def boxes_of(people: Tensor) -> Tensor:
    """(K, 4) of the rows of people, in pixels."""
    return people[:, 1:FIRST]


def labels_of(people: Tensor) -> Tensor:
    """(K, C) ones and zeros of the rows of people."""
    return people[:, FIRST:]


class People:
    """Key frames of footage, for a network of `spec`."""

    def __init__(
        self, frames: Sequence[KeyFrame], footage: Mapping[str, Footage], spec: Spec, decoder: Decoder
    ) -> None:
        self.frames, self.footage, self.spec, self.decoder = frames, footage, spec, decoder

    def __len__(self) -> int:
        return len(self.frames)

    def collate(self, samples: list[Sample]) -> Batch:
        """clips: of one size, nan for an unreadable one. labels: (K, 5 + C), see `numbers_of_clips`."""
        crop = self.spec.crop
        shape = next((one.clip.shape for one in samples if one.clip is not None),
                     (self.spec.frames, crop, crop, 3))  # fmt: skip
        clips_NTHWC = torch.stack([torch.full(shape, torch.nan) if one.clip is None else one.clip
                                   for one in samples])  # fmt: skip
        rows = [_rows(number, one) for number, one in enumerate(samples)]
        bad = tuple(message for one in samples for message in one.bad)
        return Batch(clips_NTHWC.permute(0, 4, 1, 2, 3), torch.from_numpy(np.concatenate(rows)), bad)

    def _labels(self, frame: KeyFrame) -> np.ndarray:
        """(n, C) floats, none of a detector's boxes."""
        if frame.labels is None:
            return np.zeros((len(frame), self.spec.base.classes), np.float32)
        return frame.labels.astype(np.float32)

    def _read(self, frame: KeyFrame) -> Tensor:
        """(T, H, W, 3) bytes at the native size. Raises VideoError."""
        footage = self.footage[frame.video]
        rate = self._rate(footage)
        place = centre(frame.second, footage, rate)

        def around(length: int) -> Indices:
            if not 0 <= place < length + LATE * rate:
                ends = footage.begins + length / rate
                span = f"from second {footage.begins:g} to {ends:g} (expander data check names them)"
                raise VideoError(f"{footage.path}: has key frames outside of it: it goes {span}")
            return indices_around(place, self.spec, length)

        try:
            return torch.from_numpy(np.ascontiguousarray(self.decoder.read(footage.path, around)))
        except VideoError as error:
            if footage.fps is None or str(error).startswith(f"{footage.path}: has"):
                raise
            # One text, whichever picture it is: a video counts once.
            raise VideoError(f"{footage.path}: a picture in it cannot be read") from error

    def _rate(self, footage: Footage) -> float:
        return float(footage.fps or self.decoder.rate(footage.path))


class TrainingPeople(People):
    """Random crops; an item is (key frame, seed, position): the same triple gives the same sample."""

    flip = True

    def __getitem__(self, item: tuple[int, int, int]) -> Sample:
        """Raises VideoError where no key frame drawn can be read."""
        number, *seed = item
        rng = np.random.default_rng(seed)
        bad: list[str] = []
        for _ in range(REPLACEMENTS):
            try:
                if (found := self._sample(self.frames[number], rng)) is not None:
                    return Sample(found.clip, found.boxes, found.labels, tuple(bad))
            except VideoError as error:
                bad.append(str(error))
            number = int(rng.integers(len(self)))
        last = bad[-1] if bad else f"no crop of {self.frames[number].moment} holds a person"
        raise VideoError(f"{REPLACEMENTS} key frames in a row give no sample, the last: {last}")

    def _sample(self, frame: KeyFrame, rng: np.random.Generator) -> Sample | None:
        """None where no crop that was tried holds a person."""
        frames_THWC = self._read(frame)
        height, width = frames_THWC.shape[1:3]
        for _ in range(TRIES):
            window = random_window(height, width, self.spec, self.flip, rng)
            boxes, kept = seen_in(window, frame.boxes, height, width)
            if kept.any():
                return Sample(view(frames_THWC, window), boxes[kept], self._labels(frame)[kept])
        return None


class TestPeople(People):
    """The whole picture, its short side as long as the crop; an item is the number of a key frame."""

    def picture(self, number: int) -> Frames:
        """(1, H, W, 3) bytes of a key frame. Raises VideoError."""
        frame = self.frames[number]
        footage = self.footage[frame.video]
        place = centre(frame.second, footage, self._rate(footage))
        return self.decoder.read(footage.path, lambda n: np.clip([place], 0, n - 1))

    def __getitem__(self, item: int) -> Sample:
        """Never replaced: the boxes of an unreadable video are kept, and get no scores."""
        frame = self.frames[item]
        labels = self._labels(frame)
        try:
            frames_THWC = self._read(frame)
        except VideoError as error:
            return Sample(None, frame.boxes, labels, (str(error),))
        clip = whole(frames_THWC, self.spec.crop)
        height, width = clip.shape[1:3]
        return Sample(clip, frame.boxes * np.array([width, height, width, height]), labels)


def seen_in(window: Window, boxes: Boxes, height: int, width: int) -> tuple[Boxes, np.ndarray]:
    """Boxes (n, 4) in shares of a picture to pixels of a window in it, and (n,) whether enough is left."""
    new_h, new_w = resized(height, width, window.short_side)
    placed = boxes * np.array([new_w, new_h, new_w, new_h])
    placed -= np.array([window.left, window.top, window.left, window.top])
    left = np.clip(placed, 0, window.crop)
    kept = (areas(left) > 0) & (areas(left) >= LEAST * areas(placed))
    if window.flip:
        left[:, [0, 2]] = window.crop - left[:, [2, 0]]
    return left, kept


def by_video(frames: Sequence[KeyFrame], most: int) -> list[list[int]]:
    """Numbers of key frames in lists of at most `most` of one video, whose pictures have one size."""
    found: list[list[int]] = []
    for number, frame in enumerate(frames):
        if found and frames[found[-1][0]].video == frame.video and len(found[-1]) < most:
            found[-1].append(number)
        else:
            found.append([number])
    return found


def _rows(number: int, sample: Sample) -> np.ndarray:
    """(n, 5 + C) float32."""
    first = np.full((len(sample.boxes), 1), number)
    return np.concatenate([first, sample.boxes, sample.labels], axis=1).astype(np.float32)
