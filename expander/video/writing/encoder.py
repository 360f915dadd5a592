"""One video as a file that is quick to read: H.264 in MP4, small, one rate, short closed groups of pictures.

Used in the decoding process only (worker.py). The same source gives the same bytes: one thread, no B-frames,
nothing of the clock. Shapes: H height, W width of a picture, pixels.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import av
import numpy as np

from expander.video.frame_rate import resampled
from expander.video.orientation import Orientation, orientation_of
from expander.video.probe import FAULTS, Progress, examine, reason_of
from expander.video.readers import Unreadable
from expander.video.writing.film import Film, Pictures, digest_of, state_of

VERSION = 1
"""Raised with every change of the bytes that come out."""
GOP, CRF = 8, 21
"""Unless a data set is prepared otherwise."""
SLOWER = 10
"""How much longer than decoding it may take, encoding included, before a video counts as hanging."""
CHANGED = "it changed while it was read; prepare it again when nothing writes to it"
LIMITED, YUV = 1, "yuv420p"
"""Of PyAV: colours in the range of television; the pictures that all decoders take."""


class Unwritable(Exception):
    """The target takes no more: a full disk, no permission; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """What decides on the bytes of a prepared video, besides the video.

    short_side: pixels of it at most, even. gop: frames from key frame to key frame. crf: x264's quality, 0
    to 51, the smaller the better.
    """

    short_side: int
    gop: int = GOP
    crf: int = CRF

    def size(self, height: int, width: int) -> tuple[int, int]:
        """(H, W) of the prepared video, both even; never larger than the source."""
        short = min(height, width)
        if short <= self.short_side:
            return max(2, height - height % 2), max(2, width - width % 2)
        long = max(self.short_side, 2 * round(max(height, width) * self.short_side / short / 2))
        return (self.short_side, long) if height <= width else (long, self.short_side)


@dataclass(frozen=True, slots=True)
class Encoded:
    """A prepared video. source_frames: of the source. mapping: for each frame the number of the source's
    frame in it; none where it is the same number. source_sha256, sha256: of the files.
    """

    sha256: str
    bytes: int
    frames: int
    fps: str
    height: int
    width: int
    source_sha256: str
    source_frames: int
    source_height: int
    source_width: int
    mapping: list[int] | None


def prepare(source: Path, target: Path, how: Encoding, progress: Progress = lambda _: None) -> Encoded:
    """Writes the prepared video of `source` into the new file `target`, on disk when it returns.

    Raises Unreadable for a source that is damaged or changes meanwhile, NotNow for one that cannot be read
    now, Unwritable where the disk refuses.
    """
    def more(pixels: int) -> None:
        progress(SLOWER * pixels)

    before = state_of(source)
    content = digest_of(source, more)
    verdict = examine(source, more)
    if verdict.route == "bad":
        raise Unreadable(verdict.reason)
    film = Pictures(source) if verdict.route == "pictures" else Film(source, more)
    try:
        made = _written(film, target, how)
        if state_of(source) != before:
            raise Unreadable(CHANGED)
        if (found := examine(target)).route != "decord":
            raise Unreadable(f"what was made of it is not as it should be: {found.reason}")
        return Encoded(digest_of(target, more), target.stat().st_size, *made[:4], content, *made[4:])
    except OSError as error:
        raise Unwritable(reason_of(error)) from None


Made = tuple[int, str, int, int, int, int, int, list[int] | None]
"""Frames, fps, height, width, frames, height and width of the source, mapping."""


def _written(film: Film | Pictures, target: Path, how: Encoding) -> Made:
    """Encodes it; a second time where decoding gives other frames than its packets promise."""
    for _ in range(2):
        assert film.ticks is not None
        fps, mapping = resampled(film.ticks, film.base, film.fps())
        wanted = range(len(film.ticks)) if mapping is None else mapping
        with _opened(target) as file:
            output = _Output(file)
            came, shape, size = _encode(film.frames(), wanted, output, fps, how)
            output.settle()
        if came == len(film.ticks):
            return len(wanted), str(fps), *size, came, *shape, mapping
        film.decoded_times()
    raise Unreadable("it gives other frames each time that it is decoded")


