"""The parts of benchmarks/gpu.py about the product: does it run, and as fast as it foretells?"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from gpu_common import DEVICE, Rows

from expander.config.load import load_settings
from expander.config.settings import DataConfig, Recipe
from expander.data.annotations import VideoData
from expander.data.clips import TrainingClips, loader, training_order
from expander.data.sources import decoder, open_data
from expander.engine.preparation import Goal, embedded_limits, measured_pace, problem_of
from expander.model.network import X3D
from expander.search.controller import candidates_of
from expander.specs.cost import cost
from expander.specs.spec import Spec
from expander.training.loop import train
from expander.training.schedule import optimizer

INTERRUPTED = 130


def product(rows: Rows, small: bool) -> None:
    """A search, a multi-view test and a training with a resume, by the commands that people use."""
    home = rows.path.parent / "product"
    home.mkdir(exist_ok=True)
    few = ["--set", "proxy.steps=8", "--max-steps", "1"] if small else ["--cpus-per-trial", "4"]
    search = ["search", "--space", "tiny", "--target-gflops", "0.0011", "--backend", "inline"]
    rows.add("search --space tiny", seconds=command([*search, "--run", "gpu-search", *few], home))
    views = ["--views", "1x1" if small else "30", "--workers", "2" if small else "12"]
    found = {}
    for device in dict.fromkeys((DEVICE, "cpu")):
        scores = home / f"{device}.jsonl"
        test = ["test", "gpu-search:step1" if small else "gpu-search", *views, "--device", device]
        taken = command([*test, "--out", f"{device}.json", "--dump-scores", str(scores)], home)
        found[device] = scores_of(scores)
        rows.add(f"test on {device}", seconds=taken, videos=len(found[device]))
    gap = max(
        abs(a - b)
        for name, row in found[DEVICE].items()
        for a, b in zip(row, found["cpu"][name], strict=True)
    )
    rows.add(f"scores of {DEVICE} and cpu", largest_gap=gap)
    if small:
        return
    rows.add(
        "search --space x3d --dry-run", seconds=command(["search", "--target-gflops", "2", "--dry-run"], home)
    )
    train = [
        "train",
        "x3d_s",
        "--run",
        "gpu-train",
        "--epochs",
        "3",
        "--batch",
        "32",
        "--set",
        "data.workers=12",
    ]
    rows.add("train x3d_s, interrupted", seconds=command(train, home, interrupt=45))
    rows.add("train x3d_s, resumed", seconds=command(["train", "--run", "gpu-train", "--resume"], home))


STEPS = 50
"""Measured to judge a forecast by."""


def forecast(rows: Rows, small: bool) -> None:
    """Seconds of a step as the dry run of the x3d space foretells them, and as 50 real ones take."""
    few = ["proxy.batch=2", "proxy.steps=4"] if small else ["data.workers=12"]
    settings = load_settings("x3d", few, {})
    data = open_data(settings.data)
    classes, limits, _ = embedded_limits()
    problem = problem_of(settings, Goal("flops", 2e9), classes, limits)
    pace = measured_pace(problem, settings.backend, len(data.val), cost, data, settings.data)
    candidates, _ = candidates_of(problem, problem.space.start, cost)
    recipe = problem.space.proxy
    for found in sorted(candidates, key=lambda one: one.cost.macs)[:: len(candidates) - 1]:
        foretold = recipe.batch * (pace.per_clip + pace.per_mac * found.cost.macs)
        taken = seconds_of_steps(
            found.spec, replace(recipe, steps=4 if small else STEPS), settings.data, data
        )
        rows.add(f"step of {found.axis}", foretold_s=foretold, taken_s=taken, ratio=foretold / taken)


def seconds_of_steps(spec: Spec, recipe: Recipe, config: DataConfig, data: VideoData) -> float:
    """Of one step of a proxy training, its clips loaded as in a search; after the first tenth."""
    network = X3D(spec, recipe.dropout, recipe.he_head).to(DEVICE)
    clips = TrainingClips(data.train, spec, recipe.flip, decoder(config, data.fingerprint))
    items = training_order(len(data.train), recipe.steps * recipe.batch, 0)
    times: list[float] = []

    def log(step: int, loss: float, lr: float) -> None:  # noqa: ARG001
        times.append(time.perf_counter())

    batches = loader(clips, items, recipe.batch, config.workers)
    train(network, optimizer(network, recipe), batches, recipe, torch.device(DEVICE), log, every=1)
    skipped = max(1, recipe.steps // 10)
    return (times[-1] - times[skipped - 1]) / (recipe.steps - skipped)


def scores_of(file: Path) -> dict[str, list[float]]:
    """By video, from a file of scores."""
    found = (json.loads(line) for line in file.read_text().splitlines())
    return {row["video"]: row["scores"] for row in found if "scores" in row}


def command(arguments: list[str], home: Path, interrupt: float | None = None) -> float:
    """Seconds of one command of expander; its output goes to the part's log. interrupt: stop it by then."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "expander.cli", *arguments], cwd=home)
    try:
        code = process.wait(interrupt)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        code = process.wait()
        code = 0 if code == INTERRUPTED else code
    if code:
        raise SystemExit(f"expander {' '.join(arguments)}: exit {code}")
    return time.perf_counter() - start
