"""What prepared videos could be: H.264 with few or many key frames, JPEG or WebP pictures, of equal quality.

    python benchmarks/codecs.py    # a minute

Drawn people at a short side of 160, 10 s at 20 frames a second. JPEG and WebP have the lowest quality whose
PSNR (luma, against the pictures before encoding) is not below that of H.264 with a CRF of 21. A read opens
the file and takes frames at random places, in one thread: one (X2D), or 13 that are 6 apart (X3D-S). H.264
is read as the tool reads prepared videos, pictures by PyAV's decoder from one file that holds them behind
each other. Rounds are interleaved; medians. Prints a table, asserts nothing.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import accumulate
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from expander.data.embedded.figures import CLASSES, FPS, render
from expander.video.jumping import JumpingReader
from expander.video.readers import rgb

Video = npt.NDArray[np.uint8]
"""(T, H, W, 3), RGB."""
Read = Callable[[Sequence[int]], Video]
LOOKS = {"X2D": (1, 1), "X3D-S": (13, 6)}
"""Frames of a clip, and their distance."""
CRF = "21"
CODECS = {"mjpeg": "mjpeg", "webp": "libwebp"}
"""Decoders, and the encoders of the same."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One video in one form. read: opens it, takes frames and leaves it."""

    bytes: int
    read: Read


def movie(video: Video, path: Path, gop: int) -> Kept:
    """As H.264 in MP4, with a key frame every `gop`."""
    with av.open(str(path), "w") as container:
        options = {"preset": "veryfast", "crf": CRF, "g": str(gop), "bf": "0", "sc_threshold": "0"}
        stream = container.add_stream("libx264", rate=FPS, options=options)
        stream.height, stream.width, stream.pix_fmt = *video.shape[1:3], "yuv420p"
        for picture in video:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return Kept(path.stat().st_size, partial(read_movie, path))


def read_movie(path: Path, frames: Sequence[int]) -> Video:
    """As prepared videos are read."""
    reader = JumpingReader.of(path)
    assert reader is not None
    found = reader.gather(np.array(frames))
    reader.container.close()
    return found


def pictures(video: Video, path: Path, codec: str, quality: int) -> Kept:
    """As pictures behind each other in one file."""
    parts = []
    for picture in video:
        encoder = av.CodecContext.create(CODECS[codec], "w")
        encoder.height, encoder.width, encoder.time_base = *picture.shape[:2], Fraction(1, FPS)
        if codec == "webp":
            encoder.pix_fmt, encoder.options = "yuv420p", {"quality": str(quality)}
        else:
            encoder.pix_fmt, encoder.qmin, encoder.qmax = "yuvj420p", quality, quality
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=encoder.pix_fmt)
        parts.append(b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)]))
    path.write_bytes(b"".join(parts))
    ends = list(accumulate(map(len, parts)))
    return Kept(ends[-1], partial(read_pictures, path, codec, [0, *ends]))


def read_pictures(path: Path, codec: str, places: Sequence[int], frames: Sequence[int]) -> Video:
    """With PyAV's decoder, one thread."""
    decoder = av.CodecContext.create(codec, "r")
    decoder.thread_count = 1
    found = []
    with path.open("rb") as file:
        for number in frames:
            file.seek(places[number])
            packet = av.Packet(file.read(places[number + 1] - places[number]))
            found += [rgb(frame) for frame in decoder.decode(packet)]
    return np.stack(found)


def luma_psnr(video: Video, kept: Kept) -> float:
    """In dB."""
    weights = np.array([0.299, 0.587, 0.114])
    came = kept.read(range(len(video))) @ weights
    return float(10 * np.log10(255**2 / np.mean((came - video @ weights) ** 2)))


def forms(video: Video, folder: Path) -> dict[str, tuple[Kept, str]]:
    """By name: the form of the video, and what it was made with."""
    found = {}
    for gop in (1, 4, 8, 16):
        found[f"H.264, a key frame every {gop}"] = movie(video, folder / f"{gop}.mp4", gop), f"CRF {CRF}"
    wanted = luma_psnr(video, found["H.264, a key frame every 8"][0])
    jpeg = ((pictures(video, folder / "jpeg", "mjpeg", q), f"q {q}") for q in range(10, 1, -1))
    webp = ((pictures(video, folder / "webp", "webp", q), f"quality {q}") for q in range(40, 101, 5))
    for name, tries in (("JPEG pictures", jpeg), ("WebP pictures", webp)):
        for kept, how in tries:
            found[name] = kept, how
            if luma_psnr(video, kept) >= wanted:
                break
    return found


def clock(read: Read, length: int, look: tuple[int, int], seed: int) -> float:
    """Milliseconds of CPU time of a clip, mean of 30."""
    rng, (count, stride) = np.random.default_rng(seed), look
    places = rng.integers(length - (count - 1) * stride, size=30)
    begun = time.process_time()
    for place in places:
        read([int(place) + stride * number for number in range(count)])
    return 1000 * (time.process_time() - begun) / len(places)


def main() -> None:
    """Makes the forms and reads each."""
    video = render(CLASSES[0], np.random.default_rng(0), 10 * FPS, 160, 212)
    with tempfile.TemporaryDirectory() as folder:
        made = forms(video, Path(folder))
        times: dict[tuple[str, str], list[float]] = {(name, look): [] for name in made for look in LOOKS}
        for number in range(5):
            for (name, look), found in times.items():
                found.append(clock(made[name][0].read, len(video), LOOKS[look], number))
        print(f"| form | made with | PSNR | kB | {' | '.join(f'ms for {look}' for look in LOOKS)} |")
        print("|---" * 6 + "|")
        for name, (kept, how) in made.items():
            cells = [name, how, f"{luma_psnr(video, kept):.1f} dB", f"{kept.bytes / 1000:.0f}"]
            cells += [f"{statistics.median(times[name, look]):.2f}" for look in LOOKS]
            print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
