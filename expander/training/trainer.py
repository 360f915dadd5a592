"""A full training: epochs, validations, checkpoints, the best and the last weights.

Started again in the same folder it goes on from the newest undamaged checkpoint, on a CPU bit for bit
as if it had not stopped (with `compile` up to rounding, should it compile otherwise).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol

import torch

from expander.data.clips import Batch
from expander.data.store.patience import WISH, Ended
from expander.errors import TrainingFault
from expander.model.network import X3D
from expander.model.sync_bn import synced
from expander.runs.events import from_json
from expander.training.averaging import WeightAverage
from expander.training.checkpoints import Checkpoints, check_identity, identity
from expander.training.distributed import Workers
from expander.training.init import he_head, new_network
from expander.training.loop import Diverged, restore, snapshot, train
from expander.training.sampler import checked_data
from expander.training.schedule import optimizer
from expander.training.step import fault_of
from expander.training.tasks import TrainingTask, task_of
from expander.training.timing.throughput import Meter, Throughput
from expander.training.training_folder import Best, Row, Training, TrainingFolder
from expander.training.validation import check_readable
from expander.weights.safetensors_file import save_weights

ROWS = 10
"""Rows of metrics an epoch."""


class Watcher(Protocol):
    """Hears of a training while it runs, in the process that leads."""

    def step(self, pace: Throughput, loss: float) -> None:
        """A step was done; loss: the last one read."""

    def row(self, row: Row, training: Training) -> None:
        """A row of metrics was written."""


def fit(training: Training, folder: TrainingFolder, team: Workers, watcher: Watcher | None = None,
        stop: Callable[[], bool] = lambda: False) -> Training:  # fmt: skip
    """Trains to the end, or until `stop` says so; returns the training as it is then.

    Raises DataError for data that changed, UsageError for checkpoints of another training,
    EnvironmentFault for lack of memory, disk or a compiler, TrainingFault for a loss that is no number.
    """
    torch.set_num_threads(training.backend.cpus_per_trial)
    if team.size == 1:
        WISH.file = folder.stop
    try:
        task = task_of(training, checked_data(training), team)
        return Trainer(training, folder, task, team, watcher, stop).run()
    except Ended:  # before the first step
        training = replace(training, state="stopped", reason="interrupted")
        folder.write(training)
        return training
    except Diverged as error:
        raise TrainingFault(f"{folder.folder}: {error}: --set train.lr=...") from None
    except (RuntimeError, MemoryError) as error:
        if (fault := fault_of(error, training.recipe, team.size)) is None:
            raise
        raise fault from None


class Trainer:
    """A training in memory, in one of its processes."""

    def __init__(self, training: Training, folder: TrainingFolder, task: TrainingTask, team: Workers,
                 watcher: Watcher | None, stop: Callable[[], bool]) -> None:  # fmt: skip
        self.training, self.folder, self.task, self.team = training, folder, task, team
        self.watcher, self.stop = watcher, stop
        self.recipe = training.recipe.loop(training.steps, he_head(training))
        self.checkpoints = Checkpoints(folder.checkpoints)
        self.step, self.validated, self.worse, self.loss, self.asked = 0, 0, 0, math.nan, False
        self.bad: set[str] = set()
        state = self.checkpoints.newest()
        network = new_network(training if state is None else replace(training, init=""))
        self.network = network.to(team.device)
        if training.recipe.sync_bn and team.size > 1:
            synced(self.network)
        self.sgd = optimizer(self.network, self.recipe)
        self.average = WeightAverage(self.network, training.recipe.ema) if training.recipe.ema else None
        if state is not None:
            self._restore(state)
        elif team.leads:
            folder.cut(0)
        self.saved = time.monotonic()
        batch, per_epoch = training.recipe.batch, training.steps_per_epoch
        self.meter = Meter(batch, per_epoch, training.steps, self.step, team.device)

    def run(self) -> Training:
        """See `fit`."""
        try:
            return self._run()
        except Ended:  # all that was done until a store was waited for is kept
            self._save(self.step)
            return self._end("stopped", "interrupted")

    def _run(self) -> Training:
        recipe, per_epoch = self.training.recipe, self.training.steps_per_epoch
        full = self.task.step(self.network, recipe, self.training.seed, self.team, self.average, self.step)
        stream = self.task.batches(self.step, self.training.data.workers)
        while not self._enough():  # also where it was killed after its last validation
            if self._due():  # also where it was stopped between an epoch and its validation
                self._validate(self.step // per_epoch)
                continue
            if self.step >= self.training.steps:
                return self._finished("")
            if self.asked:
                self._save(self.step)
                return self._end("stopped", "interrupted")
            ahead = islice(stream, per_epoch - self.step % per_epoch)
            self.meter.begin(self.step)
            train(self.network, self.sgd, self._watched(ahead), self.recipe, self.team.device, self._log,
                  self.step, full, max(1, per_epoch // ROWS))  # fmt: skip
        return self._finished(f"no better {self.training.measure} for {self.worse} validations")

    def _due(self) -> bool:
        """Whether an epoch is done, and is to be validated."""
        recipe, (epoch, more) = self.training.recipe, divmod(self.step, self.training.steps_per_epoch)
        chosen = epoch % recipe.validate_every == 0 or epoch == recipe.epochs
        return not more and self.validated < epoch and chosen

    def _enough(self) -> bool:
        return 0 < self.training.recipe.patience <= self.worse

    def _watched(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in self.meter.watch(batches):
            self.bad.update(batch.bad)
            check_readable(sorted(self.bad), self.task.videos, self.training.data, "training")
            yield batch
            self.step += 1
            if self.watcher is not None:
                self.watcher.step(self.meter.pace(self.step), self.loss)
            self.asked = self.team.agreed(self.stop())
            if self.asked:
                return

    def _log(self, step: int, loss: float, lr: float) -> None:
        pace, self.loss = self.meter.close(step), loss
        self._row({"epoch": pace.epoch, "step": step, "loss": loss, "lr": lr,
                   "clips_per_second": round(pace.clips_per_second, 3),
                   "data_wait": round(pace.data_wait, 4)})  # fmt: skip
        due = time.monotonic() - self.saved >= 60 * self.training.recipe.checkpoint_minutes
        if due and step % self.training.steps_per_epoch:  # the end of an epoch is saved when it is validated
            self._save(step)

    def _row(self, row: Row) -> None:
        if self.team.leads:
            self.folder.append(row)
            if self.watcher is not None:
                self.watcher.row(row, self.training)

    @property
    def _shown(self) -> X3D:
        """The network that is validated and kept."""
        return self.network if self.average is None else self.average.network

    def _validate(self, epoch: int) -> None:
        if self.average is not None and self.training.recipe.precise_bn == 0:
            self.average.take_statistics(self.network)
        last = epoch == self.training.recipe.epochs
        scores = self.task.scores(self._shown, last)
        self.validated = epoch
        found = Best(epoch, self.step, scores.goodness, scores.loss)
        best = self.training.best
        self.worse = 0 if best is None or found.goodness > best.goodness else self.worse + 1
        if found.beats(best) or (last and self.task.partial):  # a part and the whole do not compare
            self.training = replace(self.training, best=found)
            self._keep(self.folder.best)
        measured = {"val_loss": scores.loss, scores.measure: scores.goodness}
        self._record()  # before the row, which makes others look
        self._row({"epoch": epoch, "step": self.step, **measured})
        self._save(self.step)

    def _keep(self, path: Path) -> None:
        if self.team.leads:
            save_weights(path, self._shown, self.training.spec, self.training.classes,
                         multi_label=self.training.multi_label, task=self.training.task)  # fmt: skip

    def _record(self) -> None:
        if self.team.leads:
            self.folder.write(self.training)

    def _save(self, step: int) -> None:
        if not self.team.leads:
            return
        state = snapshot(self.network, self.sgd)
        state |= {
            "identity": identity(self.training),
            "step": step,
            "validated": self.validated,
            "worse": self.worse,
            "best": asdict(self.training.best) if self.training.best else None,
            "bad": sorted(self.bad),
            "rows": len(self.folder.rows()),
            "average": self.average.network.state_dict() if self.average else None,
        }
        self.checkpoints.save(step, state)
        self.saved = time.monotonic()

    def _restore(self, state: dict[str, Any]) -> None:
        check_identity(state["identity"], identity(self.training), self.folder.checkpoints)
        restore(self.network, self.sgd, state)
        if self.average is not None:
            self.average.network.load_state_dict(state["average"])
        self.step, self.validated, self.worse = state["step"], state["validated"], state["worse"]
        self.bad = set(state["bad"])
        best = from_json(Best, json.dumps(state["best"])) if state["best"] else None
        self.training = replace(self.training, best=best)
        if self.team.leads:
            self.folder.cut(state["rows"])

    def _finished(self, reason: str) -> Training:
        self._keep(self.folder.last)
        training = self._end("finished", reason)
        if self.team.leads:
            self.checkpoints.clear()
        return training

    def _end(self, state: Literal["finished", "stopped"], reason: str) -> Training:
        self.training = replace(self.training, state=state, reason=reason)
        self._record()
        self.task.frames.close()
        return self.training
