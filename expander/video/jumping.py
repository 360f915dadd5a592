"""Readers that jump within a file whose packets prove that they may: PyAV, decord; and who reads which file.

Used in the decoding process only (worker.py), as readers.py.
"""

from __future__ import annotations

import functools
import os
import re
import traceback
from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from expander.video.frame_rate import of_header
from expander.video.jump_proof.random_access import INDEXED
from expander.video.probe import SHORT_GROUPS, Progress, Verdict, video_of
from expander.video.readers import (
    AvReader,
    Frames,
    PicturesReader,
    Reader,
    Shape,
    Unreadable,
    container_of,
    frames_of,
    rgb,
)
from expander.video.sampling import Indices

PLACE = re.compile(r"^.*\.cc:\d+: ", re.MULTILINE)
"""Where decord says in its own source that an error is from."""
FIRST = np.zeros(1, np.int64)
MOST_JUMPED = 10_000
"""Frames of a video whose index is looked through each time that it is opened."""


@functools.cache
def has_decord() -> bool:
    """Whether decord can be imported: it has no wheel for ARM processors, and none for macOS."""
    try:
        import decord
    except ModuleNotFoundError:
        return False
    except (ImportError, OSError, RuntimeError):  # what it raises where its library cannot be loaded
        traceback.print_exc()
        return False
    decord.logging.set_level(decord.logging.QUIET)
    return True


def opened(path: Path, verdict: Verdict, progress: Progress) -> tuple[Reader, Verdict]:
    """A video by its route, and its verdict, now told if decord cannot read it though it should.

    Without decord its files go to PyAV, and keep their verdict: it is of the file, not of this machine.
    Raises Unreadable.
    """
    if verdict.route == "pictures":
        return PicturesReader(path), verdict
    quick = verdict.route == "decord" and (verdict.reason == SHORT_GROUPS or not has_decord())
    if quick and (jumping := JumpingReader.of(path)) is not None:
        return jumping, verdict
    if verdict.route == "decord" and has_decord():
        try:
            return DecordReader(path), verdict
        except Unreadable:
            verdict = Verdict("pyav", "decord cannot read it")
    return AvReader(path, progress), verdict


class DecordReader:
    """Exact frames of H.264, HEVC, VP9 and MPEG-4 in ordinary containers."""

    shape: Shape | None = None

    def __init__(self, path: Path) -> None:
        import decord

        try:
            self.reader: Any = decord.VideoReader(os.fspath(path), num_threads=1)
        except (RuntimeError, decord.DECORDError) as error:
            raise Unreadable(f"cannot be decoded: {_last_line(error)}") from None
        self.failure = decord.DECORDError
        self.length = len(self.reader)
        self.fps = of_header(self.reader.get_avg_fps())
        # Of some narrow films it opens the file, and decodes nothing of it.
        self.first = self._batch(FIRST) if self.length else None

    def gather(self, unique: Indices) -> Frames:
        """See Reader."""
        if self.first is not None and np.array_equal(unique, FIRST):
            return self.first
        return self._batch(unique)

    def _batch(self, unique: Indices) -> Frames:
        try:
            frames: Frames = self.reader.get_batch(unique.tolist()).asnumpy()
        except (RuntimeError, self.failure) as error:
            raise Unreadable(f"cannot be decoded: {_last_line(error)}") from None
        return frames


class JumpingReader:
    """H.264 in an MP4, stored in the order in which it is shown, as prepared videos are: begins at the key
    frame before each wanted one. Of few frames it takes a part of decord's time. Only of a file that is
    proved (random_access.py).
    """

    def __init__(self, path: Path, container: Any) -> None:
        self.path, self.container, self.stream = path, container, video_of(container)
        entries = list(self.stream.index_entries)
        self.times = [entry.timestamp for entry in entries]
        self.keys = [number for number, entry in enumerate(entries) if entry.is_keyframe]
        self.length, self.fps = len(entries), of_header(self.stream.average_rate)
        codec = self.stream.codec_context
        self.shape: Shape | None = (codec.height, codec.width)

    @classmethod
    def of(cls, path: Path) -> JumpingReader | None:
        """A reader of a file that is such a one. Raises Unreadable."""
        container = container_of(path)
        stream = video_of(container)
        codec, count = stream.codec_context, stream.frames
        ordered = container.format.name == INDEXED[0] and codec.name == "h264" and not codec.has_b_frames
        if ordered and 0 < count <= MOST_JUMPED and len(stream.index_entries) == count:
            reader = cls(path, container)
            steps = {later - earlier for earlier, later in pairwise(reader.times)}
            if len(steps) <= 1 and reader.keys[:1] == [0]:
                return reader
        container.close()
        return None

    def gather(self, unique: Indices) -> Frames:
        """See Reader."""
        found, position = [], self.length
        walk: Iterator[Any] = iter(())
        for number in unique.tolist():
            key = self.keys[bisect_right(self.keys, number) - 1]
            if not key <= position <= number:
                self.container.seek(self.times[key], stream=self.stream)
                position, walk = key, frames_of(self.container)
            while position <= number:
                frame: Any = next(walk, None)
                # Not so even as it seemed, or of another size.
                if frame is None or frame.pts != self.times[position] or _shape(frame) != self.shape:
                    return AvReader(self.path).gather(unique)
                position += 1
            found.append(rgb(frame))
        return np.stack(found)


def _last_line(error: Exception) -> str:
    text = PLACE.sub("", str(error).strip())
    return text.splitlines()[-1][:200] if text else type(error).__name__


def _shape(frame: Any) -> Shape:
    return frame.height, frame.width
