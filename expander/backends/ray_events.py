"""What Ray Tune tells of a step's trials while they run, and when the step is over."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import cloudpickle
from ray.exceptions import ActorUnavailableError
from ray.tune import Callback, Stopper

from expander.backends.base import Report, last_lines
from expander.backends.ray_warnings import Warnings
from expander.errors import KINDS, EnvironmentFault, ExpanderError
from expander.runs.events import from_json
from expander.runs.names import below
from expander.runs.orders import TrialOrder
from expander.runs.trials import TrialFailure, TrialResult

log = logging.getLogger(__name__)

LOOK = 2.0
"""Seconds between two looks for what trials warn of."""
PATIENCE = 120.0
"""Seconds without a node that could run a trial after which a run gives up."""

OUTCOMES = {"result": TrialResult, "failure": TrialFailure}


def trial_name(trial: Any) -> str:
    """The id of ours that a trial of Tune runs."""
    order: TrialOrder = from_json(TrialOrder, trial.config["order"])
    return order.trial.id


class _Here:
    """Tune copies and pickles what it is given, for a restore of its own that is never asked for."""

    def __deepcopy__(self, _: object) -> Any:
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {}


class Listener(_Here, Callback):  # type: ignore[misc]
    """A Tune callback that passes outcomes on the moment they arrive in this process."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.running: set[str] = set()
        self.seen: set[str] = set()
        self.stopped: set[str] = set()
        self.fault: ExpanderError | None = None
        self.marks: dict[str, tuple[int, int]] = {}

    def on_trial_start(self, *_: Any, trial: Any, **__: Any) -> None:
        name = trial_name(trial)
        self.running.add(name)
        self.marks.setdefault(name, self._mark(trial))

    def on_trial_recover(self, *_: Any, trial: Any, **__: Any) -> None:
        """The loss of a node does not count, if its trial or its step has come on since it began, or
        since its last loss. That of a worker alone does: what it did may have ended it.
        """
        name, mark = trial_name(trial), self._mark(trial)
        of_node = _lost_node(trial)
        if of_node and self.marks.get(name, mark) != mark:
            trial.max_failures += 1  # Tune has counted this one
        self.marks[name] = mark
        log.warning("%s: its %s is gone; it goes on elsewhere", name, "node" if of_node else "worker")

    def _mark(self, trial: Any) -> tuple[int, int]:
        """How far a trial and its step have come: its newest checkpoint, and the trials that are over."""
        order: TrialOrder = from_json(TrialOrder, trial.config["order"])
        checkpoints = below(Path(order.folder) / "trials", order.trial.folder) / "checkpoints"
        steps = [int(file.stem.removeprefix("step-")) for file in checkpoints.glob("step-*.json")]
        return max(steps, default=0), len(self.seen)

    def on_trial_result(self, *_: Any, trial: Any, result: Any, **__: Any) -> None:
        name = trial_name(trial)
        if "outcome" in result:
            self.pass_on(name, from_json(OUTCOMES[result["kind"]], result["outcome"]))
        elif "stopped" in result:
            self.stopped.add(name)
        elif "fault" in result:
            self.fault = self.fault or KINDS.get(result["code"], ExpanderError)(result["fault"])

    def on_trial_error(self, *_: Any, trial: Any, **__: Any) -> None:
        name = trial_name(trial)
        self.pass_on(name, TrialFailure(name, _cause(trial)))

    def pass_on(self, name: str, outcome: TrialResult | TrialFailure) -> None:
        """Reports an outcome, the first of its trial only."""
        if name in self.seen or self.fault is not None:
            return
        self.seen.add(name)
        try:
            self.report(outcome)
        except ExpanderError as error:  # kept from Tune, which would wrap it in a traceback
            self.fault = error

    @property
    def over(self) -> bool:
        """Whether nothing more is to come: a fault, or all that ran have stopped as asked."""
        stopped = bool(self.stopped) and self.running <= self.stopped | self.seen
        return stopped or self.fault is not None


class Over(_Here, Stopper):  # type: ignore[misc]
    """Ends the step when its listener says so, or when no node is left for its trials.

    It is asked often, so it tells what they warn of too.
    """

    def __init__(self, listener: Listener, lacking: Callable[[], str], warnings: Warnings) -> None:
        self.listener, self.lacking, self.warnings = listener, lacking, warnings
        self.looked = self.fitted = self.read = time.monotonic()

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:  # noqa: ARG002
        return False

    def stop_all(self) -> bool:
        now = time.monotonic()
        if now - self.read > LOOK:
            self.read = now
            self.warnings.tell()
        if now - self.looked > PATIENCE / 10:
            self.looked = now
            reason = self.lacking()
            self.fitted = self.fitted if reason else now
            if now - self.fitted > PATIENCE:
                fault = f"no node of Ray has been left for {PATIENCE:g} s: {reason}; --resume goes on"
                self.listener.fault = self.listener.fault or EnvironmentFault(fault)
        return self.listener.over


def _lost_node(trial: Any) -> bool:
    """Whether a trial lost its node. A worker that died alone is told by its node, which Ray waits for; where
    no node tells it the node is gone, which Ray finds out later. Preempted nodes Tune does not count.
    """
    file = trial.pickled_error_file  # of this machine; what trial.get_pickled_error reads is written later
    error = cloudpickle.loads(Path(file).read_bytes()) if file and Path(file).is_file() else None
    if getattr(error, "preempted", False):
        return False
    return isinstance(error, ActorUnavailableError) or "its node has died" in str(error)


def _cause(trial: Any) -> str:
    path = trial.error_file
    text = Path(path).read_text(errors="replace") if path and Path(path).is_file() else "unknown"
    if "memory" in text and ("OutOfMemory" in text or "running low on memory" in text):
        return "its worker was killed because its node ran out of memory; a larger backend.cpus_per_trial " \
               "runs fewer at a time, a smaller proxy.batch needs less"  # fmt: skip
    return last_lines(text)
