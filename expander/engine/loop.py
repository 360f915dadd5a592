"""The loop of a search: replay the journal, ask, run, tell, append; stopped anywhere, resumed there."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from expander.backends.base import Backend
from expander.config.settings import Budget
from expander.config.space import dump_spec
from expander.config.storage import mounted, store_of
from expander.errors import DataError
from expander.profiling.latency import cost_function
from expander.runs.cache import Known, adopt, key_of, results
from expander.runs.events import Event, RunStarted, StepChosen, TrialFailed, TrialFinished
from expander.runs.journal import STOP, Run, write_atomic
from expander.runs.orders import TrialOrder, beginning, recipe_of
from expander.runs.trials import Trial, TrialFailure, TrialResult
from expander.search.accounting import of_event, total
from expander.search.controller import State, ask, replay, tell

SPENT = "the budget is spent"
Listener = Callable[[Event, State], None]
"""Hears of every event once it is in the journal; replayed ones are not told again."""


def started(run: Run) -> RunStarted:
    """The first event of a journal. Raises DataError when it is another."""
    first = next(iter(run.events()), None)
    if not isinstance(first, RunStarted):
        raise DataError(f"{run.journal}: does not begin with run_started")
    return first


def state_of(run: Run) -> State:
    """The state that a run folder's journal adds up to. Raises DataError for a broken one."""
    try:
        return replay(run.events())
    except ValueError as error:
        raise DataError(f"{run.journal}: {error}") from None


class Stop:
    """The request to end a search where nothing is lost; the first reason given counts."""

    def __init__(self, run: Run) -> None:
        self.file = run.folder / "trials" / STOP
        self.clear()
        self.reason = ""

    def ask(self, reason: str) -> None:
        """Running trials write a checkpoint and stop; no others are started."""
        self.reason = self.reason or reason
        with contextlib.suppress(OSError):  # a folder that is gone is told by whoever needs it
            self.file.touch()

    def clear(self) -> None:
        """Nothing is asked of trials any more."""
        with contextlib.suppress(OSError):
            self.file.unlink()

    @property
    def asked(self) -> bool:
        """Whether it was asked for, here or by a file of that name that somebody made."""
        if not self.reason and self.file.exists():
            self.reason = f"{self.file} was there"
        return bool(self.reason)


def search(
    run: Run, backend: Backend, listen: Listener, stop: Stop | None = None, budget: Budget | None = None,
    known: Mapping[str, Known] | None = None,
) -> State:  # fmt: skip
    """Runs the search of a folder whose journal has begun to its end; the caller holds the lock.

    stop: ends it earlier when asked. budget: instead of the run's own; when it is spent, `stop` is
    asked. known: results by the key of their trial, taken over instead of trained for. The state
    that comes back is unfinished when the search was stopped.
    """
    return _Search(run, backend, listen, stop or Stop(run), budget, dict(known or {})).go()


