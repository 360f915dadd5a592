"""What a search will take, told before anything is spent and again after every step."""

from __future__ import annotations

import click

from expander.commands.progress import duration
from expander.cost import cost
from expander.records import Problem
from expander.report.tables import macs_text
from expander.search.controller import State
from expander.search.forecast import Pace, forecast

SLOW_HOURS = 3.0
"""A forecast above this, without a GPU, gets the advice for CPU-only users."""

ADVICE = (
    "This machine has no GPU, and this space is meant for GPUs. On a CPU, take the small space: "
    "expander search --space tiny --target-gflops 0.001; or use a cluster: "
    "--set backend.address=ray://HEAD:10001; or shorten the trials: --set proxy.steps=100."
)


def announce(problem: Problem, pace: Pace) -> None:
    """The first lines of a search: its base, its target, its forecast, and advice if it is long."""
    base = problem.space.start
    macs = macs_text(cost(base).macs)
    click.echo(f"base: {base}, {macs} multiply-adds, target {macs_text(problem.target_macs)}")
    foretell("forecast", problem, State(), pace)
    if forecast(problem, State(), cost, pace).seconds > 3600 * SLOW_HOURS and not _has_gpu():
        click.echo(ADVICE)


def foretell(what: str, problem: Problem, state: State, pace: Pace) -> None:
    """One line: steps, trials, time and disk from `state` to the end."""
    ahead = forecast(problem, state, cost, pace)
    click.echo(
        f"{what}: {ahead.steps} steps, {ahead.trials} trials, {duration(ahead.seconds)}, "
        f"{pace.parallel} at a time; {ahead.disk / 1e6:.1f} MB of weights"
    )


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
