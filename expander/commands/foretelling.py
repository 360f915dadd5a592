"""What a search will take, told before anything is spent and again after every step."""

from __future__ import annotations

import click

from expander.amounts import amount_text
from expander.commands.progress import about
from expander.records import Problem
from expander.report.tables import macs_text
from expander.search.accounting import Spent
from expander.search.controller import State
from expander.search.expansion import CostOf
from expander.search.forecast import Pace, forecast

SLOW_HOURS = 3.0
"""A forecast above this, without a GPU, gets the advice for CPU-only users."""

ADVICE = (
    "This machine has no GPU, and this space is meant for GPUs. On a CPU, take the small space: "
    "expander search --space tiny --target-gflops 0.0011; or use a cluster: "
    "--ray-address HEAD:6379; or shorten the trials: --set proxy.steps=100."
)


def announce(problem: Problem, pace: Pace, cost_of: CostOf) -> None:
    """The first lines of a search: its base, its target, its forecast, and advice if it is long."""
    base = problem.space.start
    now, target = (amount_text(problem.cost, amount)
                   for amount in (cost_of(base).of(problem.cost), problem.target))  # fmt: skip
    click.echo(f"base: {base}, {now}, target {target}")
    foretell("forecast", problem, State(), pace, cost_of)
    if forecast(problem, State(), cost_of, pace).seconds > 3600 * SLOW_HOURS and not _has_gpu():
        click.echo(ADVICE)


def foretell(what: str, problem: Problem, state: State, pace: Pace, cost_of: CostOf) -> None:
    """One line: steps, trials, time and disk from `state` to the end."""
    ahead = forecast(problem, state, cost_of, pace)
    click.echo(
        f"{what}: {ahead.steps} steps, {ahead.trials} trials, {about(ahead.seconds)}, "
        f"{pace.parallel} at a time; {ahead.disk / 1e6:.1f} MB of weights"
    )


def spent_text(spent: Spent) -> str:
    """One line: trials, their time, clips and multiply-adds."""
    some = [f"{spent.reused} reused"] * bool(spent.reused) + [f"{spent.failed} failed"] * bool(spent.failed)
    more = f" ({', '.join(some)})" if some else ""
    gpu = f", {spent.gpu_seconds / 3600:.2g} GPU hours" if spent.gpu_seconds else ""
    return (f"spent: {spent.trials} trials{more}, {about(spent.seconds)} of trials{gpu}, "
            f"{spent.clips} clips, {macs_text(spent.macs)} multiply-adds forward")  # fmt: skip


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