def _opened(target: Path) -> IO[bytes]:
    try:
        return target.open("wb", buffering=0)
    except OSError as error:
        raise Unwritable(error.strerror or "cannot be opened") from None


class _Output:
    """A file that PyAV writes to; what the disk says is kept, for PyAV may swallow it."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.error = file, ""
        self.seek, self.tell = file.seek, file.tell

    def write(self, data: bytes) -> int:
        """All of it. Raises OSError."""
        try:
            done = 0
            while done < len(data):
                done += self.file.write(data[done:])
        except OSError as error:
            self.error = error.strerror or str(error)
            raise
        return done

    def settle(self) -> None:
        """To the disk itself. Raises Unwritable for what went wrong at any time."""
        if not self.error:
            try:
                os.fsync(self.file.fileno())
            except OSError as error:
                self.error = error.strerror or str(error)
        if self.error:
            raise Unwritable(self.error)


def _encode(
    frames: Iterator[Any], wanted: Sequence[int], output: _Output, fps: Fraction, how: Encoding
) -> tuple[int, tuple[int, int], tuple[int, int]]:
    """How many frames came, and (H, W) of the first and of the prepared video.

    wanted: the number of the frame for each frame of the result, never falling.
    """
    came = place = 0
    shape = size = (0, 0)
    try:
        with av.open(output, "w", format="mp4") as container:
            stream: Any = container.add_stream("libx264", rate=fps)
            for came, frame in enumerate(frames, 1):
                if came == 1:
                    shape = _shown(frame)
                    size = how.size(*shape)
                    _set_up(stream, frame, size, how)
                if place == len(wanted) or wanted[place] != came - 1:
                    continue
                picture = _fitted(frame, size)
                while place < len(wanted) and wanted[place] == came - 1:
                    picture.pts, picture.time_base, picture.pict_type = place, 1 / fps, 0
                    container.mux(stream.encode(picture))
                    place += 1
            if came == 0:
                raise Unreadable("it holds no frames")
            container.mux(stream.encode(None))
    except FAULTS as error:
        output.settle()
        raise Unreadable(f"cannot be encoded: {reason_of(error)}") from None
    return came, shape, size


def _shown(frame: Any) -> tuple[int, int]:
    """(H, W) the way it is shown."""
    swap = orientation_of(frame).swap
    return (frame.width, frame.height) if swap else (frame.height, frame.width)


def _set_up(stream: Any, first: Any, size: tuple[int, int], how: Encoding) -> None:
    stream.height, stream.width = size
    stream.pix_fmt = YUV
    codec = stream.codec_context
    codec.thread_count = 1
    codec.colorspace, codec.color_range = first.colorspace, LIMITED
    # Without B-frames no edit list is needed, and a frame is stored where it is shown.
    stream.options = {"preset": "veryfast", "crf": str(how.crf), "bf": "0", "g": str(how.gop),
                      "sc_threshold": "0", "x264-params": _steady()}  # fmt: skip


@functools.cache
def _steady() -> str:
    """What x264 needs to give the same bytes each time: with AVX-512 and a look ahead over macroblocks, one
    encoding in twenty to fifty of a busy machine came out different (docs/log.md).
    """
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        flags = ""
    return "mbtree=0" + (":asm=MMX2,SSE2,SSE3,SSSE3,SSE4,AVX,AVX2" if "avx512" in flags else "")


def _fitted(frame: Any, size: tuple[int, int]) -> Any:
    """A frame of (H, W) pixels, the way it is shown, in the colours that it had."""
    turned, space = orientation_of(frame), frame.colorspace
    height, width = size[::-1] if turned.swap else size
    resize: Callable[..., Any] = frame.reformat
    if turned != Orientation():
        pixels = resize(width, height, "rgb24", interpolation="BICUBIC", threads=1).to_ndarray()
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(turned.apply(pixels)), format="rgb24")
        resize, (height, width) = frame.reformat, size
    return resize(width, height, YUV, interpolation="BICUBIC", dst_colorspace=space, dst_color_range=LIMITED,
                  threads=1)  # fmt: skip
