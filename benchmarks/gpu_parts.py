"""The parts of benchmarks/gpu.py about whole networks; it runs any one part."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import time
from collections.abc import Callable
from concurrent.futures import as_completed
from pathlib import Path
from typing import Any

import gpu_kernels
import gpu_product
import torch
from gpu_common import DEVICE, MEASURING, TINY, Rows, bandwidth, milliseconds, together
from torch import Tensor, nn
from train_step import LAYOUTS, NETWORKS, build_theirs, make_step, operators, pytorchvideo_builder

from expander.model.network import X3D
from expander.specs.cost import cost
from expander.specs.spec import Spec

PASSES = 7
"""Of every convolution's result through memory in a step: written and read, and about five backward."""


def training(rows: Rows, small: bool) -> None:
    """Clips a second of a training step: ours and PyTorchVideo's, either layout."""
    rate = bandwidth()
    recorded = "ours recorded", "channels_last"
    names = ["tiny"] if small else ["X3D-S", "X3D-M"]
    for name, (who, layout) in itertools.product(names, (recorded, *VARIANTS)):
        rows.add(**network_row(name, who, layout, False, rate))


def compiled(rows: Rows, small: bool) -> None:
    """The same, both compiled: compiling side by side takes minutes."""
    rate, name = bandwidth(), "tiny" if small else "X3D-S"
    with together(len(VARIANTS)) as pool:
        jobs = [pool.submit(network_row, name, who, layout, True, rate) for who, layout in VARIANTS]
        for job in as_completed(jobs):
            rows.add(**job.result())


def network_row(name: str, who: str, layout: str, compile_it: bool, rate: float) -> dict[str, Any]:
    """One row of `training`. rate: bytes a second of a copy. who: ours, ours recorded, pytorchvideo."""
    spec, batch = (TINY, 2) if name == "tiny" else (NETWORKS[name], 64)
    net = X3D(spec) if who != "pytorchvideo" else build_theirs(pytorchvideo_builder(), spec)
    row = step_row(net, spec, batch, layout, compile_it, who == "ours recorded")
    share = cost(spec).activations * 2 * PASSES / rate * row.get("clips_per_s", 0.0)
    return {
        "what": f"{name} {who} {layout} {'compiled' if compile_it else 'eager'}",
        **row,
        "share_of_floor": share,
    }


VARIANTS = [("ours", "channels_last"), ("pytorchvideo", "channels_last"), ("pytorchvideo", "contiguous")]
"""Whose network, in which memory layout; the most telling first."""


def step_row(
    net: nn.Module, spec: Spec, batch: int, layout: str, compiled: bool, recorded: bool
) -> dict[str, Any]:
    """Clips a second in bfloat16, peak memory, and seconds to the first step's end."""
    torch.manual_seed(0)
    clips = torch.randn(batch, 3, spec.frames, spec.crop, spec.crop, device=DEVICE)
    labels = torch.randint(spec.base.classes, (batch,), device=DEVICE)
    start = time.perf_counter()
    try:
        if DEVICE == "cuda":
            torch.cuda.reset_peak_memory_stats()
        ready: Any = torch.compile(net) if compiled else net
        step = make_step(ready, clips, labels, LAYOUTS[layout], "bf16", recorded)
        step()
        first = time.perf_counter() - start
        with MEASURING[0] if MEASURING else contextlib.nullcontext():
            taken = milliseconds(step, 10)
    except Exception as error:
        return {"failed": str(error).strip().splitlines()[0][:160] if str(error) else type(error).__name__}
    peak = torch.cuda.max_memory_allocated() / 1e9 if DEVICE == "cuda" else 0.0
    return {"clips_per_s": 1e3 * batch / taken, "ms": taken, "peak_GB": peak, "first_s": first}


def inference(rows: Rows, small: bool) -> None:
    """Clips a second without gradients, channels-last, eager."""
    builder = pytorchvideo_builder()
    for name in ["tiny"] if small else ["X3D-S", "X3D-M"]:
        spec, batch = (TINY, 2) if small else (NETWORKS[name], 64)
        clips = torch.randn(batch, 3, spec.frames, spec.crop, spec.crop, device=DEVICE)
        clips = clips.contiguous(memory_format=torch.channels_last_3d)
        for who in ("ours", "pytorchvideo"):
            net = X3D(spec) if who == "ours" else build_theirs(builder, spec)
            net = net.to(DEVICE, memory_format=torch.channels_last_3d).eval()  # type: ignore[call-overload]
            ready: Callable[[Tensor], Tensor] = net
            with torch.no_grad(), torch.autocast(DEVICE, torch.bfloat16):
                taken = milliseconds(lambda run=ready, seen=clips: run(seen), 10)  # type: ignore[misc]
            rows.add(f"{name} {who} eager", clips_per_s=1e3 * batch / taken)


def profile(rows: Rows, small: bool) -> None:
    """The share of the time of one step by kind of operator."""
    spec, batch = (TINY, 2) if small else (NETWORKS["X3D-S"], 64)
    clips = torch.randn(batch, 3, spec.frames, spec.crop, spec.crop, device=DEVICE)
    labels = torch.randint(spec.base.classes, (batch,), device=DEVICE)
    step = make_step(X3D(spec), clips, labels, torch.channels_last_3d, "bf16")
    for _ in range(3):
        step()
    found = operators(step, DEVICE)
    total = sum(seconds for _, seconds, _ in found)
    for name, taken, calls in found[:24]:
        rows.add(name[:70], share=taken / total, ms=1e3 * taken, calls=calls)


def main() -> None:
    """Runs one part."""
    parser = argparse.ArgumentParser(description="One part of benchmarks/gpu.py.")
    of_kernels = gpu_kernels.correctness, gpu_kernels.kernels, gpu_kernels.blocks
    of_product = gpu_product.forecast, gpu_product.product
    parts = {
        part.__name__: part for part in (*of_kernels, training, compiled, inference, *of_product, profile)
    }
    parser.add_argument("part", choices=list(parts))
    parser.add_argument("rows", type=Path)
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    parts[options.part](Rows(options.rows.resolve()), options.small)


if __name__ == "__main__":
    main()
