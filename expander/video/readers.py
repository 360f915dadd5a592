"""Readers of video files: decord, and PyAV for what decord reads wrongly, slowly or not at all, and where
there is no decord.

Used in the decoding process only (worker.py): a reader may hang, crash, or write to the terminal.
Frames are (T, H, W, 3) bytes, in the order they are shown, at their native size.
"""

from __future__ import annotations

import functools
import os
import re
import traceback
from bisect import bisect_right
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from expander.video.frame_rate import UNKNOWN, of_header, rate
from expander.video.orientation import orientation_of
from expander.video.pictures import survey
from expander.video.probe import FAULTS, Progress, Verdict, open_container, reason_of, video_of
from expander.video.random_access import INDEXED
from expander.video.sampling import Indices

Frames = npt.NDArray[np.uint8]
Size = tuple[int, int]
"""Width and height of a video's first picture, to which those of another size are scaled, as players do."""
Shape = tuple[int, int]
"""Height and width of the pictures that a reader gives."""
PLACE = re.compile(r"^.*\.cc:\d+: ", re.MULTILINE)
"""Where decord says in its own source that an error is from."""
MOST_JUMPED = 10_000
"""Frames of a video whose index is looked through each time that it is opened."""
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
    """A video by its route, and its verdict, now told if decord cannot open it though it should.

    Without decord its files go to PyAV, and keep their verdict: it is of the file, not of this machine.
    Raises Unreadable.
    """
    if verdict.route == "pictures":
        return PicturesReader(path), verdict
    if verdict.route == "decord" and (jumping := JumpingReader.of(path)) is not None:
        return jumping, verdict
    if verdict.route == "decord" and has_decord():
        try:
            return DecordReader(path), verdict
        except Unreadable:
            verdict = Verdict("pyav", "decord cannot open it")
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

    def gather(self, unique: Indices) -> Frames:
        """See Reader."""
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
        container = _opened(path)
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
                if frame is None or frame.pts != self.times[position]:  # not so even as it seemed
                    return AvReader(self.path).gather(unique)
                position += 1
            found.append(frame.to_ndarray(format="rgb24"))
        return np.stack(found)


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
        with _opened(path) as container:
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
            self.container, self.position = _opened(self.path), 0
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
    return orientation_of(frame).apply(_rgb(frame, size))


def _rgb(frame: Any, size: Size | None) -> Frames:
    width, height = size or (frame.width, frame.height)
    pixels: Frames = frame.to_ndarray(format="rgb24", width=width, height=height)
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
            found.append(_rgb(self.decoded(number), self.size))
        return np.stack(found)

    def decoded(self, number: int) -> Any:
        """One picture, at its own size. Raises Unreadable."""
        with _opened(self.path / self.names[number]) as container:
            frame = next(frames_of(container), None)
        if frame is None:
            raise Unreadable(f"{self.names[number]} holds no picture")
        self.size = self.size or (frame.width, frame.height)  # the first is the first that is asked for
        return frame


def _opened(path: Path) -> Any:
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


def _last_line(error: Exception) -> str:
    text = PLACE.sub("", str(error).strip())
    return text.splitlines()[-1][:200] if text else type(error).__name__
