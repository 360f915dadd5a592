"""What prepared videos could be: H.264 with few or many key frames, MJPEG, or WebP frames, of equal quality.

    python benchmarks/codecs.py    # a minute

Drawn people at a short side of 160, 10 s at 20 frames a second. MJPEG and WebP have the lowest quality
whose PSNR (luma, against the pictures before encoding) is not below that of H.264 with a CRF of 21. A read
opens the file and takes frames at random places, in one thread: one (X2D), or 13 that are 6 apart (X3D-S).
H.264 and MJPEG are read with decord, WebP with PyAV's decoder from one file that holds the frames behind each
other. Rounds are interleaved; medians. Prints a table, asserts nothing.
"""

from __future__ import annotations

import io
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from expander.data.embedded.figures import CLASSES, FPS, render

Video = npt.NDArray[np.uint8]
"""(T, H, W, 3), RGB."""
Read = Callable[[Sequence[int]], list[Video]]
LOOKS = {"X2D": (1, 1), "X3D-S": (13, 6)}
"""Frames of a clip, and their distance."""
CRF = "21"


@dataclass(frozen=True, slots=True)
class Kept:
    """One video in one form. read: opens it, takes frames and leaves it."""

    bytes: int
    read: Read


def movie(video: Video, path: Path, codec: str, pix_fmt: str, **options: str) -> Kept:
    """As a file of one stream."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=FPS, options=options)
        stream.height, stream.width, stream.pix_fmt = *video.shape[1:3], pix_fmt
        if codec == "mjpeg":
            stream.codec_context.qmin = stream.codec_context.qmax = int(options["q"])
        for picture in video:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return Kept(path.stat().st_size, partial(read_movie, path))


def read_movie(path: Path, frames: Sequence[int]) -> list[Video]:
    """With decord, one thread."""
    import decord

    return list(decord.VideoReader(str(path), num_threads=1).get_batch(list(frames)).asnumpy())


def pictures(video: Video, path: Path, quality: int) -> Kept:
    """As WebP pictures behind each other in one file."""
    parts = []
    for picture in video:
        out = io.BytesIO()
        with av.open(out, "w", format="image2pipe") as container:
            stream = container.add_stream("libwebp", options={"quality": str(quality)})
            stream.height, stream.width, stream.pix_fmt = *picture.shape[:2], "yuv420p"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode(None))
        parts.append(out.getvalue())
    path.write_bytes(b"".join(parts))
    ends = list(accumulate(map(len, parts)))
    return Kept(ends[-1], partial(read_pictures, path, [0, *ends]))


def read_pictures(path: Path, places: Sequence[int], frames: Iterable[int]) -> list[Video]:
    """With PyAV's decoder, one thread."""
    decoder = av.CodecContext.create("webp", "r")
    decoder.thread_count = 1
    found = []
    with path.open("rb") as file:
        for number in frames:
            file.seek(places[number])
            packet = av.Packet(file.read(places[number + 1] - places[number]))
            found += [frame.to_ndarray(format="rgb24") for frame in decoder.decode(packet)]
    return found


def luma_psnr(video: Video, kept: Kept) -> float:
    """In dB."""
    weights = np.array([0.299, 0.587, 0.114])
    came = np.stack(kept.read(range(len(video)))) @ weights
    return float(10 * np.log10(255**2 / np.mean((came - video @ weights) ** 2)))


def forms(video: Video, folder: Path) -> dict[str, tuple[Kept, str]]:
    """By name: the form of the video, and what it was made with."""
    found = {}
    for gop in (1, 4, 8, 16):
        kept = movie(video, folder / f"{gop}.mp4", "libx264", "yuv420p", crf=CRF, g=str(gop), bf="0")
        found[f"H.264, a key frame every {gop}"] = kept, f"CRF {CRF}"
    wanted = luma_psnr(video, found["H.264, a key frame every 8"][0])
    jpeg = ((movie(video, folder / "m.mkv", "mjpeg", "yuvj420p", q=str(q)), f"q {q}")
            for q in range(10, 1, -1))  # fmt: skip
    webp = ((pictures(video, folder / "w.bin", q), f"quality {q}") for q in range(40, 101, 5))
    for name, tries in (("MJPEG", jpeg), ("WebP frames", webp)):
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
