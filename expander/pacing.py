"""How fast a training is, and how much of its time it waits for the loader."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from expander.data.dataset import Batch

PATIENT = 0.3
"""Share of the time spent waiting for clips above which the loader is the bottleneck."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Of a step: its number of `steps`, the epoch, and since the last row: clips a second and the share
    of time spent waiting for clips; seconds_left: of training, at the mean speed so far."""

    step: int
    steps: int
    epoch: int
    clips_per_second: float
    data_wait: float
    seconds_left: float


class Meter:
    """Watches batches go by. clips: of a step, over all processes; done: steps before the first one."""

    def __init__(self, clips: int, per_epoch: int, steps: int, done: int) -> None:
        self.clips, self.per_epoch, self.steps, self.first = clips, per_epoch, steps, done
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
        return Pace(step, self.steps, -(-step // self.per_epoch), rate, min(1.0, self.waited / span), left)

    def close(self, step: int) -> Pace:
        """The pace of the span that ends with `step`; another one begins."""
        pace = self.pace(step)
        self.seconds += time.perf_counter() - self.begun_at
        self.begin(step)
        return pace
