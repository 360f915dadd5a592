"""How fast a training is, and how much of its time it waits for the loader."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch

from expander.data.clips import Batch
from expander.profiling.memory import peak_memory

PATIENT = 0.3
"""Share of the time spent waiting for clips above which the loader is the bottleneck."""
PATIENT_TRIALS = 0.4
"""The same of a search's trials, which are short: more of their time goes into starting the loader."""

RECENT = 5.0
"""Seconds that the speed of a single step is the mean of."""


@dataclass(frozen=True, slots=True)
class Throughput:
    """Of a step: its number of `steps`, the epoch, and of the last seconds (or since the last row): clips a
    second and the share of time spent waiting for clips. seconds_left: of training, at the mean speed so
    far. memory: bytes at the peak, of the GPU if `on_gpu`, else of the process that leads.
    """

    step: int
    steps: int
    epoch: int
    clips_per_second: float
    data_wait: float
    seconds_left: float
    memory: float
    on_gpu: bool


class Waiting:
    """How long a loop waits for its batches. waited, passed: seconds, of those before and of all."""

    def __init__(self, waited: float = 0.0, passed: float = 0.0) -> None:
        self.waited, self.passed = waited, passed

    def watch(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The batches; the time that each is waited for is counted, and that of the steps between them."""
        source, before = iter(batches), time.perf_counter()
        while True:
            asked = time.perf_counter()
            batch = next(source, None)
            if batch is None:
                return
            came = time.perf_counter()
            self.waited += came - asked
            self.passed += came - before
            before = came
            yield batch

    @property
    def share(self) -> float | None:
        """Of the time, to four digits; none where nothing was watched."""
        return round(min(1.0, self.waited / self.passed), 4) if self.passed else None


class Meter:
    """Watches batches go by. clips: of a step, over all processes; done: steps before the first one.
    device: where they are trained on."""

    def __init__(self, clips: int, per_epoch: int, steps: int, done: int, device: torch.device) -> None:
        self.clips, self.per_epoch, self.steps, self.first = clips, per_epoch, steps, done
        self.device = device
        self.seconds, self.waiting = 0.0, Waiting()  # of training, without the validations between
        self.begin(done)

    def begin(self, step: int) -> None:
        """A span of training begins after `step` steps, after something else was done."""
        self.span = self._mark(step)
        self.recent = deque([self.span])

    def _mark(self, step: int) -> tuple[float, int, float]:
        return time.perf_counter(), step, self.waiting.waited

    def watch(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The batches; the time that each is waited for is counted."""
        return self.waiting.watch(batches)

    def pace(self, step: int) -> Throughput:
        """Now that `step` steps are done, over the last RECENT seconds."""
        now = self._mark(step)
        while len(self.recent) > 1 and now[0] - self.recent[0][0] > RECENT:
            self.recent.popleft()
        found = self._since(self.recent[0], now)
        self.recent.append(now)
        return found

    def close(self, step: int) -> Throughput:
        """The pace of the span that ends with `step`; another one begins."""
        now = self._mark(step)
        pace = self._since(self.span, now)
        self.seconds += now[0] - self.span[0]
        self.span = now
        return pace

    def _since(self, then: tuple[float, int, float], now: tuple[float, int, float]) -> Throughput:
        time_now, step, waited = now
        seconds = max(1e-9, time_now - then[0])
        trained = self.seconds + max(1e-9, time_now - self.span[0])
        left = (self.steps - step) * trained / max(1, step - self.first)
        rate = (step - then[1]) * self.clips / seconds
        share, memory = min(1.0, (waited - then[2]) / seconds), peak_memory(self.device)
        epoch, on_gpu = -(-step // self.per_epoch), self.device.type == "cuda"
        return Throughput(step, self.steps, epoch, rate, share, left, memory, on_gpu)
