"""Two readers of video files: decord, and PyAV for what decord reads wrongly or not at all.

Used in the decoding process only (isolated.py): a reader may hang, crash, or write to the terminal.
Frames are (T, H, W, 3) bytes, in the order they are shown, at their native size.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import av
import numpy as np
import numpy.typing as npt

from expander.data.demux import FAULTS, reason_of
from expander.data.sampling import Indices

Frames = npt.NDArray[np.uint8]
UNKNOWN_FPS = Fraction(30)
PICTURES = ("img_{:05d}.jpg", "image_{:05d}.jpg", "{:06d}.jpg")
"""How data sets of single pictures name them, from 1."""


class Unreadable(Exception):
    """The file cannot be decoded; the message is the reason."""


class Reader(Protocol):
    """A video that is open. fps: mean frames a second."""

    length: int
    fps: Fraction

    def gather(self, unique: Indices) -> Frames:
        """The frames of sorted, unique numbers. Raises Unreadable."""
        ...


class DecordReader:
    """Exact frames of H.264, HEVC, VP9 and MPEG-4 in ordinary containers."""

    def __init__(self, path: Path) -> None:
        import decord

        decord.logging.set_level(decord.logging.QUIET)
        try:
            self.reader: Any = decord.VideoReader(os.fspath(path), num_threads=1)
        except (RuntimeError, decord.DECORDError) as error:
            raise Unreadable(f"cannot be decoded: {_last_line(error)}") from None
        self.failure = decord.DECORDError
        self.length = len(self.reader)
        self.fps = Fraction(self.reader.get_avg_fps() or UNKNOWN_FPS).limit_denominator(1001)

    def gather(self, unique: Indices) -> Frames:
        """See Reader."""
        try:
            frames: Frames = self.reader.get_batch(unique.tolist()).asnumpy()
        except (RuntimeError, self.failure) as error:
            raise Unreadable(f"cannot be decoded: {_last_line(error)}") from None
        return frames


class AvReader:
    """Any video, decoded from its beginning: edit lists applied, rotation too, damage refused."""

    def __init__(self, path: Path) -> None:
        self.path, self.length, self.fps = path, 0, UNKNOWN_FPS
        with _opened(path) as container:
            stream = container.streams.video[0]
            self.fps = Fraction(stream.average_rate or UNKNOWN_FPS).limit_denominator(1001)
            self.length = sum(1 for _ in _frames(container))

    def gather(self, unique: Indices) -> Frames:
        """See Reader."""
        wanted, found = set(unique.tolist()), []
        with _opened(self.path) as container:
            for number, frame in enumerate(_frames(container)):
                if number in wanted:
                    picture = frame.to_ndarray(format="rgb24")
                    found.append(np.rot90(picture, frame.rotation // 90) if frame.rotation else picture)
                if len(found) == len(wanted):
                    break
        return np.stack(found)


class PicturesReader:
    """A folder of JPEG pictures, one a frame, numbered from 1."""

    fps = UNKNOWN_FPS

    def __init__(self, path: Path) -> None:
        names = {entry.name for entry in os.scandir(path)}
        self.path = path
        self.pattern = next((p for p in PICTURES if p.format(1) in names), PICTURES[0])
        self.length = 0
        while self.pattern.format(self.length + 1) in names:
            self.length += 1

    def gather(self, unique: Indices) -> Frames:
        """See Reader."""
        found: list[Frames] = []
        for number in unique.tolist():
            with _opened(self.path / self.pattern.format(number + 1)) as container:
                found.extend(frame.to_ndarray(format="rgb24") for frame in _frames(container))
        return np.stack(found)


def _opened(path: Path) -> Any:
    try:
        return av.open(os.fspath(path), metadata_errors="replace")
    except FAULTS as error:
        raise Unreadable(f"cannot be opened: {reason_of(error)}") from None


def _frames(container: Any) -> Iterator[Any]:
    """Every frame that is shown. Raises Unreadable for one that is damaged."""
    stream = container.streams.video[0]
    stream.thread_type = "NONE"
    try:
        for number, frame in enumerate(container.decode(stream)):
            if frame.is_corrupt:
                raise Unreadable(f"frame {number} is damaged")
            yield frame
    except FAULTS as error:
        raise Unreadable(f"cannot be decoded: {reason_of(error)}") from None


def _last_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[-1][:200] if text else type(error).__name__
