"""Clips per second of one training step: this network against PyTorchVideo's, on this machine.

A step is forward, cross-entropy, backward and an SGD update of random clips, in float32. Both
networks run in the default and in the channels-last memory layout; rounds are interleaved and the
median counts, so that a busy moment of the machine hits all of them alike.

    pip install -e '.[bench]'
    python benchmarks/train_step.py --threads 2 --batch 4

Exit codes: 0, or 6 when PyTorchVideo is not installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
import time
import types
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from expander.model.network import X3D
from expander.spec import Base, Spec

NETWORKS = {
    "X2D": Spec(),
    "X3D-S": Spec(base=Base(frames=13, stride=6, crop=160), bottleneck=2.25, depth=2.2),
}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last_3d}
SHORTCUT_NORM = 2  # per channel: the batch norm that PyTorchVideo's first shortcut lacks


def pytorchvideo_builder() -> Callable[..., nn.Module]:
    """PyTorchVideo's `create_x3d`. It needs torchvision for RoIAlign only, which X3D never uses."""
    if importlib.util.find_spec("torchvision") is None:
        package, ops = types.ModuleType("torchvision"), types.ModuleType("torchvision.ops")
        ops.RoIAlign = nn.Identity  # type: ignore[attr-defined]
        sys.modules.update({"torchvision": package, "torchvision.ops": ops})
    try:
        from pytorchvideo.models.x3d import create_x3d  # type: ignore[import-untyped]
    except ImportError as error:
        print(f"error: {error}: pip install -e '.[bench]' has PyTorchVideo", file=sys.stderr)
        raise SystemExit(6) from None
    builder: Callable[..., nn.Module] = create_x3d
    return builder


def build_theirs(create_x3d: Callable[..., nn.Module], spec: Spec) -> nn.Module:
    """The network of `spec` by PyTorchVideo, whose width factors count from a base of 12."""
    return create_x3d(
        input_clip_length=spec.frames,
        input_crop_size=spec.crop,
        model_num_class=spec.base.classes,
        width_factor=2.0 * spec.width,
        depth_factor=spec.depth,
        bottleneck_factor=spec.bottleneck,
        head_activation=None,
    )


def check_same_size(name: str, spec: Spec, ours: nn.Module, theirs: nn.Module) -> None:
    """Say the parameter counts; AssertionError if they differ by more than the known norm."""
    mine, other = (sum(p.numel() for p in net.parameters()) for net in (ours, theirs))
    extra = SHORTCUT_NORM * spec.widths[0]
    assert mine == other + extra, f"{name}: {mine} parameters against {other}"
    print(f"{name}: {spec}; {mine:,} parameters, PyTorchVideo {other:,}", end=" ")
    print(f"(no batch norm in its first shortcut: {extra} fewer)")


def make_step(net: nn.Module, clips: Tensor, labels: Tensor, layout: Any) -> Callable[[], None]:
    """One training step of `net` as a function, its weights and clips in `layout`."""
    net = net.to(memory_format=layout).train()  # type: ignore[call-overload]
    clips = clips.contiguous(memory_format=layout)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, nesterov=True, fused=True)

    def step() -> None:
        loss = F.cross_entropy(net(clips), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def seconds_per_step(steps: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Median time of each step over interleaved rounds, after one to warm up."""
    for step in steps.values():
        step()
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(taken) for name, taken in times.items()}


def compare(
    name: str, spec: Spec, create_x3d: Callable[..., nn.Module], batch: int, rounds: int
) -> None:
    """Print clips per second of one network, both implementations, both layouts."""
    torch.manual_seed(0)
    check_same_size(name, spec, X3D(spec), build_theirs(create_x3d, spec))
    clips = torch.randn(batch, 3, spec.frames, spec.crop, spec.crop)
    labels = torch.randint(spec.base.classes, (batch,))
    steps = {}
    for layout, memory_format in LAYOUTS.items():
        for who, net in (("ours", X3D(spec)), ("pytorchvideo", build_theirs(create_x3d, spec))):
            steps[f"{who} {layout}"] = make_step(net, clips, labels, memory_format)
    rates = {key: batch / taken for key, taken in seconds_per_step(steps, rounds).items()}
    for key, rate in sorted(rates.items()):
        print(f"  {key:28} {rate:8.2f} clips/s")
    best = max(rate for key, rate in rates.items() if key.startswith("pytorchvideo"))
    for layout in LAYOUTS:
        ratio = rates[f"ours {layout}"] / best
        print(f"  ours {layout} / its best: {ratio:.2f}")


def main() -> None:
    """Parse the options and compare every network."""
    parser = argparse.ArgumentParser(description="Clips per second of a training step.")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batch", type=int, default=4, help="clips per step")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds")
    parser.add_argument("--quick", action="store_true", help="one round of one clip: does it run?")
    options = parser.parse_args()
    batch, rounds = (1, 1) if options.quick else (options.batch, options.rounds)
    create_x3d = pytorchvideo_builder()
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.threads} threads, batch {batch}, {rounds} rounds")
    for name, spec in NETWORKS.items():
        compare(name, spec, create_x3d, batch, rounds)


if __name__ == "__main__":
    main()
