"""baseline: what a search gained over specs of the same cost that were chosen without it."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from expander.cli.help import Command
from expander.cli.options import BACKENDS, Whole
from expander.cli.output.terminal import say
from expander.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from expander.engine.comparisons import ComparisonTrial
    from expander.runs.events import Candidate, Rejection, RunStarted
    from expander.runs.journal import Run
    from expander.runs.trials import TrialResult
    from expander.search.controller import State


@click.command(cls=Command)
@click.argument("run")
@click.option("--kind", type=click.Choice(["random", "compound", "single-axis"]), required=True,
              help="Shares of the axes at random; all axes evenly; each axis alone.")  # fmt: skip
@click.option("--count", type=Whole("count"), default=3, show_default=True, help="Of random specs.")
@click.option("--seed", type=Whole("seed", 0), default=0, show_default=True, help="Of random specs.")
@click.option("--seeds", type=Whole("seeds"),
              help="Trainings of each spec: more narrow the intervals.  [default: the run's]")
@click.option("--backend", type=click.Choice(BACKENDS), help="Where to train.  [default: the run's]")
@click.option("--dry-run", is_flag=True, help="Only say what would be trained.")
def baseline(
    run: str, kind: str, count: int, seed: int, seeds: int | None, backend: str | None, dry_run: bool
) -> None:
    """Train specs of the cost of RUN's last one, with its recipe and seeds, and say what RUN gained.

    RUN's last spec is trained again too, with seeds that chose nothing: the best of several is by chance
    better than it will be again. They are kept in RUN/baselines.jsonl and not trained a second time.
    """
    from expander.engine.loop import started
    from expander.engine.references import find_run

    found = find_run(run)
    with nullcontext() if dry_run else found.locked(started(found).backend.storage):
        _compare(found, kind, count, seed, seeds, backend, dry_run)


def _compare(
    found: Run, kind: str, count: int, seed: int, seeds: int | None, backend: str | None, dry_run: bool
) -> None:
    from expander.cli.running import train
    from expander.engine.comparisons import AGAIN, BASELINES
    from expander.engine.loop import started, state_of
    from expander.profiling.latency import cost_function
    from expander.search import baselines

    start, state = started(found), state_of(found)
    if not state.path or state.planned is not None:
        raise UsageError(f"run {found.folder.name} is in the middle of a step; finish it with --resume")
    cost_of = cost_function(start.problem, found.folder, start.backend.cpus_per_trial)
    target = state.path[-1].cost.of(start.problem.cost)
    if kind == "random":
        made = baselines.random(start.problem, target, cost_of, count, seed)
    else:
        grow = baselines.compound if kind == "compound" else baselines.single_axis
        made = grow(start.problem, target, cost_of)
    specs = _told(made, start)
    if dry_run or not specs:
        say("nothing was trained")
        return
    step, last = len(state.path) - 1, replace(state.path[-1], axis="found")
    again = train(found, start, BASELINES, AGAIN, target, [last], step, backend, seeds)
    done = train(found, start, BASELINES, kind, target, specs, step, backend, seeds)
    say(gains_text(start, state, specs, [*again, *done]))


def _told(found: Sequence[Candidate | Rejection], start: RunStarted) -> list[Candidate]:
    from expander.runs.events import Candidate
    from expander.specs.cost_kinds import amount_text

    kind, specs = start.problem.cost, []
    for each in found:
        if isinstance(each, Candidate):
            say(f"{each.axis}: {each.spec}, {amount_text(kind, each.cost.of(kind))}")
            specs.append(each)
        else:
            say(f"{each.axis}: left out: {each.reason}")
    return specs


def gains_text(
    start: RunStarted, state: State, specs: Sequence[Candidate], done: Sequence[ComparisonTrial]
) -> str:
    """A row a baseline: its accuracy or mAP, and by how many points the search's last spec is better."""
    import pandas as pd

    from expander.engine.comparisons import advantages, results_of
    from expander.report.tables import lead_text
    from expander.search.selection import difference

    ours = results_of(state, done)
    rows: list[dict[str, Any]] = [_row("search", state.path[-1], start, _mean(ours))]
    for number, spec in enumerate(specs):
        of_spec = [tried for tried in done if tried.name == spec.axis and tried.spec == spec.spec]
        results = [tried.result for tried in of_spec if tried.result is not None]
        if len(results) < len(of_spec):
            rows.append(_row(spec.axis, spec, start, None))
            continue
        chance = (start.problem.seed, number)
        lead = difference(ours, [results], start.problem.selection, chance, state.spread)
        text = lead_text(*(100 * x for x in lead))
        rows.append(_row(spec.axis, spec, start, _mean(results)) | {"search gained": text})
    for found in advantages(start, state, done, math.inf):
        if found.count > 1:
            text = lead_text(*(100 * x for x in (found.lead, found.low, found.high)))
            rows.append({"": f"mean of {found.count}", start.measure: f"{100 * found.accuracy:.1f}",
                         "search gained": text})  # fmt: skip
    return pd.DataFrame(rows).fillna("").to_string(index=False)


def _mean(results: Sequence[TrialResult]) -> float:
    return sum(result.accuracy for result in results) / len(results)


def _row(name: str, spec: Candidate, start: RunStarted, accuracy: float | None) -> dict[str, Any]:
    from expander.specs.cost_kinds import amount_text

    kind = start.problem.cost
    cost = amount_text(kind, spec.cost.of(kind))
    found = "failed" if accuracy is None else f"{100 * accuracy:.1f}"
    return {"": name, "spec": str(spec.spec), "cost": cost, start.measure: found}
