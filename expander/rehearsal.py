"""One batch of a training, tried out: shapes, cost, memory, and how long an epoch will take."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass, replace

import torch

from expander.cost import cost
from expander.data.annotations import VideoData
from expander.data.dataset import TrainingClips, batched
from expander.data.sources import decoder
from expander.errors import EnvironmentFault
from expander.feeding import shares
from expander.memory import memory_remedy, out_of_memory
from expander.starting import he_head, new_network
from expander.stepping import FullStep
from expander.team import Team
from expander.training import optimizer
from expander.trainings import Training

SPENT = 5.0
"""Seconds of steps after which no further one is timed."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Of one process's part of a batch, `clips` of it. shape: of the clips. seconds_load: in one process.
    memory: bytes at the peak (GPU memory where there is a GPU, else of this process)."""

    shape: tuple[int, ...]
    seconds_load: float
    seconds_step: float
    memory: float
    on_gpu: bool


def rehearse(training: Training, data: VideoData) -> str:
    """What one batch took, as lines for a person. Raises EnvironmentFault when memory does not suffice."""
    recipe = training.recipe
    try:
        found = _measure(training, data)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        remedy = memory_remedy(recipe.batch, recipe.accumulate, training.workers)
        raise EnvironmentFault(remedy) from None
    loading = found.seconds_load / max(1, training.data.workers)
    # Without loader processes a step waits for its clips; with them the slower of the two sets the pace.
    together = max if training.data.workers else sum
    seconds = together([loading, found.seconds_step]) * training.steps_per_epoch
    macs = cost(training.spec).macs * recipe.batch
    where = "on the GPU" if found.on_gpu else "by this process"
    return (
        f"one batch: clips {'x'.join(map(str, found.shape))} a process "
        f"({macs / 1e9:.4g} G multiply-adds forward for all {recipe.batch} clips)\n"
        f"  loading {found.seconds_load:.3g} s in one process, step {found.seconds_step:.3g} s, "
        f"{found.shape[0] * training.workers / max(loading, found.seconds_step):.4g} clips/s at the most\n"
        f"  memory {found.memory / 1e9:.2f} GB at the peak {where}\n"
        f"  an epoch {seconds:.3g} s, all {recipe.epochs} epochs {seconds * recipe.epochs / 3600:.3g} h, "
        f"without the validations"
    )


def _measure(training: Training, data: VideoData) -> Rehearsal:
    torch.set_num_threads(training.backend.cpus_per_trial)
    team = Team()
    # Alone, this process does the part of one: as many clips at a time as it would in the training.
    batch = training.recipe.batch // training.workers
    alone = replace(training, workers=1, recipe=replace(training.recipe, batch=batch))
    frames = decoder(training.data, data.fingerprint)
    clips = TrainingClips(data.train, training.spec, training.recipe.flip, frames)
    source = iter(batched(clips, shares(alone, len(data.train), 0, team), 0))
    begun = time.perf_counter()
    first = next(source)
    loading = time.perf_counter() - begun
    network = new_network(alone).to(team.device)
    sgd = optimizer(network, alone.recipe.loop(1, he_head(alone)))
    step = FullStep(network, alone.recipe, alone.seed, team, None)
    times: list[float] = []
    network.train()
    while len(times) < 2 or (len(times) < 6 and sum(times) < SPENT):
        begun = time.perf_counter()
        float(step(network, sgd, first.clips.to(team.device), first.labels.to(team.device)))
        times.append(time.perf_counter() - begun)
    on_gpu = team.device.type == "cuda"
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    peak = torch.cuda.max_memory_reserved() if on_gpu else host
    return Rehearsal(tuple(first.clips.shape), loading, min(times), peak, on_gpu)
