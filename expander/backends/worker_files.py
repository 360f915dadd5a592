"""What the first of several processes says while it trains, and hears: by files in the training's folder."""

from __future__ import annotations

import contextlib
import json
import math
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict

from expander.config.reading import parse_json
from expander.training.timing.throughput import Throughput
from expander.training.trainer import Watcher
from expander.training.training_folder import Row, Training, TrainingFolder

PERIOD = 0.5
"""Seconds between two looks, and between two writings."""


class Teller:
    """In the process that leads: a fitting.Watcher that writes the pace down, and hears the wish to stop."""

    def __init__(self, folder: TrainingFolder) -> None:
        self.folder, self.told, self.looked, self.asked = folder, -math.inf, -math.inf, False

    def step(self, pace: Throughput, loss: float) -> None:
        """See fitting.Watcher."""
        if time.monotonic() - self.told < PERIOD:
            return
        self.told = time.monotonic()
        draft = self.folder.pace.with_suffix(".draft")
        with contextlib.suppress(OSError):  # only shown: the rows that matter are written elsewhere
            draft.write_text(json.dumps({"loss": loss, "pace": asdict(pace)}))
            os.replace(draft, self.folder.pace)

    def row(self, row: Row, training: Training) -> None:
        """See fitting.Watcher: the rows are read from metrics.jsonl."""

    def stop(self) -> bool:
        """Whether the process that started the training has asked for its end."""
        if time.monotonic() - self.looked >= PERIOD:
            self.looked, self.asked = time.monotonic(), self.folder.stop.exists()
        return self.asked


@contextlib.contextmanager
def followed(folder: TrainingFolder, watcher: Watcher) -> Iterator[None]:
    """Passes on to `watcher` what a Teller writes, from a thread of its own. Raises what `watcher` raises."""
    clear(folder)
    done, faults = threading.Event(), list[Exception]()
    follower = _Follower(folder, watcher)

    def follow() -> None:
        last = False
        while not last:
            last = done.wait(PERIOD)
            try:
                follower.look()
            except Exception as error:  # raised where the training was started
                faults.append(error)
                return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        clear(folder)
    if faults:
        raise faults[0]


def clear(folder: TrainingFolder) -> None:
    """Takes away what one training told another process, or was told."""
    for file in (folder.pace, folder.pace.with_suffix(".draft"), folder.stop):
        with contextlib.suppress(OSError):
            file.unlink()


class _Follower:
    def __init__(self, folder: TrainingFolder, watcher: Watcher) -> None:
        self.folder, self.watcher, self.seen, self.shown = folder, watcher, len(folder.rows()), ""

    def look(self) -> None:
        """Passes on what is new: rows that are trained again after a crash are not."""
        self._pace()
        rows = self.folder.rows()
        for row in rows[self.seen :]:
            self.watcher.row(row, self.folder.read())
        self.seen = max(self.seen, len(rows))

    def _pace(self) -> None:
        try:
            text = self.folder.pace.read_text()
        except OSError:  # no step is done yet
            return
        if text != self.shown:
            told = parse_json(text)
            self.watcher.step(Throughput(**told["pace"]), told["loss"])
            self.shown = text
