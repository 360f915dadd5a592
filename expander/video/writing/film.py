"""A video on its way into another file: every frame once, their times, and whether the file keeps still.

Used in the decoding process only (worker.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from expander.video.frame_rate import UNKNOWN, Ticks, rate
from expander.video.jump_proof.random_access import INDEXED
from expander.video.pictures import Stamp, stamp, survey
from expander.video.probe import FAULTS, Progress, open_container, reason_of, video_of
from expander.video.readers import PicturesReader, Unreadable, frames_of
from expander.video.tar_members import open_video

CHUNK = 1 << 20


def state_of(path: Path) -> Stamp:
    """As `stamp`. Raises Unreadable."""
    try:
        return stamp(path)
    except OSError as error:
        raise Unreadable(f"cannot be opened: {error.strerror}") from None


def digest_of(path: Path, progress: Progress = lambda _: None) -> str:
    """SHA-256 of a file or member, or of the pictures of a folder one after another. Raises Unreadable."""
    digest = hashlib.sha256()
    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        for file in files:
            with open_video(file) as opened:
                while chunk := opened.read(CHUNK):
                    digest.update(chunk)
                    progress(len(chunk))
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror}") from None
    return digest.hexdigest()


class Film:
    """A video file, decoded from its start: edit lists applied, turned and mirrored, damage refused."""

    def __init__(self, path: Path, progress: Progress) -> None:
        self.path, self.progress = path, progress
        try:
            with open_container(path) as container:
                stream = video_of(container)
                self.base = Fraction(stream.time_base)
                self.ticks = _packet_times(container, stream) if container.format.name in INDEXED else None
        except FAULTS as error:
            raise Unreadable(f"cannot be opened: {reason_of(error)}") from None
        if self.ticks is None:
            self.decoded_times()

    def decoded_times(self) -> None:
        """The times of the frames as they come out of the decoder, where packets do not tell."""
        found = [frame.dts if frame.pts is None else frame.pts for frame in self.frames()]
        self.ticks = [tick for tick in found if tick is not None]
        self.ticks = self.ticks if len(self.ticks) == len(found) else [*range(len(found))]

    def frames(self) -> Iterator[Any]:
        """Every frame that is shown. Raises Unreadable."""
        try:
            with open_container(self.path) as container:
                yield from frames_of(container, self.progress)
        except FAULTS as error:
            raise Unreadable(f"cannot be opened: {reason_of(error)}") from None

    def fps(self) -> Fraction:
        """Mean frames a second, as the readers say it."""
        ends = [tick * self.base for tick in (self.ticks or [0])[:: max(1, len(self.ticks or ()) - 1)]]
        try:
            with open_container(self.path) as container:
                return rate(container, video_of(container), ends, len(self.ticks or ()))
        except FAULTS as error:
            raise Unreadable(f"cannot be opened: {reason_of(error)}") from None


class Pictures:
    """A folder of pictures, one a frame."""

    def __init__(self, path: Path) -> None:
        self.reader = PicturesReader(path)
        self.ticks: Ticks | None = [*range(len(survey(path).names))]
        self.base = 1 / UNKNOWN

    def decoded_times(self) -> None:
        """Their numbers are their times."""

    def frames(self) -> Iterator[Any]:
        """See Film."""
        for number in range(self.reader.length):
            yield self.reader.decoded(number)

    def fps(self) -> Fraction:
        """See Film."""
        return UNKNOWN


def _packet_times(container: Any, stream: Any) -> list[int] | None:
    """When the packets are shown, in order; none where one does not say it."""
    found = [packet.pts for packet in container.demux(stream) if packet.size and not packet.is_discard]
    return None if not found or None in found else sorted(found)
