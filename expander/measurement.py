"""How fast this machine trains: seconds of real training steps, for the forecast."""

from __future__ import annotations

import time

import torch

from expander.config import Recipe
from expander.model.network import X3D
from expander.records import Candidate
from expander.search.forecast import Pace
from expander.spec import Spec
from expander.training import optimizer, train_step

CLIPS = 32
"""Most clips of a measured step: enough to be typical, few enough to be quick."""

FIXED = 2.0
"""Seconds of a trial outside its clips: a worker that starts, weights that are written."""


def seconds_per_clip(spec: Spec, recipe: Recipe, threads: int, rounds: int = 3) -> float:
    """Of a training step on random clips of `spec`, after one step to warm up; the fastest of `rounds`."""
    torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = X3D(spec, recipe.dropout, recipe.he_head).to(device).train()
    sgd = optimizer(network, recipe)
    clips = min(CLIPS, recipe.batch)
    shape = (clips, spec.frames, spec.crop, spec.crop, 3)
    clips_NCTHW = torch.rand(shape, device=device).permute(0, 4, 1, 2, 3)
    labels = torch.zeros(clips, dtype=torch.long, device=device)
    times = []
    for _ in range(rounds + 1):
        begun = time.perf_counter()
        float(train_step(network, sgd, clips_NCTHW, labels))
        times.append(time.perf_counter() - begun)
    return min(times[1:]) / clips


def measure_pace(
    base: Candidate, costliest: Candidate, recipe: Recipe, threads: int, videos: int, parallel: int
) -> Pace:
    """A line through the measured steps of two specs: seconds a clip and a multiply-add."""
    slow = seconds_per_clip(costliest.spec, recipe, threads)
    quick = seconds_per_clip(base.spec, recipe, threads)
    per_mac = max(0.0, (slow - quick) / max(1, costliest.cost.macs - base.cost.macs))
    per_mac = per_mac or slow / costliest.cost.macs
    per_clip = max(0.0, quick - per_mac * base.cost.macs)
    return Pace(FIXED, per_clip, per_mac, videos, parallel)
