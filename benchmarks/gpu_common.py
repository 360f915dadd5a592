"""What the parts of benchmarks/gpu.py share: rows of results, the clock of the device, processes."""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch

from expander.specs.spec import Base, Spec

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TINY = Spec(base=Base(frames=2, crop=32, stem_width=8, depths=(1, 1), head_width=16, classes=4))
"""What a CPU tries instead of X3D-S and X3D-M."""


class Rows:
    """Rows of one part, written as they come, so that a part that is stopped leaves what it had."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, what: str, **numbers: Any) -> None:
        """Writes one row."""
        with self.path.open("a") as out:
            out.write(json.dumps({"what": what, **numbers}) + "\n")
        print(what, numbers, flush=True)


def milliseconds(run: Callable[[], object], rounds: int = 20) -> float:
    """Median of one call on the device, by its own clock; by ours without a GPU."""
    for _ in range(3 if DEVICE == "cuda" else 1):
        run()
    if DEVICE == "cpu":
        start = time.perf_counter()
        run()
        return 1e3 * (time.perf_counter() - start)
    times = []
    for _ in range(rounds):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        run()
        end.record()
        times.append((begin, end))
    torch.cuda.synchronize()
    return sorted(begin.elapsed_time(end) for begin, end in times)[rounds // 2]


def device_milliseconds(run: Callable[[], object], rounds: int = 20) -> float:
    """Median of one call without what launching it from Python takes: replayed as a CUDA graph."""
    if DEVICE == "cpu":
        return milliseconds(run)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):  # compiles, and warms the allocator up
        run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kept = run()
    taken = milliseconds(graph.replay, rounds)
    del kept
    return taken


def bandwidth() -> float:
    """Bytes a second of a copy within the device, read and written."""
    source = torch.empty(2**30 if DEVICE == "cuda" else 2**22, dtype=torch.uint8, device=DEVICE)
    target = torch.empty_like(source)
    return 2e3 * source.numel() / milliseconds(lambda: target.copy_(source))


def together(processes: int) -> ProcessPoolExecutor:
    """Processes that compile side by side and measure one at a time."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(processes, context, _share, (context.Lock(),))


def _share(lock: Any) -> None:
    MEASURING.append(lock)


MEASURING: list[Any] = []
"""The lock of the processes of `together`, in each of them."""
