"""Clips per second of one training step: this network against PyTorchVideo's, on this machine.

A step is forward, cross-entropy, backward and a fused SGD update of random clips. Both networks run in
the default and in the channels-last memory layout; rounds are interleaved and the median counts, so
that a busy moment of the machine hits all of them alike. With one thread on a CPU the time is that of
the process, so that others on the machine matter less. Then, for each implementation in its best
layout: the peak of memory above the start, and the share of time of every kind of operator.

    pip install -e '.[bench]'
    python benchmarks/train_step.py --threads 2 --batch 4
    python benchmarks/train_step.py --device cuda --batch 64 --precision bf16 --compile

Exit codes: 0, or 6 when PyTorchVideo is not installed.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import statistics
import sys
import time
import types
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from expander.model.network import X3D
from expander.specs.spec import Base, Spec
from expander.training.graphs import Gradients

NETWORKS = {
    "X2D": Spec(),
    "X3D-XS": Spec(base=Base(frames=4, stride=12, crop=160), bottleneck=2.25, depth=2.2),
    "X3D-S": Spec(base=Base(frames=13, stride=6, crop=160), bottleneck=2.25, depth=2.2),
    "X3D-M": Spec(base=Base(frames=16, stride=5, crop=224), bottleneck=2.25, depth=2.2),
}
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
ON_CPU = ("X2D", "X3D-XS", "X3D-S")
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last_3d}
ACTIVITIES = {
    "cpu": [torch.profiler.ProfilerActivity.CPU],
    "cuda": [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA],
}
SHORTCUT_NORM = 2  # per channel: the batch norm that PyTorchVideo's first shortcut lacks


@functools.cache
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


def make_step(
    net: nn.Module,
    clips: Tensor,
    labels: Tensor,
    layout: Any,
    precision: str = "fp32",
    recorded: bool = False,
) -> Callable[[], None]:
    """One training step of `net` as a function, its weights and clips in `layout`.

    recorded: on a GPU replayed as a CUDA graph, as our trainings do it.
    """
    net = net.to(clips.device, memory_format=layout).train()  # type: ignore[call-overload]
    clips = clips.contiguous(memory_format=layout)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, nesterov=True, fused=True)
    reduced = torch.autocast(clips.device.type, torch.bfloat16, enabled=precision == "bf16")

    def loss_of(clips: Tensor, labels: Tensor, _: Tensor | None = None) -> Tensor:
        with reduced:
            return F.cross_entropy(net(clips), labels)

    gradients = Gradients(net, loss_of, clips.device) if recorded else None

    def step() -> None:
        if gradients is not None:
            gradients(clips, labels)
        else:
            optimizer.zero_grad()
            loss_of(clips, labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def seconds(step: Callable[[], None]) -> float:
    """Of one call: by the clock, or of one thread on a CPU by its processor time."""
    alone = not torch.cuda.is_available() and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter
    start = clock()
    step()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return clock() - start


def seconds_per_step(steps: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Median time of each step over interleaved rounds, after two to warm up."""
    for step in [*steps.values()] * 2:
        step()
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            times[name].append(seconds(step))
    return {name: statistics.median(taken) for name, taken in times.items()}


def peak_megabytes(step: Callable[[], None], device: str) -> float:
    """Of the memory that a step adds at its peak: on a CPU from the allocations that it makes."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    with torch.profiler.profile(profile_memory=True) as record:
        step()
    events = [e for e in record.profiler.kineto_results.events() if e.name() == "[memory]"]
    now = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak / 1e6


def operators(step: Callable[[], None], device: str) -> list[tuple[str, float, int]]:
    """Every operator of one step, its own seconds on the device and its calls, the longest first.

    Operators alone: on a GPU their kernels are listed beside them, with the same time once more.
    """
    with torch.profiler.profile(activities=ACTIVITIES[device]) as record:
        step()
        if device == "cuda":
            torch.cuda.synchronize()
    key = "self_device_time_total" if device == "cuda" else "self_cpu_time_total"
    events = [e for e in record.key_averages() if e.device_type == torch.autograd.DeviceType.CPU]
    found = [(event.key, float(getattr(event, key)) / 1e6, int(event.count)) for event in events]
    return sorted(found, key=lambda row: -row[1])


def shares(step: Callable[[], None], device: str) -> dict[str, float]:
    """The share of a step's time of every kind of operator that takes 3 % or more."""
    ordered = operators(step, device)
    total = sum(seconds for _, seconds, _ in ordered)
    return {name: seconds / total for name, seconds, _ in ordered if seconds >= 0.03 * total}


def compare(name: str, create_x3d: Callable[..., nn.Module], options: argparse.Namespace) -> None:
    """Print clips per second of one network, both implementations, both layouts; memory; shares."""
    torch.manual_seed(0)
    spec, batch, device = NETWORKS[name], options.batch, options.device
    check_same_size(name, spec, X3D(spec), build_theirs(create_x3d, spec))
    clips = torch.randn(batch, 3, spec.frames, spec.crop, spec.crop, device=device)
    labels = torch.randint(spec.base.classes, (batch,), device=device)
    steps = {}
    for layout, memory_format in LAYOUTS.items():
        for who, net in (("ours", X3D(spec)), ("pytorchvideo", build_theirs(create_x3d, spec))):
            ready = torch.compile(net) if options.compile else net
            steps[f"{who} {layout}"] = make_step(ready, clips, labels, memory_format, options.precision)  # type: ignore[arg-type]
    rates = {key: batch / taken for key, taken in seconds_per_step(steps, options.rounds).items()}
    for key, rate in sorted(rates.items()):
        print(f"  {key:28} {rate:8.2f} clips/s")
    by_rate = sorted((rate, key) for key, rate in rates.items())
    ours, theirs = (
        [pair for pair in by_rate if pair[1].startswith(who)][-1] for who in ("ours", "pytorchvideo")
    )
    print(f"  ours / PyTorchVideo, each at its best: {ours[0] / theirs[0]:.2f}")
    for _, key in (ours, theirs):
        peak, parts = peak_megabytes(steps[key], device), shares(steps[key], device)
        print(f"  {key:28} {peak:8.0f} MB at the peak of a step")
        print("   ", ", ".join(f"{operator} {share:.0%}" for operator, share in parts.items()))


def main() -> None:
    """Parse the options and compare every network."""
    parser = argparse.ArgumentParser(description="Clips per second of a training step.")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batch", type=int, default=4, help="clips per step")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds")
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), help="default: by device")
    parser.add_argument("--device", choices=["cpu", "cuda"], default=DEVICE)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32", help="bf16: autocast")
    parser.add_argument("--compile", action="store_true", help="torch.compile both networks")
    parser.add_argument("--quick", action="store_true", help="one round of one clip: does it run?")
    options = parser.parse_args()
    if options.quick:
        options.batch = options.rounds = 1
    create_x3d = pytorchvideo_builder()
    torch.set_num_threads(options.threads)
    print(machine(options))
    for name in options.networks or (ON_CPU if options.device == "cpu" else list(NETWORKS)):
        compare(name, create_x3d, options)


def machine(options: argparse.Namespace) -> str:
    """One line: versions, device and settings of these numbers."""
    if options.device == "cuda":
        device = torch.cuda.get_device_name()
    else:
        lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
        device = next((line.split(": ")[1] for line in lines if line.startswith("model name")), "CPU")
    numbers = f"{options.threads} threads, batch {options.batch}, {options.rounds} rounds"
    return f"{date.today()}, torch {torch.__version__}, {device}, {options.precision}, {numbers}"


if __name__ == "__main__":
    main()
