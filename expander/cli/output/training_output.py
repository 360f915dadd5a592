"""What a training says while it runs, and how it is interrupted."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

from expander.cli.output.data_wait import ENOUGH_STEPS, remedy
from expander.cli.output.terminal import about, say
from expander.runs.machine import cores
from expander.training.metrics_log import open_log
from expander.training.timing.throughput import PATIENT, Throughput
from expander.training.training_folder import Row, Training, TrainingFolder, goodness_of

QUIET_SECONDS = 60.0
"""Between two lines of progress where there is no terminal, validations apart."""

class Reporter:
    """A fitting.Watcher. On a terminal: one tqdm line; elsewhere plain lines."""

    def __init__(self, training: Training, folder: TrainingFolder) -> None:
        self.training = training
        self.log = open_log(training.log, folder)
        self.bar: Any = None
        self.told, self.warned, self.loss = time.monotonic(), False, float("nan")
        self.memory = ""

    def __enter__(self) -> Reporter:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()
        self.log.close()

    def step(self, pace: Throughput, loss: float) -> None:
        """See fitting.Watcher."""
        self.memory = f", {'GPU' if pace.on_gpu else 'memory'} {pace.memory / 1e9:.2g} GB"
        if sys.stderr.isatty():
            self._draw(pace, loss)

    def row(self, row: Row, training: Training) -> None:
        """See fitting.Watcher."""
        self.log.add(row)
        if (goodness := goodness_of(row)) is not None:
            best = training.best
            kept = " (the best so far)" if best is not None and best.step == row["step"] else ""
            found = f"{training.measure} {goodness:.1%}, val_loss {row['val_loss']:.3f}{kept}"
            self._say(f"{self._head(row)} {found}")
            return
        self.loss = row["loss"]
        self._warn(row)
        if self.bar is None and time.monotonic() - self.told > QUIET_SECONDS:
            clips = (self.training.steps - row["step"]) * self.training.recipe.batch
            left = about(clips / max(1e-9, row["clips_per_second"]))
            self._say(f"{self._head(row)} loss {row['loss']:.3f}, {speed(row)}{self.memory}, {left} left")

    def _head(self, row: Row) -> str:
        at = f"epoch {row['epoch']}/{self.training.recipe.epochs} step {row['step']}/{self.training.steps}:"
        return at if "loss" in row else f"{at} loss {self.loss:.3f},"

    def _say(self, line: str) -> None:
        self.told = time.monotonic()
        if self.bar is None:
            say(line, err=True)
        else:
            self.bar.write(line, file=sys.stderr)

    def _draw(self, pace: Throughput, loss: float) -> None:
        if self.bar is None:
            from tqdm import tqdm

            form = "{desc} |{bar}| {n_fmt}/{total_fmt}{postfix}"
            self.bar = tqdm(total=pace.steps, initial=pace.step - 1, leave=False, bar_format=form)
        row = {"clips_per_second": pace.clips_per_second, "data_wait": pace.data_wait}
        self.bar.set_description_str(f"epoch {pace.epoch}", refresh=False)
        text = f"loss {loss:.3f}, {speed(row)}{self.memory}, {about(pace.seconds_left)} left"
        self.bar.set_postfix_str(text, refresh=False)
        self.bar.update(pace.step - self.bar.n)

    def _warn(self, row: Row) -> None:
        """Once: that the network waits for clips, and what helps."""
        if self.warned or row["step"] < ENOUGH_STEPS or row["data_wait"] <= PATIENT:
            return
        self.warned = True
        waiting = f"{row['data_wait']:.0%} of the time is spent waiting for clips"
        free = max(1, cores() // self.training.workers)
        self._say(f"warning: {waiting}; {remedy(self.training.data, free)}")


def speed(row: Row) -> str:
    """Clips a second and the share of waiting, as people read them."""
    return f"{row['clips_per_second']:.4g} clips/s, {row['data_wait']:.0%} waiting for clips"


class Interruption:
    """Whether the training was asked to stop, and with which exit code it then leaves."""

    def __init__(self) -> None:
        self.code = 0

    def asked(self) -> bool:
        """Whether a signal came."""
        return self.code != 0


def how_to_go_on(folder: TrainingFolder) -> str:
    """The last line of a training that was interrupted."""
    return f"stopped; go on with: expander train --run {folder.folder.name} --resume"


@contextlib.contextmanager
def interruptible(folder: TrainingFolder) -> Iterator[Interruption]:
    """The first SIGINT or SIGTERM ends the training after its step, with a checkpoint; the second at once."""
    interruption = Interruption()
    folder.stop.unlink(missing_ok=True)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, _: object) -> None:
        interruption.code = 128 + number
        with contextlib.suppress(OSError):
            folder.stop.touch()  # for who waits for a store
        # Not by print: the signal may have come in the middle of one.
        os.write(2, b"\nstopping after the next step, with a checkpoint; once more to stop at once\n")
        for each, handler in before.items():
            signal.signal(each, handler)

    for number in before:
        signal.signal(number, note)
    try:
        yield interruption
    finally:
        folder.stop.unlink(missing_ok=True)
        for number, handler in before.items():
            signal.signal(number, handler)
