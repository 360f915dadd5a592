"""Clips per second of training from video files: decoding, augmenting and stepping together.

Ours (decoder processes, cache of decoded frames off and on, crops computed alone, the layout for CPUs)
beside a plain PyTorchVideo pipeline in the same run: its LabeledVideoDataset, its transforms, its X3D and
torch's SGD. Both read the same files, make the same number of clips of the same size, and train in
float32. The rounds alternate, and next to the clock stands the CPU time of the process, for machines that
others use too.

    pip install -e '.[bench]'
    python benchmarks/train_epoch.py --threads 2

torchvision is not needed. PyTorchVideo imports it for RoIAlign and for transforms that derive from its
classes; stand-ins make the import work, and normalisation, crop and flip, which it takes from
torchvision, are the same three lines of torch here. Exit codes: 0, or 6 without PyTorchVideo.
"""

from __future__ import annotations

import argparse
import logging
import random
import statistics
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from expander.config.settings import Recipe
from expander.data.annotations import VideoList
from expander.data.clips import TrainingClips, loader, training_order
from expander.data.embedded.synthetic import FPS, SetConfig, make
from expander.model.network import X3D
from expander.specs.spec import Base, Spec
from expander.training.loop import train_step
from expander.training.schedule import optimizer
from expander.video.decoder import Decoder
from expander.video.transforms import MEAN, STD

NETWORKS = {
    "X2D": Spec(),
    "X3D-S": Spec(base=Base(frames=13, stride=6, crop=160), bottleneck=2.25, depth=2.2),
}
VIDEOS = SetConfig(train=2, val=1, frames=100, height=240, width=320)
Clips = Iterator[tuple[Tensor, Tensor]]


def pytorchvideo() -> types.SimpleNamespace:
    """What is used of PyTorchVideo. Exits with 6 when it is not there."""
    names = ("torchvision", "torchvision.ops", "torchvision.transforms", "torchvision.datasets",
             "torchvision.datasets.folder", "torchvision.transforms.functional",
             "torchvision.transforms.functional_tensor")  # fmt: skip
    stand_ins = {name: types.ModuleType(name) for name in names if name not in sys.modules}
    classes = ("RoIAlign", "Normalize", "InterpolationMode", "CenterCrop", "Compose", "RandomCrop",
               "RandomHorizontalFlip", "make_dataset")  # fmt: skip
    for name, module in stand_ins.items():
        for wanted in classes:
            setattr(module, wanted, type(wanted, (nn.Module,), {}))
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules.get(parent) or stand_ins[parent], child, module)
    sys.modules.update(stand_ins)
    try:
        from pytorchvideo.data import LabeledVideoDataset, make_clip_sampler
        from pytorchvideo.models.x3d import create_x3d
        from pytorchvideo.transforms.functional import short_side_scale, uniform_temporal_subsample
    except ImportError as error:
        print(f"error: {error}: pip install -e '.[bench]' has PyTorchVideo", file=sys.stderr)
        raise SystemExit(6) from None
    logging.getLogger("pytorchvideo").setLevel(logging.ERROR)
    return types.SimpleNamespace(
        dataset=LabeledVideoDataset, sampler=make_clip_sampler, create_x3d=create_x3d,
        scale=short_side_scale, subsample=uniform_temporal_subsample,
    )  # fmt: skip


def our_clips(videos: VideoList, spec: Spec, batch: int, cache: Path | None) -> Clips:
    """Batches without end, as a training of ours loads them in its own process."""
    frames = Decoder(cache, 4e9 if cache else 0)
    clips = TrainingClips(videos, spec, True, frames)
    for number in range(10**6):
        items = training_order(len(videos), (number + 1) * batch, 0, number * batch)
        for loaded in loader(clips, items, batch, 0):  # type: ignore[attr-defined]
            yield loaded.clips, loaded.labels


def their_clips(ptv: types.SimpleNamespace, videos: VideoList, spec: Spec, batch: int) -> Clips:
    """The same from LabeledVideoDataset: random clips of the same duration, in its own process."""

    def transform(sample: dict[str, Any]) -> dict[str, Any]:
        x_CTHW = ptv.subsample(sample["video"], spec.frames) / 255
        x_CTHW = (x_CTHW - MEAN) / STD
        x_CTHW = ptv.scale(x_CTHW, random.randint(*spec.jitter))
        top = random.randint(0, x_CTHW.shape[2] - spec.crop)
        left = random.randint(0, x_CTHW.shape[3] - spec.crop)
        x_CTHW = x_CTHW[:, :, top : top + spec.crop, left : left + spec.crop]
        return {"video": x_CTHW.flip(3) if random.random() < 0.5 else x_CTHW, "label": sample["label"]}

    rows = zip(videos.paths, videos.labels, strict=True)
    listed = [(str(path), {"label": label}) for path, label in rows]
    seconds = spec.duration / FPS
    while True:
        dataset = ptv.dataset(listed, ptv.sampler("random", seconds), transform=transform, decode_audio=False)
        for sample in torch.utils.data.DataLoader(dataset, batch):
            if len(sample["label"]) == batch:
                yield sample["video"], sample["label"]


