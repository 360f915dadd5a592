"""One batch of a training, tried out: shapes, cost, memory, and how long an epoch will take."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from statistics import median

import torch

from expander.data.tasks import TaskData
from expander.profiling.memory import peak_memory
from expander.specs.cost import cost
from expander.training.distributed import Workers, device_for
from expander.training.init import he_head, new_network
from expander.training.schedule import optimizer
from expander.training.step import fault_of
from expander.training.tasks import task_of
from expander.training.training_folder import Training

TRIED = 6
"""Batches that are timed at most."""

SPENT = 5.0
"""Seconds of batches after which no further one is timed."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What the clips of one process took of one batch. shape: of these clips. seconds_load: in one process.
    memory: bytes at the peak (GPU memory if `on_gpu`, else of this process)."""

    shape: tuple[int, ...]
    seconds_load: float
    seconds_step: float
    memory: float
    on_gpu: bool

    def seconds(self, workers: int) -> float:
        """Of a batch, with so many loader processes: the slower of loading and step sets the pace; without
        any, a step waits for its clips."""
        if workers == 0:
            return self.seconds_load + self.seconds_step
        return max(self.seconds_load / workers, self.seconds_step)


def rehearse(training: Training, data: TaskData) -> str:
    """What one batch took, as lines for a person; what an epoch takes follows from the same seconds.

    Raises EnvironmentFault when memory does not suffice.
    """
    try:
        found = _measure(training, data)
    except (RuntimeError, MemoryError) as error:
        if (fault := fault_of(error, training.recipe, training.workers)) is None:
            raise
        raise fault from None
    recipe, seconds = training.recipe, found.seconds(training.data.workers)
    epoch = seconds * training.steps_per_epoch
    macs = cost(training.spec).macs * recipe.batch
    where = "on the GPU" if found.on_gpu else "by this process"
    note = ""
    if training.on_gpu and not found.on_gpu:
        note = "\n  tried on a CPU, as there is no GPU here: the seconds are not those of the training"
    return (
        f"one batch: clips {'x'.join(map(str, found.shape))} a process "
        f"({macs / 1e9:.4g} G multiply-adds forward for all {recipe.batch} clips)\n"
        f"  loading {found.seconds_load:.3g} s in one process, step {found.seconds_step:.3g} s, "
        f"{recipe.batch / seconds:.4g} clips/s with {training.data.workers or 'no'} loader processes\n"
        f"  memory {found.memory / 1e9:.2f} GB at the peak {where}\n"
        f"  an epoch {epoch:.4g} s, all {recipe.epochs} epochs {epoch * recipe.epochs / 3600:.3g} h, "
        f"without the validations{note}"
    )


def _measure(training: Training, data: TaskData) -> Rehearsal:
    torch.set_num_threads(training.backend.cpus_per_trial)
    # GPUs of other machines are rehearsed with what there is here.
    team = Workers(device=device_for(None if training.on_gpu else training.on_gpu))
    # Alone, this process does the part of one: as many clips at a time as it would in the training.
    batch = training.recipe.batch // training.workers
    alone = replace(training, workers=1, recipe=replace(training.recipe, batch=batch, epochs=TRIED))
    task = task_of(alone, data, team)
    source = task.batches(0, 0)
    network = new_network(alone).to(team.device)
    sgd = optimizer(network, alone.recipe.loop(1, he_head(alone)))
    step = task.step(network, alone.recipe, alone.seed, team, None)
    network.train()
    begun = time.perf_counter()
    times: list[tuple[float, float]] = []
    while len(times) < 2 or (len(times) < TRIED and time.perf_counter() - begun < SPENT):
        asked = time.perf_counter()
        some = next(source)
        loaded = time.perf_counter()
        float(step(network, sgd, some.clips.to(team.device), some.labels.to(team.device)))
        times.append((loaded - asked, time.perf_counter() - loaded))
    # The first batch opens files and compiles kernels, which an epoch does once.
    load, spent = (median(each) for each in zip(*times[1:], strict=True))
    memory = peak_memory(team.device)
    return Rehearsal(tuple(some.clips.shape), load, spent, memory, team.device.type == "cuda")
