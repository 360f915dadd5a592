"""How much memory a training takes; when it does not suffice, how that is told and what to try."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import torch


def peak_memory(device: torch.device) -> float:
    """Bytes at the peak so far: of the GPU where `device` is one, else of this process."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_reserved(device))
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:  # not Linux
        unit = 1 if sys.platform == "darwin" else 1024
        return float(unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    # Not `ru_maxrss`: there a process that was started by a large one begins with the memory of that.
    (line,) = (row for row in status.splitlines() if row.startswith("VmHWM:"))
    return 1024.0 * int(line.split()[1])


def memory_remedy(batch: int, accumulate: int, workers: int) -> str:
    """One line: what did not fit, and what to try."""
    part = batch // (accumulate * workers)
    if part == 1:
        return "out of memory with one clip at a time: take a smaller spec, or a machine with more memory"
    finer = next(n for n in range(2 * accumulate, batch + 1) if batch % (n * workers) == 0)
    smaller = max(1, part // 2) * accumulate * workers
    same = f"--set train.accumulate={finer} (the same training in smaller parts)"
    return f"out of memory with {part} clips at a time; try {same}, or --batch {smaller}"
