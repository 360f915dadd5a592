"""The loop of a search: replay the journal, ask, run, tell, append; stopped anywhere, resumed there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from expander.backends.base import Backend
from expander.errors import DataError
from expander.latency import prices
from expander.records import (
    Event,
    RunStarted,
    StepChosen,
    Trial,
    TrialFailed,
    TrialFailure,
    TrialFinished,
    TrialOrder,
    TrialResult,
)
from expander.search.controller import State, ask, replay, tell
from expander.space import dump_spec
from expander.store import Run, write_atomic


class Listener(Protocol):
    """Hears of every event once it is in the journal; replayed ones are not told again."""

    def __call__(self, event: Event, state: State) -> None: ...


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


def search(run: Run, backend: Backend, listen: Listener) -> State:
    """Runs the search of a folder whose journal has begun to its end; the caller holds the lock."""
    start = started(run)
    state = state_of(run)
    for event in run.events():
        if isinstance(event, StepChosen):  # a kill between the event and its file left it out
            _write_spec(run, event)

    def record(event: Event) -> None:
        nonlocal state
        after = tell(state, event)
        run.append(event)
        state = after
        if isinstance(event, StepChosen):
            _write_spec(run, event)
        listen(event, state)

    price = prices(start.problem, run.folder, start.backend.cpus_per_trial)
    while step := ask(start.problem, state, price):
        if isinstance(step, tuple):
            _train(run, start, step, backend, record)
        else:
            record(step)
    return state


def _train(
    run: Run,
    start: RunStarted,
    wanted: tuple[Trial, ...],
    backend: Backend,
    record: Callable[[Event], None],
) -> None:
    def report(outcome: TrialResult | TrialFailure) -> None:
        number = wanted[0].step
        if isinstance(outcome, TrialResult):
            record(TrialFinished(number, outcome))
        else:
            record(TrialFailed(number, outcome))

    backend.run([_order(run, start, trial) for trial in wanted], report)


def _order(run: Run, start: RunStarted, trial: Trial) -> TrialOrder:
    return TrialOrder(
        trial=trial,
        recipe=start.problem.space.proxy,
        data=start.data,
        classes=start.classes,
        data_fingerprint=start.data_fingerprint,
        folder=str(run.folder.resolve()),
        threads=start.backend.cpus_per_trial,
    )


def _write_spec(run: Run, event: StepChosen) -> None:
    what = f"step {event.step}: {event.winner.axis}, {event.winner.cost.macs / 1e6:.3f} M multiply-adds"
    text = dump_spec(event.winner.spec, f"{what}, proxy video_top1 {event.accuracy:.4f}")
    for name in (f"step{event.step}", "final"):
        write_atomic(run.folder / "specs" / f"{name}.yaml", text.encode())

