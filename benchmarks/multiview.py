"""The multi-view test decoded once against once per view, on the same videos and the same network.

    python benchmarks/multiview.py                    # 30 views, videos of 640 x 360, about 3 minutes
    python benchmarks/multiview.py --quick            # does it run?

once       as `expander test`: one pass of the decoder, its frames sorted and unique, for all views
per view   as SlowFast: the video is opened and decoded again for each view
unsorted   one pass too, but all frames asked for in the order of the views, repeated ones repeated

Rounds of the three are interleaved; CPU time counts this process and its decoding processes. At the
end the memory of a process that tests some videos and of one that tests four times as many, each with
its decoding process: the peak, and what is held at the end. decord decodes ahead of what it is asked
for, the further the busier the machine is, at most to the end of the one video that is open: on a busy
machine the peak of more videos is the higher one of more draws. Prints tables, asserts nothing.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch

from expander.config.space import load_space
from expander.evaluation.multiview import Scorer
from expander.model.network import X3D
from expander.video.decoder import Decoder
from expander.video.transforms import cut, painted
from expander.video.view_protocols import canvas, clip_frames, parse_views
from expander.video.views import Look, ViewedVideo, look, look_ahead


def main() -> None:
    """Makes the videos, times the three ways, measures the memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--views", default="30", help="10, 30 or KxM")
    parser.add_argument("--videos", type=int, default=4)
    parser.add_argument("--seconds", type=int, default=10, help="of a video, at 30 frames a second")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--few", type=int, default=8, help="videos of the smaller test of memory")
    parser.add_argument("--quick", action="store_true", help="one round of one short video")
    options = parser.parse_args()
    if options.quick:
        options.videos, options.seconds, options.rounds, options.few = 1, 2, 1, 2
    torch.set_num_threads(1)
    # The tiny space's base with a clip of 8 frames: a network so small that decoding dominates.
    spec = load_space("tiny").start.with_factor("temporal", 8.0)
    how = Look(spec, parse_views(options.views), "slowfast")
    scorer = Scorer(X3D(spec).eval(), how, workers=0)
    with tempfile.TemporaryDirectory() as folder:
        paths = [film(Path(folder) / f"{n}.mp4", 30 * options.seconds, n) for n in range(options.videos)]
        print(f"{spec}; {how.views} views; {options.videos} videos of {30 * options.seconds} frames, "
              f"640 x 360, H.264; decord in a process of its own; 1 thread")  # fmt: skip
        compare(scorer, paths, options.rounds)
        memory(how, paths, options.few)


