"""Training clips per second end to end, from original videos and from the same videos prepared.

    python benchmarks/prepared.py                                   # about 10 minutes on 2 cores
    python benchmarks/prepared.py --networks X2D --threads 1        # a minute or two
    python benchmarks/prepared.py --networks X2D --threads 1 --store --epochs 10
    python benchmarks/prepared.py --quick                           # does it run?

End to end: decoding in a process of its own, augmenting, and a training step in this process, without the
cache of decoded frames. The originals are encoded as x264 does it by default (a key frame every 250 frames,
B-frames), as most videos of the web are. They are prepared with the short side that the network can use
(10 / 7 of its crop), and with 256. The rounds alternate, the median counts. Next to the clock stands the CPU
time of a clip in both processes, for machines that others use too. Prints a table, asserts nothing.

--store adds shards from an object store: moto's S3 server on this machine (the test extra), once from a cache
that earlier passes have filled, once with an empty one at the begin of every pass, so that each video comes
over the wire. --epochs adds the memory of this process and of its decoder after each pass over the videos.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import av
import numpy as np
import torch
from torch import Tensor

from expander.config.settings import DataConfig, Recipe
from expander.data.annotations import VideoList
from expander.data.clips import TrainingClips, loader, training_order
from expander.data.embedded.figures import CLASSES, FPS, render
from expander.data.sources import open_data
from expander.data.store.kept import Kept
from expander.engine.prepare import PrepareOrder, prepare
from expander.model.network import X3D
from expander.specs.spec import Base, Spec
from expander.training.loop import train_step
from expander.training.schedule import optimizer
from expander.video.decoder import Decoder

sys.path.append(str(Path(__file__).parent.parent / "tests"))
from store import serving, upload

NETWORKS = {
    "X2D": Spec(base=Base(classes=2)),
    "X3D-S": Spec(base=Base(frames=13, stride=6, crop=160, classes=2), bottleneck=2.25, depth=2.2),
}
SIZES = {"340x256": (256, 340), "1280x720": (720, 1280)}


class Arm:
    """A way to train: batches without end, and a step. kept: the cache of a store. cold: it is emptied
    before every pass over the videos.
    """

    def __init__(self, videos: VideoList, spec: Spec, batch: int, kept: Path, cold: bool = False) -> None:
        self.decoder, self.network = Decoder(places=Kept(kept, 50e9)), X3D(spec).train()
        self.emptied, self.a_pass = kept if cold else None, max(1, len(videos) // batch)
        self.source = batches(videos, spec, batch, self.decoder)
        self.sgd = optimizer(self.network, Recipe(lr=0.01))

    def cpu(self) -> float:
        """Seconds of this process and of the decoder's so far."""
        child = self.decoder.process.child
        if child is None:
            return time.process_time()
        times = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        return time.process_time() + sum(map(int, times)) / os.sysconf("SC_CLK_TCK")

    def round(self, steps: int) -> tuple[float, float]:
        """Seconds and CPU seconds of so many steps."""
        clock = cpu = 0.0
        for number in range(steps):
            if self.emptied is not None and number % self.a_pass == 0:
                shutil.rmtree(self.emptied, ignore_errors=True)
            begun, used = time.perf_counter(), self.cpu()
            clips, labels = next(self.source)
            float(train_step(self.network, self.sgd, clips, labels))
            clock, cpu = clock + time.perf_counter() - begun, cpu + self.cpu() - used
        return clock, cpu

    def resident(self) -> float:
        """MB of memory that this process and the decoder's have."""
        child = self.decoder.process.child
        found = ["self", *([str(child.pid)] if child is not None else [])]
        pages = sum(int(Path(f"/proc/{one}/statm").read_text().split()[1]) for one in found)
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def originals(root: Path, size: tuple[int, int], count: int, seconds: int) -> Path:
    """`count` videos in two classes, the last two to validate with; large ones are small ones enlarged."""
    times = max(1, size[0] // 240)
    small = (size[0] // times, size[1] // times)
    for number in range(count):
        label, split = number % 2, "train" if number < count - 2 else "val"
        video = render(CLASSES[label], np.random.default_rng(number), seconds * FPS, *small)
        path = root / split / CLASSES[label] / f"{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=FPS)
            stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
            for picture in video:
                large = picture.repeat(times, 0).repeat(times, 1)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(large, format="rgb24")))
            container.mux(stream.encode(None))
    return root


