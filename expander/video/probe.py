"""What a video file is, found out by reading its packets: who may decode it. Few are decoded for that.

decord 0.6.0 gives wrong frames without an error for edit lists, streams that do not begin with a key frame,
and wherever jumps to a key frame cannot be trusted (random_access.py); it cannot read AV1 and ignores how
frames are turned. All these go to PyAV, which reads from the start. Used in the decoding process only
(worker.py).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
from av.stream import Disposition

from expander.config.reading import check_regular, sha256_of
from expander.video.jump_proof.random_access import NOT_TRUSTED, Proof
from expander.video.orientation import Orientation, orientation_of

Route = Literal["decord", "pyav", "pictures", "bad"]
Progress = Callable[[int], None]
"""Is told of every frame that was decoded: its pixels."""
FAULTS = (av.FFmpegError, OSError, ValueError)
"""What opening, demuxing or decoding a broken file with PyAV raises."""

LENIENT = 19
"""The version of PyAV that no longer reads titles when it opens a file, nor takes an option for that."""
ATTACHED = Disposition.attached_pic
SEGMENT = b"\x18\x53\x80\x67"
"""Matroska's name of the element that holds all but the first."""
AV1 = ("av1", "libdav1d")
OF_THE_MOMENT = (
    errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EINTR, errno.EAGAIN,
    errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOTCONN, errno.EHOSTDOWN,
)  # fmt: skip
"""What a disk, a network or a permission does to a file that is fine."""


class NotNow(Exception):
    """A file that cannot be looked at now, which says nothing of what is in it; the message is the reason."""


SHORT_GROUPS = "short groups of pictures"
"""The reason of `decord` for a file in which PyAV jumps faster."""
NO_DECORD = "decord cannot be imported"
"""The reason of `pyav` for a file that decord could read on another machine."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Who decodes a file, and why not decord; reason: of `pyav` and `bad`, and SHORT_GROUPS of `decord`."""

    route: Route
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Opened:
    """A video that the decoding process holds open."""

    length: int
    height: int
    width: int
    fps: Fraction
    verdict: Verdict

    @property
    def nbytes(self) -> int:
        """Of all its frames."""
        return self.length * self.height * self.width * 3


def open_container(path: Path, options: dict[str, str] | None = None) -> Any:
    """The file, opened by PyAV; titles in no known encoding do not matter. Raises one of FAULTS."""
    if int(av.__version__.split(".")[0]) < LENIENT:
        return av.open(os.fspath(path), metadata_errors="replace", options=options or {})
    return av.open(os.fspath(path), options=options or {})


def video_of(container: Any) -> Any:
    """The stream that players show: of several the best, and a cover only if there is nothing else."""
    return container.streams.best("video")


def examine(path: Path, progress: Progress = lambda _: None) -> Verdict:
    """Reads every packet of the video once; decodes it where the packets leave it open whether some of its
    frames are missing. Raises NotNow.
    """
    try:
        if path.is_dir():
            return Verdict("pictures")
        check_regular(path)
        if path.stat().st_size == 0:
            return Verdict("bad", "the file is empty")
        with open_container(path) as container:
            if not container.streams.video:
                return Verdict("bad", "no video stream in it")
            found = _packets(container, video_of(container), path)
        return _decoded(path, found, progress) if isinstance(found, Proof) else found
    except FAULTS as error:
        reason = f"cannot be opened: {reason_of(error)}"
        if getattr(error, "errno", None) in OF_THE_MOMENT:
            raise NotNow(reason) from None
        return Verdict("bad", reason)


def content_of(path: Path) -> str:
    """SHA-256 of a plain file, "" of anything else and of what cannot be read now."""
    try:
        return sha256_of(path) if path.is_file() else ""
    except OSError:
        return ""


def reason_of(error: Exception) -> str:
    """What one of FAULTS says, without its number and path."""
    return str(getattr(error, "strerror", None) or error or type(error).__name__)[:200]


