"""How fast a training is, and how much of its time it waits for the loader."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch

from expander.data.dataset import Batch
from expander.memory import peak_memory

PATIENT = 0.3
"""Share of the time spent waiting for clips above which the loader is the bottleneck."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Of a step: its number of `steps`, the epoch, and since the last row: clips a second and the share
    of time spent waiting for clips; seconds_left: of training, at the mean speed so far. memory: bytes at
    the peak, of the GPU if `on_gpu`, else of the process that leads."""

    step: int
    steps: int
    epoch: int
    clips_per_second: float
    data_wait: float
    seconds_left: float
    memory: float
    on_gpu: bool


class Meter:
    """Watches batches go by. clips: of a step, over all processes; done: steps before the first one.
    device: where they are trained on."""

    def __init__(self, clips: int, per_epoch: int, steps: int, done: int, device: torch.device) -> None:
        self.clips, self.per_epoch, self.steps, self.first = clips, per_epoch, steps, done
        self.device = device
        self.seconds = 0.0  # of training, without the validations between
        self.begin(done)

    def begin(self, step: int) -> None:
        """A span of training begins after `step` steps."""
        self.begun, self.begun_at, self.waited = step, time.perf_counter(), 0.0

    def watch(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The batches; the time that each is waited for is counted."""
        source = iter(batches)
        while True:
            asked = time.perf_counter()
            batch = next(source, None)
            self.waited += time.perf_counter() - asked
            if batch is None:
                return
            yield batch

    def pace(self, step: int) -> Pace:
        """Now that `step` steps are done."""
        span = max(1e-9, time.perf_counter() - self.begun_at)
        left = (self.steps - step) * (self.seconds + span) / max(1, step - self.first)
        rate = (step - self.begun) * self.clips / span
        waited, memory = min(1.0, self.waited / span), peak_memory(self.device)
        epoch, on_gpu = -(-step // self.per_epoch), self.device.type == "cuda"
        return Pace(step, self.steps, epoch, rate, waited, left, memory, on_gpu)

    def close(self, step: int) -> Pace:
        """The pace of the span that ends with `step`; another one begins."""
        pace = self.pace(step)
        self.seconds += time.perf_counter() - self.begun_at
        self.begin(step)
        return pace
