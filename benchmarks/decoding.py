"""Reading videos by route, and the price of the proof that one may jump within them.

    python benchmarks/decoding.py                     # 1,000 videos, about 2 minutes
    python benchmarks/decoding.py --quick             # does it run?

Rows: the same H.264 pictures as MP4 (PyAV, jumping), copied without decoding into AVI and MPEG-TS (PyAV,
from the start), and as MP4 with B-frames (decord). Random clips are 16 frames, 4 apart; a 10-view read takes
10 of them evenly. All go through the decoder's own process without a cache, as in training; "plain decord"
opens and reads the first MP4 in this process without any verdict.
The proof is the part of the examination that looks into packets for whether jumps are right. It is measured
against the same reading of packets without it, and against one random clip of each video: files are examined
once, and read in every epoch. Rounds are interleaved, each value is the best. Prints tables, asserts nothing.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import av
import numpy as np
import numpy.typing as npt

from expander.video import probe
from expander.video.decoder import Decoder
from expander.video.jump_proof.random_access import Proof
from expander.video.jumping import DecordReader
from expander.video.probe import Verdict, content_of, examine

Indices = npt.NDArray[np.int64]
CLIP = 4 * np.arange(16)
VIEWS = 10
COPIES = ("mp4", "avi", "ts")


def main() -> None:
    """Makes the videos, times the routes, then the proof."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--videos", type=int, default=1000, help="that are examined")
    parser.add_argument("--read", type=int, default=20, help="videos that are read")
    parser.add_argument("--seconds", type=int, default=10, help="of a video, at 30 frames a second")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round of few short videos")
    options = parser.parse_args()
    if options.quick:
        options.videos, options.read, options.seconds, options.rounds = 5, 2, 3, 1
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        first = film(root / "film.mp4", 30 * options.seconds)
        print(f"videos of 340 x 256, {options.seconds} s at 30 frames a second, {size(first)} kB as MP4\n")
        routes(root, first, options.seconds, options.read, options.rounds)
        proof(root, first, options.videos, options.rounds)