class _Search:
    def __init__(self, run: Run, backend: Backend, listen: Listener, stop: Stop, budget: Budget | None,
                 known: dict[str, Known]) -> None:  # fmt: skip
        self.run, self.backend, self.listen, self.stop = run, backend, listen, stop
        self.start, self.state = started(run), state_of(run)
        self.price = cost_function(self.start.problem, run.folder, self.start.backend.cpus_per_trial)
        self.budget = budget or self.start.budget
        self.spent = total(run.events())
        self.known = known | results(run)
        self.macs: dict[str, int] = {}
        self.wanted: dict[str, tuple[Trial, str]] = {}  # by id, with their keys
        for event in run.events():
            if isinstance(event, StepChosen):  # a kill between the event and its files left them out
                self._decided(event)

    def go(self) -> State:
        while not self.stop.asked and (step := ask(self.start.problem, self.state, self.price)):
            if isinstance(step, tuple):
                self._train(step)
            else:
                self._record(step)
        return self.state

    def _record(self, event: Event) -> None:
        after = tell(self.state, event)
        self.run.append(event)
        self.state = after
        if isinstance(event, StepChosen):
            self._decided(event)
        self.listen(event, self.state)

    def _decided(self, event: StepChosen) -> None:
        """The spec as a file; the checkpoints of the step's trials are of no more use."""
        _write_spec(self.run, event, "video_top1" if self.start.measure == "accuracy" else self.start.measure)
        for folder in (self.run.folder / "trials").glob(f"s{event.step:02d}-*/checkpoints"):
            shutil.rmtree(folder, ignore_errors=True)

    def _train(self, wanted: tuple[Trial, ...]) -> None:
        """The results of `wanted` that are known, or else trains what the budget has room for."""
        self.wanted = {trial.id: (trial, self._key(trial)) for trial in wanted}
        keys = {key: trial for trial, key in reversed(self.wanted.values())}  # of twins the first
        if taken := [(trial, found) for key, trial in keys.items() if (found := self._known(key))]:
            for trial, found in reversed(taken):
                result = adopt(found, trial, self.run.folder / "trials" / trial.folder)
                self._record(TrialFinished(trial.step, result, found.source))
            return
        room = len(wanted)
        if self.budget.trials is not None:
            room = max(0, self.budget.trials - self.spent.trials)
        trials = [trial for trial, key in self.wanted.values() if keys[key] == trial][:room]
        if trials and not self._spent_hours():
            planned = self.state.planned.candidates if self.state.planned else ()
            self.macs = {candidate.axis: candidate.cost.macs for candidate in planned}
            storage = mounted(self.start.backend.storage)
            folder = Path(storage, self.run.folder.name) if storage else self.run.folder.resolve()
            self.backend.run([order_of(self.start, trial, folder) for trial in trials], self._report)
        else:
            self.stop.ask(SPENT)

    def _report(self, outcome: TrialResult | TrialFailure) -> None:
        step = self.state.planned.step if self.state.planned else 0
        event: TrialFinished | TrialFailed
        if isinstance(outcome, TrialResult):
            event = TrialFinished(step, outcome)
        else:
            event = TrialFailed(step, outcome)
        self.spent += of_event(event, self.macs)[1]
        self._record(event)
        if isinstance(outcome, TrialResult):
            self._remember(outcome)
        if self._spent_hours():
            self.stop.ask(SPENT)

    def _remember(self, result: TrialResult) -> None:
        if result.trial in self.wanted:
            trial, key = self.wanted[result.trial]
            folder = self.run.folder / "trials" / trial.folder
            source = f"{self.run.folder.name}:{trial.id}"
            self.known.setdefault(key, Known(result, source, folder))
            if trial.until is None:
                shutil.rmtree(folder / "checkpoints", ignore_errors=True)

    def _known(self, key: str) -> Known | None:
        """A result to take over; where candidates begin with weights, not without its own."""
        found = self.known.get(key)
        bare = found is not None and not (found.folder / "weights.safetensors").is_file()
        return None if bare and self.start.problem.space.proxy.inherit else found

    def _key(self, trial: Trial) -> str:
        start = self.start
        begins = beginning(self.run.folder / "trials", trial)
        recipe = recipe_of(trial, start.problem.space.proxy)
        return key_of(trial, recipe, start.data_fingerprint, start.classes, begins)

    def _spent_hours(self) -> bool:
        limit = self.budget.gpu_hours
        return limit is not None and self.spent.gpu_seconds >= 3600 * limit


def stored_at(start: RunStarted, folder: Path) -> str:
    """The address at which a run's trials are kept in a store; empty where they are on a disk."""
    store = store_of(start.backend.storage)
    return store and f"{store}/{folder.name}"


def order_of(start: RunStarted, trial: Trial, folder: Path) -> TrialOrder:
    """What a worker is told of a trial of a run. folder: of the run, as workers see it."""
    return TrialOrder(
        trial=trial,
        recipe=recipe_of(trial, start.problem.space.proxy),
        data=start.data,
        classes=start.classes,
        data_fingerprint=start.data_fingerprint,
        folder=str(folder),
        threads=start.backend.cpus_per_trial,
        checkpoint_seconds=start.backend.checkpoint_seconds,
        task=start.problem.task,
        store=stored_at(start, folder),
    )


def _write_spec(run: Run, event: StepChosen, measure: str) -> None:
    what = f"step {event.step}: {event.winner.axis}, {event.winner.cost.macs / 1e6:.3f} M multiply-adds"
    text = dump_spec(event.winner.spec, f"{what}, proxy {measure} {event.accuracy:.4f}")
    for name in (f"step{event.step}", "final"):
        write_atomic(run.folder / "specs" / f"{name}.yaml", text.encode())