def _packets(container: Any, stream: Any, path: Path) -> Verdict | Proof:
    """A proof instead of a verdict: all is well if decoding confirms it."""
    odd, count, last, proof = "", 0, None, Proof(container, stream)
    for packet in container.demux(stream):
        if packet.size == 0:
            continue
        if packet.is_corrupt:
            return Verdict("bad", f"packet {count} is damaged")
        if packet.is_discard:
            odd = odd or "an edit list cuts frames off"
        if count == 0 and not packet.is_keyframe:
            odd = odd or "it does not begin with a key frame"
        if last is not None and packet.dts is not None and packet.dts <= last:
            odd = odd or "its time stamps go back"
        proof.take(packet)
        last, count = packet.dts if packet.dts is not None else last, count + 1
    proof.close(stream)
    if container.format.name == "matroska,webm" and _matroska_is_cut(path):
        return Verdict("bad", f"cut short: {count} frames are in it")
    if count == 0:
        return Verdict("bad", "it holds no frames")
    # An AVI counts the places of frames, and a place may be left empty.
    cut = _avi_is_cut(path) if container.format.name == "avi" else stream.frames > count
    if cut and stream.frames <= _stored(path):
        odd = "an edit list cuts frames off"
    elif cut:
        return Verdict("bad", f"cut short: {count} of {stream.frames} frames are in it")
    odd = odd or _kind(container, stream, proof)
    if odd:
        return Verdict("pyav", odd)
    if not proof.steady:
        return proof
    return Verdict("decord", SHORT_GROUPS if proof.short else "")


def _decoded(path: Path, proof: Proof, progress: Progress) -> Verdict:
    """Reads it from the start: every packet must give its frame, at its time."""
    shown: list[int | None] = []
    with open_container(path) as container:
        stream = video_of(container)
        stream.thread_type = "NONE"
        for frame in container.decode(stream):
            shown.append(None if frame.is_corrupt else frame.pts)
            progress(frame.width * frame.height)
    return Verdict("decord") if proof.confirmed_by(shown) else Verdict("pyav", "frames of it are missing")


def _stored(path: Path) -> int:
    """The packets of an MP4, those that its edit list leaves out too."""
    with open_container(path, {"ignore_editlist": "1"}) as container:
        return sum(packet.size > 0 for packet in container.demux(video_of(container)))


def _avi_is_cut(path: Path) -> bool:
    """Whether the file ends before its last RIFF chunk does."""
    place, size = 0, path.stat().st_size
    with path.open("rb") as file:
        while place + 8 <= size:
            file.seek(place)
            head = file.read(8)
            if head[:4] != b"RIFF":
                break
            length = int.from_bytes(head[4:], "little")
            place += 8 + length + length % 2
    return place > size + 1  # the last byte only fills


def _matroska_is_cut(path: Path) -> bool:
    """Whether the file ends before its segment does, whose size is known unless it was never finished."""
    with path.open("rb") as file:
        head = file.read(1024)
    place = 0
    while place + 12 < len(head):  # a name of four bytes, a number of up to eight (RFC 8794)
        length = 9 - head[place + 4].bit_length()
        size = int.from_bytes(head[place + 4 : place + 4 + length], "big") & (1 << 7 * length) - 1
        begin = place + 4 + length
        if head[place : place + 4] == SEGMENT:
            return size + 1 < 1 << 7 * length and begin + size > path.stat().st_size
        place = begin + size
    return False


def _kind(container: Any, stream: Any, proof: Proof) -> str:
    if len([one for one in container.streams.video if not one.disposition & ATTACHED]) > 1:
        return "several video streams"
    if stream.codec_context.name in AV1:
        return "AV1"
    if container.format.name == "mpegts":
        return "MPEG-TS"
    if proof.doubt:
        return proof.doubt
    try:
        container.seek(0, stream=stream)
    except FAULTS:  # among them PermissionError, which says nothing of a permission
        return f"a jump to its start fails: {NOT_TRUSTED}"
    first = next(container.decode(stream), None)
    turned = first is not None and orientation_of(first) != Orientation()
    if turned:
        return "its frames are shown turned or mirrored"
    # As browsers record: decord opens no such file.
    return "its header says no length" if container.duration is None else ""