def film(path: Path, frames: int, seed: int) -> Path:
    """A moving pattern with grain, so that a frame costs as much to decode as a filmed one."""
    rng = np.random.default_rng(seed)
    wide = rng.integers(0, 256, (45, 160, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    grain = rng.integers(0, 24, (8, 360, 640, 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "veryfast", "crf": "23"})
        stream.height, stream.width, stream.pix_fmt = 360, 640, "yuv420p"
        for number in range(frames):
            left = 2 * number % 640
            picture = wide[:360, left : left + 640] // 2 + grain[number % 8]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def per_view(path: Path, how: Look, decoder: Decoder) -> list[torch.Tensor]:
    """Each view from a pass of its own over the file."""
    found = []
    for clip in range(how.views.clips):
        for crop in range(how.views.crops):
            video = decoder.open(path)
            rows = clip_frames(how.protocol, how.views.clips, how.spec, video.length, video.fps)[clip]
            place = canvas(how.protocol, how.views.crops, how.spec, video.height, video.width)
            unique, inverse = np.unique(rows, return_inverse=True)
            frames = np.concatenate(list(decoder.stream(path, video, unique)))[inverse]
            found.append(cut(painted(torch.from_numpy(frames), place), place, crop))
    return found


def unsorted(path: Path, how: Look, _: Decoder) -> list[torch.Tensor]:
    """All frames of all views from one decord call, as listed."""
    import decord

    reader = decord.VideoReader(os.fspath(path), num_threads=1)
    fps = Fraction(reader.get_avg_fps()).limit_denominator(1001)
    rows = clip_frames(how.protocol, how.views.clips, how.spec, len(reader), fps)
    listed = np.repeat(rows, how.views.crops, axis=0)
    frames = torch.from_numpy(reader.get_batch(listed.ravel().tolist()).asnumpy())
    place = canvas(how.protocol, how.views.crops, how.spec, *frames.shape[1:3])
    clips = frames.split(rows.shape[1])
    return [cut(painted(clip, place), place, number % how.views.crops) for number, clip in enumerate(clips)]


def once(path: Path, how: Look, decoder: Decoder) -> list[torch.Tensor]:
    """As `expander test`."""
    seen = look(path, how, decoder)
    return [seen[number] for number in range(len(seen))]


WAYS: dict[str, Callable[[Path, Look, Decoder], list[torch.Tensor]]] = {
    "once": once, "per view": per_view, "unsorted": unsorted,
}  # fmt: skip


def compare(scorer: Scorer, paths: list[Path], rounds: int) -> None:
    """Seconds a video of each way: decoding and resizing, then the network, whose part is the same."""
    taken: dict[str, list[tuple[float, float, float]]] = {name: [] for name in WAYS}
    for _ in range(rounds):
        for name, way in WAYS.items():
            for path in paths:
                taken[name].append(timed(scorer, way, path))
    best = np.median(taken["once"], axis=0)
    print(f"{'':10}{'s a video':>10}{'CPU s':>8}{'decoding':>10}{'against once':>14}{'by CPU':>8}")
    for name, rows in taken.items():
        wall, used, decoding = np.median(rows, axis=0)
        print(f"{name:10}{wall:10.3f}{used:8.3f}{decoding / wall:10.0%}{wall / best[0]:14.1f}"
              f"{used / best[1]:8.1f}")  # fmt: skip


def timed(
    scorer: Scorer, way: Callable[[Path, Look, Decoder], list[torch.Tensor]], path: Path
) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds, and wall seconds of decoding and resizing, of one video."""
    decoder = Decoder()
    decoder.probe(path)  # the decoding process has started, the packets are examined
    begun, used = time.perf_counter(), cpu(decoder)
    views = way(path, scorer.how, decoder)
    decoded = time.perf_counter()
    clips = torch.stack(views).permute(0, 4, 1, 2, 3)
    scorer.score(clips.split(scorer.batch))
    found = time.perf_counter() - begun, cpu(decoder) - used, decoded - begun
    decoder.close()
    return found


def cpu(decoder: Decoder) -> float:
    """CPU seconds of this process and of the decoding process so far."""
    assert decoder.process.child is not None
    fields = Path(f"/proc/{decoder.process.child.pid}/stat").read_text().rpartition(")")[2].split()
    return time.process_time() + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(how: Look, paths: list[Path], few: int) -> None:
    """Memory of a fresh process that tests `few` videos, and of one that tests four times as many, MB."""
    sums = []
    print(f"{'memory, MB':12}{'peak':>8}{'decoding':>10}{'together':>10}{'at the end':>12}")
    for count in (few, 4 * few):
        # Files of their own names, so that whatever is kept of a file is kept `count` times.
        listed = [paths[0].with_name(f"{count}-{number}.mp4") for number in range(count)]
        for number, path in enumerate(listed):
            path.hardlink_to(paths[number % len(paths)])
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
            own, decoding = fresh.submit(measured, how, listed).result()
        peak, end = (one + other for one, other in zip(own, decoding, strict=True))
        sums.append((peak, end))
        print(f"{count:5} videos{own[0]:8.0f}{decoding[0]:10.0f}{peak:10.0f}{end:12.0f}")
    peak, end = (more / fewer for fewer, more in zip(*sums, strict=True))
    print(f"{'ratio':30}{peak:10.3f}{end:12.3f}")


Memory = tuple[float, float]


def measured(how: Look, paths: list[Path]) -> tuple[Memory, Memory]:
    """Tests the videos; the memory of this process and of its decoding process at the end."""
    torch.set_num_threads(1)
    decoder = Decoder()
    scorer = Scorer(X3D(how.spec).eval(), how)
    found = (0.0, 0.0), (0.0, 0.0)
    for seen in look_ahead(paths, how, lambda: decoder, 1):
        assert isinstance(seen, ViewedVideo)
        scorer.video(seen)
        assert decoder.process.child is not None
        found = resident("self"), resident(decoder.process.child.pid)
    return found


def resident(process: int | str) -> Memory:
    """The highest resident memory of a process so far, and that of now, MB: VmHWM and VmRSS of proc(5)."""
    rows = dict(row.split(":", 1) for row in Path(f"/proc/{process}/status").read_text().splitlines())
    return int(rows["VmHWM"].split()[0]) / 1024, int(rows["VmRSS"].split()[0]) / 1024


if __name__ == "__main__":
    main()