def film(path: Path, frames: int, b_frames: str = "0") -> Path:
    """Moving noise; without B-frames an AVI can hold it too. A key frame every 4 s at the latest."""
    rng = np.random.default_rng(0)
    large = rng.integers(0, 255, (64, 85, 3), np.uint8).repeat(4, 0).repeat(4, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"g": "120", "bf": b_frames, "crf": "28"})
        stream.height, stream.width, stream.pix_fmt = 256, 340, "yuv420p"
        for number in range(frames):
            moved = np.ascontiguousarray(np.roll(large, (number, 2 * number), (0, 1)))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(moved, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def copied(source: Path, path: Path) -> Path:
    """The same packets in another container."""
    with av.open(str(source)) as given, av.open(str(path), "w") as made:
        stream = given.streams.video[0]
        copy = made.add_stream_from_template(stream)
        kind = "h264_mp4toannexb" if path.suffix == ".avi" else "null"
        if path.suffix == ".avi":
            assert stream.average_rate is not None
            copy.time_base = 1 / stream.average_rate
        filtered = av.BitStreamFilterContext(kind, stream, copy)
        for packet in given.demux(stream):
            if packet.dts is not None:
                for one in filtered.filter(packet):
                    one.stream = copy
                    made.mux(one)
    return path


def size(path: Path) -> int:
    """In kB."""
    return path.stat().st_size // 1000


def best(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Seconds of each way, the least of interleaved rounds."""
    found = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for name, way in ways.items():
            begun = time.perf_counter()
            way()
            found[name] = min(found[name], time.perf_counter() - begun)
    return found


def read(decoder: Decoder, path: Path, count: int, views: bool) -> None:
    """Random clips of a video, or all its views at a time, `count` times."""
    rng = np.random.default_rng(0)

    def pick(length: int) -> Indices:
        last = length - int(CLIP[-1]) - 1
        starts = np.linspace(0, last, VIEWS).astype(int) if views else rng.integers(0, last, 1)
        return np.concatenate([start + CLIP for start in starts])

    for _ in range(count):
        decoder.read(path, pick)


def plain(path: Path, count: int, views: bool) -> None:
    """As `read`, by decord in this process."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        video = DecordReader(path)
        last = video.length - int(CLIP[-1]) - 1
        starts = np.linspace(0, last, VIEWS).astype(int) if views else rng.integers(0, last, 1)
        wanted, places = np.unique(np.concatenate([s + CLIP for s in starts]), return_inverse=True)
        _ = video.gather(wanted)[places]


def routes(root: Path, first: Path, seconds: int, count: int, rounds: int) -> None:
    """Reads a second of each container."""
    paths = {suffix: copied(first, root / f"copy.{suffix}") for suffix in COPIES}
    paths["mp4, B-frames"] = film(root / "b.mp4", 30 * seconds, "2")
    decoder = Decoder()
    reasons = {suffix: decoder.examine(path) for suffix, path in paths.items()}
    rows: dict[str, dict[str, float]] = {}
    for kind, views in (("random clips", False), ("10-view reads", True)):
        ways: dict[str, Callable[[], object]] = {}
        ways["plain decord"] = lambda v=views: plain(paths["mp4"], count, v)
        for suffix, path in paths.items():
            ways[suffix] = lambda p=path, v=views: read(decoder, p, count, v)
        rows[kind] = {name: count / seconds for name, seconds in best(ways, rounds).items()}
    print("| | route | " + " | ".join(f"{kind} a second | ratio to plain decord" for kind in rows) + " |")
    print("|---|---|" + "---|" * 2 * len(rows))
    for name in ("plain decord", *paths):
        route = reasons[name].route if name in reasons else "decord"
        cells = [f"{row[name]:.1f} | {row[name] / row['plain decord']:.2f}" for row in rows.values()]
        print(f"| {name} | {route} | " + " | ".join(cells) + " |")
    decoder.close()


class NoProof(Proof):
    """Believes every file."""

    def __init__(self, container: object, stream: object) -> None:
        super().__init__(container, stream)
        self.doubt = ""

    def take(self, packet: object) -> None:
        """Looks at nothing."""

    def close(self, stream: object) -> None:
        """Nor at the index."""


def proof(root: Path, first: Path, count: int, rounds: int) -> None:
    """Examines many ordinary MP4s, with the proof and without."""
    paths = [Path(shutil.copy(first, root / f"{number}.mp4")) for number in range(count)]

    def all_of_them() -> None:
        for path in paths:
            examine(path)

    def without() -> None:
        with patch.object(probe, "Proof", NoProof):
            all_of_them()

    decoder = Decoder()
    for path in paths:
        decoder.verdicts.add(decoder._key(path), Verdict("decord"))
    clips = paths[:: max(1, count // 100)]

    def a_clip_of_each() -> None:
        for path in clips:
            read(decoder, path, 1, False)

    read(decoder, first, 1, False)
    def contents() -> None:
        for path in paths:
            content_of(path)

    ways = {"proof": all_of_them, "packets": without, "clips": a_clip_of_each, "contents": contents}
    found = best(ways, rounds)
    decoder.close()
    whole, packets, each = found["proof"], found["packets"], found["clips"] / len(clips) * count
    print(f"\n{count} ordinary MP4s examined, once: {whole:.2f} s, {packets:.2f} s without the proof,")
    print(f"ratio {whole / packets:.3f}. One random clip of each takes {each:.2f} s: the proof")
    share, all_of_it = 100 * (whole - packets) / each, 100 * whole / each
    print(f"is {share:.1f} % of that, all of the examination {all_of_it:.1f} %. To read their contents,")
    more = found["contents"]
    print(f"by which they are known at other places, takes {more:.2f} s more, {100 * more / each:.1f} %.")


if __name__ == "__main__":
    main()
