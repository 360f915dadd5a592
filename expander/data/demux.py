"""What a video file is, found out by reading its packets without decoding any: who may decode it.

decord 0.6.0 gives wrong frames without an error for edit lists, streams that do not begin with a key frame,
and wherever jumps to a key frame cannot be trusted (random_access.py); it cannot read AV1 and ignores how
frames are turned. All these go to PyAV, which reads from the start. Used in the decoding process only
(isolated.py).
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import av

from expander.data.orientation import Orientation, orientation_of
from expander.data.random_access import Proof

Route = Literal["decord", "pyav", "pictures", "bad"]
FAULTS = (av.FFmpegError, OSError, ValueError)
"""What opening, demuxing or decoding a broken file with PyAV raises."""

LENIENT = 19
"""The version of PyAV that no longer reads titles when it opens a file, nor takes an option for that."""
AV1 = ("av1", "libdav1d")
OF_THE_MOMENT = (
    errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EINTR, errno.EAGAIN,
    errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOTCONN, errno.EHOSTDOWN,
)  # fmt: skip
"""What a disk, a network or a permission does to a file that is fine."""


class NotNow(Exception):
    """A file that cannot be looked at now, which says nothing of what is in it; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Who decodes a file, and why not decord; reason: of `pyav` and `bad`."""

    route: Route
    reason: str = ""


def open_container(path: Path) -> Any:
    """The file, opened by PyAV; titles in no known encoding do not matter. Raises one of FAULTS."""
    if int(av.__version__.split(".")[0]) < LENIENT:
        return av.open(os.fspath(path), metadata_errors="replace")
    return av.open(os.fspath(path))


def examine(path: Path) -> Verdict:
    """Reads every packet of the first video stream once. Raises NotNow."""
    try:
        if path.is_dir():
            return Verdict("pictures")
        if path.stat().st_size == 0:
            return Verdict("bad", "the file is empty")
        with open_container(path) as container:
            if not container.streams.video:
                return Verdict("bad", "no video stream in it")
            return _packets(container, container.streams.video[0])
    except FAULTS as error:
        reason = f"cannot be opened: {reason_of(error)}"
        if getattr(error, "errno", None) in OF_THE_MOMENT:
            raise NotNow(reason) from None
        return Verdict("bad", reason)


def reason_of(error: Exception) -> str:
    """What one of FAULTS says, without its number and path."""
    return str(getattr(error, "strerror", None) or error or type(error).__name__)[:200]


def _packets(container: Any, stream: Any) -> Verdict:
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
    if count == 0:
        return Verdict("bad", "it holds no frames")
    if stream.frames > max(count, _places(container, last)):
        return Verdict("bad", f"cut short: {count} of {stream.frames} frames are in it")
    odd = odd or _kind(container, stream) or proof.doubt
    return Verdict("pyav", odd) if odd else Verdict("decord")


def _places(container: Any, last: int | None) -> int:
    """Frames that an AVI counts: those that its writer dropped keep their place, without a packet."""
    return last + 1 if container.format.name == "avi" and last is not None else 0


def _kind(container: Any, stream: Any) -> str:
    if stream.codec_context.name in AV1:
        return "AV1"
    if container.format.name == "mpegts":
        return "MPEG-TS"
    container.seek(0, stream=stream)
    first = next(container.decode(stream), None)
    turned = first is not None and orientation_of(first) != Orientation()
    return "its frames are shown turned or mirrored" if turned else ""
