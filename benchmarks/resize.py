"""Cutting training clips out of decoded frames: the own kernel against torch's operators, one thread.

    python benchmarks/resize.py            # microseconds a clip by both, and their ratio, in one run
"""

from __future__ import annotations

import os
import time

import numpy as np
import torch

from expander.config.space import load_spec
from expander.kernels.choice import VARIABLE
from expander.specs.spec import Base, Spec
from expander.video.transforms import random_window, view

TINY = Spec(Base(frames=4, crop=24, crop_divisor=2))
NAMES = "x2d", "x3d_s", "x3d_m"
FILMS = {"tiny, 4 frames": (TINY, 96, 112)} | {name: (load_spec(name), 256, 340) for name in NAMES}
ROUNDS, SECONDS = 7, 0.2


def microseconds(frames: torch.Tensor, spec: Spec, kernels: str) -> float:
    """The fastest of rounds, a clip."""
    os.environ[VARIABLE] = kernels
    random, best, clips = np.random.default_rng(0), float("inf"), 1
    windows = [random_window(*frames.shape[1:3], spec, True, random) for _ in range(200)]
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        for number in range(clips):
            view(frames, windows[number % len(windows)])
        spent = time.perf_counter() - begun
        best = min(best, spent / clips)
        clips = max(1, round(SECONDS / best))
    return best * 1e6


def main() -> None:
    """Prints a row a network."""
    torch.set_num_threads(1)
    for name, (spec, height, width) in FILMS.items():
        shape = spec.frames, height, width, 3
        frames = torch.from_numpy(np.random.default_rng(0).integers(0, 256, shape, np.uint8))
        ours, torchs = (microseconds(frames, spec, kernels) for kernels in ("own", "reference"))
        print(f"{name:15} {ours:8.1f} us, by torch {torchs:8.1f} us, {torchs / ours:4.1f} times")


if __name__ == "__main__":
    main()
