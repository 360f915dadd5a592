"""contract: a run to another target, along one axis or another, with or without training."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from expander.cli.help import Command
from expander.cli.options import BACKENDS
from expander.cli.output.terminal import say
from expander.errors import TargetError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from expander.engine.comparisons import ComparisonTrial
    from expander.runs.events import RunStarted
    from expander.runs.journal import Run
    from expander.search.contraction import Option


@click.command(cls=Command)
@click.argument("run")
@click.option("--target-gflops", "target", type=float, help="Multiply-adds per view, 1e9.")
@click.option("--target", "amount", type=float, help="The target of a run of another --cost, in its unit.")
@click.option("--axis", default="auto", show_default="last; best if last misses by over 5 %",
              help="last, best, all, or the name of an axis.")  # fmt: skip
@click.option("--train", is_flag=True, help="Train the options as in a step, and choose by accuracy.")
@click.option("--backend", type=click.Choice(BACKENDS), help="Where to train.  [default: the run's]")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def contract(
    run: str, target: float | None, amount: float | None, axis: str, train: bool, backend: str | None,
    as_json: bool,
) -> None:  # fmt: skip
    """What a finished or stopped RUN gives at another target: every axis, the chosen one marked.

    Any target from the cost of the base to the largest of the run. The chosen spec (with --axis all,
    every one) goes to RUN/specs/contracted-<target>.yaml. With --train the options (of a named axis
    that one alone) are trained with the recipe and seeds of the run, kept in RUN/contractions.jsonl.
    """
    from expander.cli.options import target_of
    from expander.engine.loop import started
    from expander.engine.references import find_run

    found = find_run(run)
    start = started(found)
    goal = float(target_of({"cost": start.problem.cost, "target": target, "amount": amount}))
    with found.locked(start.backend.storage):
        _contract(found, start, goal, target if target else goal, axis, train, backend, as_json)


def _contract(
    found: Run, start: RunStarted, goal: float, shown: float, axis: str, train: bool, backend: str | None,
    as_json: bool,
) -> None:  # fmt: skip
    from expander.cli.cost import row_of, show

    every, chosen = _options(found, start, goal, axis)
    tried: list[ComparisonTrial] = []
    if train:
        asked = [chosen] if chosen and axis not in ("auto", "best", "all") else every
        tried = _train(found, start, goal, asked, backend)
        chosen = _best(found, start, asked, tried) or chosen
    rows: list[dict[str, Any]] = []
    for option in every:
        row = {**row_of(None, option.axis, option.candidate), "miss": option.miss}
        if train:
            row[start.measure] = _accuracy(option, tried)
        rows.append(row | {"chosen": option == chosen})
    show(rows, as_json)
    files = _write(found, every if chosen is None else [chosen], shown, chosen is None)
    if not as_json:
        say("\n".join(f"spec: {file}" for file in files))


def _options(run: Run, start: RunStarted, goal: float, axis: str) -> tuple[list[Option], Option | None]:
    """Every option, and the chosen one; none with `all`. Raises UsageError, TargetError."""
    from expander.cli.cost import check_reach
    from expander.config.strict_yaml import did_you_mean
    from expander.engine.loop import state_of
    from expander.profiling.latency import cost_function
    from expander.search.contraction import contract as contract_path
    from expander.search.contraction import options
    from expander.specs.spec import AXES

    names = ("auto", "last", "best", "all", *AXES)
    if axis not in names:
        raise UsageError(f"--axis: unknown axis {axis!r}{did_you_mean(axis, names[1:])}")
    kind, path = start.problem.cost, state_of(run).path
    if not path:
        raise UsageError(f"run {run.folder.name} has no decided step yet")
    check_reach(path, goal, f"run {run.folder.name}", kind)
    price = cost_function(start.problem, run.folder, start.backend.cpus_per_trial)
    every = list(options(path, goal, price, kind))
    if axis == "all":
        return every, None
    try:
        return every, contract_path(path, goal, price, axis, kind)
    except ValueError as error:
        raise TargetError(str(error)) from None


def _train(
    run: Run, start: RunStarted, goal: float, options: Sequence[Option], backend: str | None
) -> list[ComparisonTrial]:
    from expander.cli.running import train
    from expander.engine.loop import state_of

    specs = [replace(option.candidate, axis=f"contract.{option.axis}") for option in options]
    step = len(state_of(run).path)
    return train(run, start, "contractions.jsonl", "contraction", goal, specs, step, backend)


def _best(
    run: Run, start: RunStarted, options: Sequence[Option], tried: Sequence[ComparisonTrial]
) -> Option | None:
    """The winner of a step between the trained options, by plain accuracy; none when all failed."""
    from expander.engine.loop import state_of
    from expander.search.selection import Outcome, rank

    outcomes: dict[str, list[Outcome]] = {}
    for each in tried:
        outcome = each.result or each.failure
        assert outcome is not None
        outcomes.setdefault(each.name.removeprefix("contract."), []).append(outcome)
    candidates = [option.candidate for option in options]
    chance, known = (start.problem.seed, len(tried)), state_of(run).spread
    best = rank(candidates, outcomes, (), start.problem.selection, chance, known)[0]
    if best.failed:
        say(f"every option failed, the first with: {best.failed}; not chosen by training", err=True)
        return None
    return next(option for option in options if option.axis == best.axis)


def _accuracy(option: Option, tried: Sequence[ComparisonTrial]) -> float | None:
    results = [t.result for t in tried if t.name == f"contract.{option.axis}" and t.result is not None]
    return sum(result.accuracy for result in results) / len(results) if results else None


def _write(run: Run, options: Sequence[Option], shown: float, named: bool) -> list[Any]:
    from expander.config.space import dump_spec
    from expander.runs.journal import write_atomic
    from expander.runs.names import below

    files = []
    for option in options:
        suffix = f"-{option.axis}" if named else ""
        file = below(run.folder / "specs", f"contracted-{shown:g}{suffix}.yaml")
        text = dump_spec(option.candidate.spec, f"contracted along {option.axis} to {shown:g}")
        write_atomic(file, text.encode())
        files.append(file)
    return files
