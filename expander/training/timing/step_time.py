"""How fast this machine trains: seconds of real training steps, for the forecast."""

from __future__ import annotations

import time
import timeit
from collections.abc import Sequence
from contextlib import closing, suppress

import torch
from torch import Tensor

from expander.config.settings import DataConfig, Recipe, Task
from expander.data.ava.samples import FIRST
from expander.data.tasks import TaskData, samples_of
from expander.errors import DataError
from expander.model.detector import network_of
from expander.runs.events import Candidate
from expander.runs.threads import in_order
from expander.search.forecast import TrainingSpeed
from expander.specs.spec import Spec
from expander.training.detection.step import people_step
from expander.training.graphs import WARM_UP
from expander.training.loop import step_on
from expander.training.proxy.tasks import proxy_task
from expander.training.schedule import optimizer
from expander.video.room import check_training

CLIPS = 32
"""Most clips of a measured step: enough to be typical, few enough to be quick."""

FIXED = 0.5
"""Seconds of a trial outside its clips: its decoder starts, its weights are written."""

WORKERS = 6.0
"""Seconds until the Ray workers of a round of trials have started and imported torch."""

LOOP, PYTHON = 100_000, 0.002
"""Additions of whole numbers, and their seconds where FIXED and WORKERS were measured."""

SIDE, PRODUCTS = 512, 20
"""Of the matrices whose products are timed, and how many: tens of milliseconds."""

LOADED = 8
"""Videos whose clips are loaded to time it, again and again: the first time decodes into the cache."""


def seconds_per_clip(spec: Spec, recipe: Recipe, threads: int, task: Task = "classification") -> float:
    """Of a training step on random clips of `spec`, warmed up; the fastest of three. In detection a clip has
    one person, as large as the view.
    """
    torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    clips = min(CLIPS, recipe.batch)
    check_training(spec, clips)
    network = network_of(spec, task, recipe.dropout, recipe.he_head, recipe.dilation).to(device).train()
    sgd = optimizer(network, recipe)
    shape = (clips, spec.frames, spec.crop, spec.crop, 3)
    clips_NCTHW = torch.rand(shape, device=device).permute(0, 4, 1, 2, 3)
    labels, step, first = torch.zeros(clips, dtype=torch.long), step_on(device), 1
    if task == "detection":
        labels, step = people_in(clips, spec), people_step
    elif device.type == "cuda":
        first = WARM_UP + 1
    labels = labels.to(device)
    times = timeit.repeat(lambda: float(step(network, sgd, clips_NCTHW, labels)), number=1, repeat=first + 3)
    return min(times[first:]) / clips  # the others were disturbed


def people_in(clips: int, spec: Spec) -> Tensor:
    """Rows of people as in a batch of detection: in each clip one, without a label."""
    rows = torch.zeros(clips, FIRST + spec.base.classes)
    rows[:, 0] = torch.arange(clips)
    rows[:, 3:FIRST] = spec.crop
    return rows


def python_pace() -> float:
    """How much longer plain Python takes on this machine than where FIXED and WORKERS were measured.

    Starts are mostly imports, plain Python: on a machine where that took 2.5 times as long, so did they.
    """
    times = timeit.repeat("for number in range(count): total += number", "total, count = 0, " + str(LOOP),
                          number=1, repeat=5)  # fmt: skip
    return min(times) / PYTHON


def crowding(parallel: int, threads: int) -> float:
    """How much longer work takes when so many trainings do it at once: they share cores and memory.

    Of products of matrices in threads. Whole trainings in threads would also wait for Python's lock, which
    those of a search, in processes of their own, do not.
    """
    if parallel == 1:
        return 1.0

    def work(_: int) -> float:
        torch.set_num_threads(threads)
        return timeit.timeit(lambda: torch.mm(matrix, matrix), number=PRODUCTS)

    matrix = torch.rand(SIDE, SIDE)
    rounds = [sum(in_order(work, range(parallel), parallel)) / parallel for _ in range(3)]
    alone = min(work(0) for _ in range(3))
    return max(1.0, min(rounds) / alone)


def loading_seconds(
    specs: Sequence[Spec], recipe: Recipe, threads: int, data: TaskData, config: DataConfig
) -> tuple[float, ...]:
    """Seconds per training clip that the loader takes for each spec, its processes working side by side.

    Unreadable videos are the trials' business: with too many of them it says 0.
    """
    torch.set_num_threads(threads)
    task, found = proxy_task(data, config), list[float]()
    count = min(LOADED, samples_of(data, config))
    with closing(task.frames), suppress(DataError):
        for spec in specs:
            clips = task.clips(spec, recipe.flip)
            times = []
            for _ in range(3):
                begun = time.perf_counter()
                for number in range(count):
                    clips[number, 0, 0]
                times.append(time.perf_counter() - begun)
            found.append(min(times[1:]) / count / max(1, config.workers))
        return tuple(found)
    return (0.0,) * len(specs)


def measure_pace(
    base: Candidate, costliest: Candidate, recipe: Recipe, threads: int, videos: int, parallel: int,
    loading: Sequence[float], task: Task = "classification", workers: bool = False,
) -> TrainingSpeed:  # fmt: skip
    """A line through the measured steps of two specs: seconds a clip and a multiply-add.

    loading: seconds to load a clip of each of the two. workers: whether trials run in workers of Ray.
    """
    crowded = 1.0 if torch.cuda.is_available() else crowding(parallel, threads)
    slow = crowded * seconds_per_clip(costliest.spec, recipe, threads, task) + loading[1]
    quick = crowded * seconds_per_clip(base.spec, recipe, threads, task) + loading[0]
    per_mac = max(0.0, (slow - quick) / max(1, costliest.cost.macs - base.cost.macs))
    per_mac = per_mac or slow / costliest.cost.macs
    per_clip = max(0.0, quick - per_mac * base.cost.macs)
    python = python_pace()
    start = python * WORKERS if workers else 0.0
    return TrainingSpeed(python * FIXED, per_clip, per_mac, videos, parallel, start)