def batches(
    videos: VideoList, spec: Spec, batch: int, decoder: Decoder
) -> Iterator[tuple[Tensor, Tensor]]:
    """As a training loads them in its own process."""
    clips = TrainingClips(videos, spec, True, decoder)
    for number in range(10**6):
        items = training_order(len(videos), (number + 1) * batch, 0, number * batch)
        for loaded in loader(clips, items, batch, 0):  # type: ignore[attr-defined]
            yield loaded.clips, loaded.labels


def megabytes(folder: str) -> str:
    """Of all videos and shards below a folder."""
    files = [path for path in Path(folder).rglob("*") if path.suffix in (".mp4", ".tar")]
    return f"{sum(path.stat().st_size for path in files) / 1e6:.1f} MB" if files else ""


def compare(
    name: str, spec: Spec, folders: dict[str, str], options: argparse.Namespace, kept: Path
) -> None:
    """Rows of one network: each folder, and its ratio to the first. kept: the cache of a store."""
    data = {title: open_data(DataConfig(folder=folder)).train for title, folder in folders.items()}
    arms = {title: Arm(videos, spec, options.batch, kept) for title, videos in data.items()}
    if options.store:
        *_, title = folders
        cold = f"{title}, none kept"
        folders, data = {**folders, cold: folders[title]}, {**data, cold: data[title]}
        arms[cold] = Arm(data[title], spec, options.batch, kept.parent / "cold", cold=True)
    found: dict[str, list[tuple[float, float]]] = {title: [] for title in arms}
    for arm in arms.values():
        arm.round(options.steps)  # files are examined, kernels compiled
    for _ in range(options.rounds):
        for title, arm in arms.items():
            found[title].append(arm.round(options.steps))
    clips = options.batch * options.steps
    first: list[float] = []
    for title, rows in found.items():
        clock, cpu = (statistics.median(values) / clips for values in zip(*rows, strict=True))
        first = first or [clock, cpu]
        cells = (name, title, megabytes(folders[title]), f"{1 / clock:.1f}",
                 f"{first[0] / clock:.1f}", f"{1000 * cpu:.1f} ms", f"{first[1] / cpu:.1f}")  # fmt: skip
        print(f"| {' | '.join(cells)} |", flush=True)
    if options.epochs:
        last = list(folders)[-1]
        steps = -(-len(data[last]) // options.batch)
        sizes = []
        for _ in range(options.epochs):
            arms[last].round(steps)
            sizes.append(f"{arms[last].resident():.0f}")
        print(f"\nmemory after each pass over {last}: {', '.join(sizes)} MB\n", flush=True)
    for arm in arms.values():
        arm.decoder.close()


def main() -> None:
    """Makes the videos, prepares them, trains on all of them in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=4, help="clips a step")
    parser.add_argument("--steps", type=int, default=8, help="of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--videos", type=int, default=10)
    parser.add_argument("--seconds", type=int, default=10, help="of a video")
    parser.add_argument("--store", action="store_true", help="shards from an object store too")
    parser.add_argument("--epochs", type=int, default=0, help="passes after each of which memory is told")
    parser.add_argument("--quick", action="store_true", help="few short videos, one round")
    options = parser.parse_args()
    if options.quick:
        options.steps, options.rounds, options.videos, options.seconds = 1, 1, 4, 2
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.threads} threads, batch {options.batch}; {options.videos} "
          f"videos of {options.seconds} s at {FPS} frames a second\n")  # fmt: skip
    print("| network | videos | size | clips/s | ratio | CPU of a clip | ratio |")
    print(7 * "|---" + "|", flush=True)
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        server = stack.enter_context(serving(Path(place) / "store.log")) if options.store else None
        for size in options.sizes:
            root = originals(Path(place) / size, SIZES[size], options.videos, options.seconds)
            for name in options.networks:
                spec = NETWORKS[name]
                folders = {f"originals, {size}": str(root)}
                for side in (spec.jitter[1], 256):
                    out = Path(place) / f"{size}-{side}"
                    prepare(PrepareOrder(DataConfig(folder=str(root)), out, short_side=side))
                    folders[f"prepared, short side {side}"] = str(out)
                out = Path(place) / f"{size}-shards-{side}"
                prepare(PrepareOrder(DataConfig(folder=str(root)), out, short_side=side, shard_bytes=10**6))
                folders[f"shards on disk, short side {side}"] = str(out)
                if server is not None:
                    folders["the same shards in a store"] = upload(server, out, out.name)
                compare(name, spec, folders, options, Path(place) / "kept")


if __name__ == "__main__":
    main()
