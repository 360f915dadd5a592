"""Readers of videos from their start: files by PyAV, folders of pictures.

Used in the decoding process only (worker.py): a reader may hang, crash, or write to the terminal.
Frames are (T, H, W, 3) bytes, in the order they are shown, at their native size.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from expander.video.frame_rate import UNKNOWN, rate
from expander.video.orientation import orientation_of
from expander.video.pictures import survey
from expander.video.probe import FAULTS, Progress, open_container, reason_of, video_of
from expander.video.sampling import Indices

Frames = npt.NDArray[np.uint8]
Size = tuple[int, int]
"""Width and height of a video's first picture, to which those of another size are scaled, as players do."""
Shape = tuple[int, int]
"""Height and width of the pictures that a reader gives."""
KEPT_BYTES = 256_000_000
"""Decoded frames (YUV) of one video that a reader keeps in memory."""


class Unreadable(Exception):
    """The file cannot be decoded; the message is the reason."""


class Reader(Protocol):
    """A video that is open. fps: mean frames a second. shape: (H, W) where no frame is needed to know it."""

    length: int
    fps: Fraction
    shape: Shape | None

    def gather(self, unique: Indices) -> Frames:
        """The frames of sorted, unique numbers. Raises Unreadable."""
        ...


class AvReader:
    """Any video, decoded from its beginning: edit lists applied, turned and mirrored, damage refused.

    Its length is known only once it is decoded; the frames are kept if they are few enough, and
    otherwise decoded a second time.
    """

    shape: Shape | None = None

    def __init__(self, path: Path, progress: Progress = lambda _: None) -> None:
        self.path, self.length, self.fps, self.position = path, 0, UNKNOWN, 0
        self.progress = progress
        self.container: Any = None
        self.kept: list[Any] | None = []
        self.size: Size | None = None
        with container_of(path) as container:
            stream = video_of(container)
            times: list[Fraction] = []
            for frame in frames_of(container, progress):
                self.length += 1
                times = [*times[:1], *_time(frame)]
                self.size = self.size or (frame.width, frame.height)
                if self.kept is not None:
                    self.kept.append(frame)
                    if sum(plane.buffer_size for plane in frame.planes) * self.length > KEPT_BYTES:
                        self.kept = None
            self.fps = rate(container, stream, times, self.length)

    def gather(self, unique: Indices) -> Frames:
        """See Reader."""
        if self.kept is not None:
            return np.stack([_picture(self.kept[number], self.size) for number in unique.tolist()])
        if self.container is None or unique[0] < self.position:
            self.container, self.position = container_of(self.path), 0
            self.walk = frames_of(self.container, self.progress)
        found = []
        for number in unique.tolist():
            while self.position <= number:
                frame = next(self.walk, None)
                if frame is None:
                    raise Unreadable(f"frame {number} was there and is gone: the file has changed")
                self.position += 1
            found.append(_picture(frame, self.size))
        return np.stack(found)


def _time(frame: Any) -> list[Fraction]:
    """When a frame is shown, in seconds; none where nothing says it."""
    ticks = frame.dts if frame.pts is None else frame.pts
    return [] if ticks is None or frame.time_base is None else [ticks * frame.time_base]


def _picture(frame: Any, size: Size | None) -> Frames:
    """(H, W, 3), the way it is shown."""
    return orientation_of(frame).apply(rgb(frame, size))


def rgb(frame: Any, size: Size | None = None) -> Frames:
    """(H, W, 3) of a frame of PyAV, at another size where one is given."""
    width, height = size or (frame.width, frame.height)
    # Left to itself the library starts a thread a core for every frame: 7 ms where one takes 0.02.
    pixels: Frames = frame.to_ndarray(format="rgb24", width=width, height=height, threads=1)
    return pixels


class PicturesReader:
    """A folder of pictures, one a frame, numbered without a gap from 1 or 0."""

    fps = UNKNOWN
    shape: Shape | None = None

    def __init__(self, path: Path) -> None:
        try:
            found = survey(path)
        except OSError as error:
            raise Unreadable(f"cannot be read: {error.strerror}") from None
        if found.fault:
            raise Unreadable(found.fault)
        self.path, self.names, self.length = path, found.names, len(found.names)
        self.size: Size | None = None

    def gather(self, unique: Indices) -> Frames:
        """See Reader."""
        found: list[Frames] = []
        for number in unique.tolist():
            found.append(rgb(self.decoded(number), self.size))
        return np.stack(found)

    def decoded(self, number: int) -> Any:
        """One picture, at its own size. Raises Unreadable."""
        try:
            with container_of(self.path / self.names[number]) as container:
                frame = next(frames_of(container), None)
        except Unreadable as error:
            raise Unreadable(f"{self.names[number]} {error}") from None
        if frame is None:
            raise Unreadable(f"{self.names[number]} holds no picture")
        self.size = self.size or (frame.width, frame.height)  # the first is the first that is asked for
        return frame


def container_of(path: Path) -> Any:
    """The file, opened by PyAV. Raises Unreadable."""
    try:
        return open_container(path)
    except FAULTS as error:
        raise Unreadable(f"cannot be opened: {reason_of(error)}") from None


def frames_of(container: Any, progress: Progress = lambda _: None) -> Iterator[Any]:
    """Every frame that is shown. Raises Unreadable for one that is damaged."""
    stream = video_of(container)
    if not stream.codec_context.is_open:
        stream.thread_type = "NONE"
    try:
        for number, frame in enumerate(container.decode(stream)):
            if frame.is_corrupt:
                raise Unreadable(f"frame {number} is damaged")
            progress(frame.width * frame.height)
            yield frame
    except FAULTS as error:
        raise Unreadable(f"cannot be decoded: {reason_of(error)}") from None
