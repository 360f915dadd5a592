"""A trial under way, on disk: its checkpoints, its metrics, its attempts, and the request to stop."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn

from expander.config.reading import parse_json
from expander.runs.cache import key_of
from expander.runs.journal import STOP, write_atomic
from expander.runs.names import below
from expander.runs.orders import TrialOrder, beginning
from expander.runs.sealed_lines import SealedLines, rows_of, sealed_lines, sealed_row
from expander.training.checkpoints import Checkpoints
from expander.training.loop import restore, snapshot
from expander.training.proxy.tasks import TrialScores
from expander.training.timing.throughput import Waiting

log = logging.getLogger(__name__)


Keep = Callable[[], None]


def on_disk() -> None:
    """What is written is kept already."""


class Stopped(Exception):
    """The run was asked to stop, and the trial has written a checkpoint."""


def stop_file(order: TrialOrder) -> Path:
    """Asks the trials of a run to stop, once it is there."""
    return Path(order.folder) / "trials" / STOP


class TrialRun:
    """From the newest checkpoint to the end of a trial, or of its rung.

    step: optimiser steps done. first: those done when this order began; what a kill undid is not
    counted twice. end: the step to stop at. bad: unreadable videos so far. waiting: for clips.

    keep: called when the folder has something that must not be lost.
    """

    def __init__(self, order: TrialOrder, keep: Keep = on_disk) -> None:
        self.order, self.started, self.keep = order, time.monotonic(), keep
        trials = Path(order.folder) / "trials"
        self.folder, self.stop = below(trials, order.trial.folder), stop_file(order)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.checkpoints = Checkpoints(self.folder / "checkpoints")
        steps = order.recipe.steps
        self.end = min(order.trial.until or steps, steps)
        whole = replace(order.trial, until=None)
        begins = beginning(trials, whole)
        self.key = key_of(whole, order.recipe, order.data_fingerprint, order.classes, begins)
        self.step = self.first = 0
        self.earlier, self.train_loss = 0.0, float("nan")
        self.bad: set[str] = set()
        self.waiting = Waiting()
        self.found = self._find()
        self.saved, self.saved_step = self.started, self.step
        self.metrics = SealedLines(self.folder / "metrics.jsonl", "a row of metrics")
        self.attempts: int = self._attempt()
        keep()

    def _find(self) -> Mapping[str, Any] | None:
        """The newest checkpoint of this very training that is not beyond the end."""
        for state in self.checkpoints.valid():
            if state.get("key") != self.key:
                log.warning("%s: holds a checkpoint of another training; not used", self.folder)
            elif state["step"] <= self.end:
                mine = state["trial"] == self.order.trial.id
                self.step = state["step"]
                self.first = state["first"] if mine else state["step"]
                self.earlier = state["seconds"] if mine else 0.0
                # A checkpoint of an earlier version says nothing of it.
                self.waiting = Waiting(*state.get("waiting", ())) if mine else Waiting()
                self.train_loss, self.bad = state["train_loss"], set(state["bad"])
                return state
        return None

    def _attempt(self) -> int:
        """Leaves a row that says who tries; how many have tried this order, this one included."""
        file = self.folder / "attempts.jsonl"
        mine = self.order.trial.id
        before = [row for row in _rows(file) if row.get("trial") == mine]
        row = {"trial": mine, "step": self.step, "node": os.uname().nodename, "pid": os.getpid(),
               "time": datetime.now(UTC).isoformat(timespec="seconds")}  # fmt: skip
        _append(file, row)
        return len(before) + 1

    @property
    def seconds(self) -> float:
        """Spent on this order, attempts that a checkpoint remembers included."""
        return self.earlier + time.monotonic() - self.started

    @property
    def asked_to_stop(self) -> bool:
        """Whether the run was asked to stop."""
        return self.stop.exists()

    def begin(self, network: nn.Module, sgd: torch.optim.SGD) -> None:
        """Network, optimiser and random state as the checkpoint has them; rows after it are cut."""
        self.network, self.sgd = network, sgd
        if self.found is not None:
            restore(network, sgd, self.found)
            self.found = None
        kept = [row for row in rows_of(self.metrics) if self._stands(row)]
        write_atomic(self.metrics.path, sealed_lines(kept))

    def _stands(self, row: Mapping[str, Any]) -> bool:
        """Whether a row of the metrics is from before the step that the trial goes on from."""
        step = row.get("step", self.end + 1)
        return bool(step < self.end if "val_loss" in row else step <= self.step)

    def log(self, step: int, loss: float, lr: float) -> None:
        """A row of metrics, a checkpoint if one is due. Raises Stopped."""
        self.step, self.train_loss = step, loss
        row = {"step": step, "loss": loss, "lr": lr, "bad_videos": len(self.bad)}
        self.metrics.append(sealed_row(row))
        asked = self.asked_to_stop
        rung = step == self.end < self.order.recipe.steps
        if asked or rung or time.monotonic() - self.saved >= self.order.checkpoint_seconds:
            self.save()
        if asked:
            raise Stopped

    def save(self) -> None:
        """A checkpoint of now, unless there is one; at a rung's end the only one that is kept."""
        if self.saved_step == self.step and self.step > 0:
            return
        state = {"step": self.step, "key": self.key, "trial": self.order.trial.id, "first": self.first,
                 "seconds": self.seconds, "bad": sorted(self.bad), "train_loss": self.train_loss,
                 "waiting": (self.waiting.waited, self.waiting.passed)}  # fmt: skip
        kept = {"keep": 1} if self.step == self.end else {}
        self.checkpoints.save(self.step, {**state, **snapshot(self.network, self.sgd)}, **kept)
        self.keep()
        self.saved, self.saved_step = time.monotonic(), self.step

    def pause(self) -> None:
        """Called between two batches of the validation. Raises Stopped, after a checkpoint."""
        if self.asked_to_stop:
            self.save()
            raise Stopped

    def validated(self, scores: TrialScores) -> None:
        """The last row of the metrics."""
        row = {"step": self.step, "val_loss": scores.loss, scores.measure: scores.goodness}
        self.metrics.append(sealed_row(row))


def _append(file: Path, row: Mapping[str, Any]) -> None:
    with file.open("a") as opened:
        opened.write(json.dumps(row) + "\n")


def _rows(file: Path) -> list[dict[str, Any]]:
    """The whole rows of a file that a kill may have cut anywhere."""
    rows = []
    for line in file.read_text(errors="replace").splitlines() if file.exists() else ():
        try:
            rows.append(dict(parse_json(line)))
        except (ValueError, TypeError):
            log.warning("%s: left out a torn row", file)
    return rows