def their_step(network: nn.Module) -> Callable[[Tensor, Tensor], None]:
    """Forward, cross-entropy, backward, SGD with Nesterov momentum."""
    sgd = torch.optim.SGD(network.train().parameters(), 0.01, 0.9, nesterov=True)

    def step(clips: Tensor, labels: Tensor) -> None:
        loss = nn.functional.cross_entropy(network(clips), labels)
        sgd.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        sgd.step()

    return step


def our_step(spec: Spec) -> Callable[[Tensor, Tensor], None]:
    """A step of our training loop."""
    network, recipe = X3D(spec).train(), Recipe(lr=0.01)
    sgd = optimizer(network, recipe)
    return lambda clips, labels: float(train_step(network, sgd, clips, labels)) and None


def timed(source: Clips, step: Callable[[Tensor, Tensor], None], steps: int) -> tuple[float, float, float]:
    """Seconds of loading and of stepping, and CPU seconds, of `steps` steps."""
    load = stepping = 0.0
    cpu = time.process_time()
    for _ in range(steps):
        begun = time.perf_counter()
        clips, labels = next(source)
        loaded = time.perf_counter()
        step(clips, labels)
        load, stepping = load + loaded - begun, stepping + time.perf_counter() - loaded
    return load, stepping, time.process_time() - cpu


def augment_seconds(videos: VideoList, spec: Spec, batch: int, cache: Path) -> float:
    """Of a batch: what is left of loading when the frames are decoded already."""
    source = our_clips(videos, spec, batch, cache)
    next(source)
    return statistics.median(timed(source, lambda *_: None, 1)[0] for _ in range(5))


def compare(name: str, spec: Spec, ptv: types.SimpleNamespace, videos: VideoList, options: Any) -> None:
    """Prints one network: clips a second end to end, and the shares."""
    batch, steps = options.batch, options.steps
    spec = spec.with_classes(max(videos.labels) + 1)
    theirs = ptv.create_x3d(
        input_clip_length=spec.frames, input_crop_size=spec.crop, model_num_class=spec.base.classes,
        width_factor=2.0, depth_factor=spec.depth, bottleneck_factor=spec.bottleneck, head_activation=None,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        full = our_clips(videos, spec, len(videos), Path(place) / "set")
        next(full)  # fills the cache
        arms = {
            "ours": (our_clips(videos, spec, batch, None), our_step(spec)),
            "ours, frames cached": (our_clips(videos, spec, batch, Path(place) / "set"), our_step(spec)),
            "PyTorchVideo": (their_clips(ptv, videos, spec, batch), their_step(theirs)),
        }
        found: dict[str, list[tuple[float, float, float]]] = {arm: [] for arm in arms}
        for arm in arms.values():
            timed(*arm, 1)
        for _ in range(options.rounds):
            for arm, made in arms.items():
                found[arm].append(timed(*made, steps))
        augment = augment_seconds(videos, spec, batch, Path(place) / "set")
    print(f"{name}: {spec}, batch {batch}")
    rates = {arm: show(arm, rows, batch * steps, augment * steps) for arm, rows in found.items()}
    for arm in ("ours", "ours, frames cached"):
        print(f"  {arm} / PyTorchVideo: {rates[arm] / rates['PyTorchVideo']:.2f}")


def show(arm: str, rows: list[tuple[float, float, float]], clips: int, augment: float) -> float:
    """One line of the median round; its clips a second."""
    load, stepping, cpu = sorted(rows, key=sum)[len(rows) // 2]
    total = load + stepping
    parts = f"load {load / total:4.0%} (PyAV in this process)"
    if arm != "PyTorchVideo":
        shown = min(augment, load)
        parts = f"decode {(load - shown) / total:4.0%}, augment {shown / total:4.0%}"
    print(f"  {arm:20} {clips / total:7.2f} clips/s: {parts}, step {stepping / total:4.0%}; "
          f"CPU {cpu / clips:.3f} s a clip in this process")  # fmt: skip
    return clips / total


def main() -> None:
    """Parse the options, make the videos, compare every network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batch", type=int, default=8, help="clips per step")
    parser.add_argument("--steps", type=int, default=3, help="steps a round")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds")
    options = parser.parse_args()
    ptv = pytorchvideo()
    torch.set_num_threads(options.threads)
    size = f"{VIDEOS.frames} frames of {VIDEOS.width}x{VIDEOS.height}"
    print(f"torch {torch.__version__}, {options.threads} threads; H.264 videos of {size}")
    with tempfile.TemporaryDirectory() as place:
        root = make(Path(place) / "set", VIDEOS)
        rows = [line.rsplit(" ", 1) for line in (root / "train.txt").read_text().splitlines()]
        videos = VideoList([root / name for name, _ in rows], tuple(int(label) for _, label in rows))
        for name, spec in NETWORKS.items():
            compare(name, spec, ptv, videos, options)


if __name__ == "__main__":
    main()
