"""What a search says while it runs: a line of progress, a line a decision."""

from __future__ import annotations

import sys
from typing import Any

import click

from expander.commands.foretelling import foretell
from expander.cost import cost
from expander.records import (
    Contracted,
    Event,
    Problem,
    StepChosen,
    StepPlanned,
    TrialFailed,
    TrialFinished,
    rung_of,
)
from expander.report.tables import macs_text
from expander.search.controller import State, trials
from expander.search.forecast import Pace


class Narrator:
    """Listens to a search. On a terminal: one tqdm line a step; elsewhere plain lines."""

    def __init__(self, problem: Problem, pace: Pace) -> None:
        self.problem, self.pace = problem, pace
        self.bar: Any = None
        self.seen = self.predicted = 0.0

    def __enter__(self) -> Narrator:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def __call__(self, event: Event, state: State) -> None:
        """One event that was just recorded, and the state after it."""
        match event:
            case StepPlanned():
                self._plan(event)
            case TrialFinished():
                self._pace(event, state)
                result = event.result
                self._done(f"{_axis(result.trial)}{_rung(result.trial)} {result.accuracy:.1%}", state)
            case TrialFailed():
                self._done(f"{_axis(event.failure.trial)} failed: {event.failure.reason}", state)
            case StepChosen():
                self._chosen(event, state)
            case Contracted():
                click.echo(f"contracted along {event.axis} to {macs_text(event.candidate.cost.macs)}, "
                           f"{event.miss:.1%} below the target")  # fmt: skip

    def _plan(self, event: StepPlanned) -> None:
        for rejection in event.rejected:
            click.echo(f"step {event.step}: {rejection.axis} cannot move: {rejection.reason}")
        count = len(trials(self.problem, event))
        if sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(total=count, desc=f"step {event.step}", unit="trial", leave=False)

    def _done(self, text: str, state: State) -> None:
        if self.bar is not None:
            self.bar.set_postfix_str(text)
            self.bar.update()
        elif state.planned is not None:
            done = len(state.outcomes)
            count = max(done, len(trials(self.problem, state.planned)))
            click.echo(f"step {state.planned.step}: {done}/{count} {text}", err=True)

    def _pace(self, event: TrialFinished, state: State) -> None:
        """What trials took against what was foretold corrects what is still to come."""
        if state.planned is None or self.problem.selection.rungs:  # a part of a trial has no forecast
            return
        axis = _axis(event.result.trial)
        spec = next(c.spec for c in state.planned.candidates if c.axis == axis)
        self.seen += event.result.seconds
        self.predicted += self.pace.seconds(self.problem, cost(spec).macs)

    def _chosen(self, event: StepChosen, state: State) -> None:
        self._close()
        winner = event.winner
        how = "" if len(event.standings) < 2 or not event.standings[1].tied else " (a tie)"
        click.echo(f"step {event.step}: {winner.axis}{how} -> {winner.spec}, "
                   f"{macs_text(winner.cost.macs)}, accuracy {event.accuracy:.1%}")  # fmt: skip
        if state.contracted is None and winner.cost.macs < self.problem.target_macs and self.predicted:
            foretell("ahead", self.problem, state, self.pace.scaled(self.seen / self.predicted))

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None


def _axis(trial: str) -> str:
    return trial.split("-")[1]


def _rung(trial: str) -> str:
    until = rung_of(trial)
    return "" if until is None else f" at step {until}"
