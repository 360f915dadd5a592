"""search: the main job."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from expander.commands import costing, videos
from expander.errors import TargetError, UsageError

if TYPE_CHECKING:
    from expander.backends.base import Backend
    from expander.config import BackendConfig
    from expander.preparation import Budget
    from expander.records import RunStarted
    from expander.search.controller import State
    from expander.search.forecast import Pace
    from expander.settings import Settings
    from expander.store import Run

FRESH_ONLY = (*costing.OPTIONS, "space", *videos.OPTIONS, "max_steps", "seed", "overrides")


@click.command()
@costing.budget_options
@click.option("--space", help="Search space: x3d, x3d_balanced, tiny, or a YAML file.  [default: x3d]")
@videos.data_options
@click.option("--run", "name", help="Name of the folder below runs/.  [default: made from space and time]")
@click.option("--resume", is_flag=True, help="Go on with the run of this name where it stopped.")
@click.option("--dry-run", is_flag=True, help="Only the forecast: steps, trials, hours. Trains nothing.")
@click.option("--max-steps", type=click.IntRange(min=1), help="Stop after so many expansions.")
@click.option("--seed", type=click.IntRange(min=0), help="Of weights, order and crops.  [default: 0]")
@click.option("--backend", type=click.Choice(["ray", "inline"]), help="Where trials run.  [default: ray]")
@click.option("--set", "overrides", multiple=True, metavar="SECTION.KEY=VALUE",
              help="Any setting, e.g. proxy.steps=400, selection.seeds=3. Repeatable.")  # fmt: skip
def search(**options: Any) -> None:
    """Grow a network on your videos to a budget, then contract it to meet the budget.

    Without --data or --train-ann and --val-ann it works on the embedded data set, made on first use.
    """
    if options["resume"]:
        _resume(options)
        return
    _fresh(options)


def _fresh(options: dict[str, Any]) -> None:
    from expander.commands.foretelling import announce
    from expander.latency import prices
    from expander.preparation import check_backend
    from expander.store import Run

    space = options["space"] or "x3d"
    budget = costing.budget_of(options)
    settings = _settings(space, options)
    run = Run(_run_folder(options, space))
    if run.exists() and not options["dry_run"]:
        raise UsageError(f"{run.folder} exists; go on with --resume, or choose another --run")
    if run.folder.exists() and not options["dry_run"]:
        raise UsageError(f"{run.folder} exists and holds no run; delete it, or choose another --run")
    check_backend(settings.backend)
    start, pace = _plan(settings, budget, options)
    announce(start.problem, pace, prices(start.problem, None, start.backend.cpus_per_trial))
    if options["dry_run"]:
        click.echo("dry run: nothing was trained")
        return
    from expander.preparation import begin, command_line

    run.create()
    with run.locked():
        begin(run, start, command_line())
        _go(run, start, settings.backend, pace)


def _settings(space: str, options: dict[str, Any]) -> Settings:
    from expander.settings import load_settings

    given = {"data": videos.given(options), "backend": {"kind": options["backend"]}}
    return load_settings(space, options["overrides"], given)


def _run_folder(options: dict[str, Any], space: str) -> Path:
    """runs/NAME. Raises UsageError for a name that is no plain folder name."""
    from expander.commands.references import RUNS

    if options["name"] is None:
        kind, amount = options["cost"], options["amount"]
        wanted = f"{options['target']:g}G" if options["target"] else f"{kind}{amount:g}"
        plain = re.sub(r"[^A-Za-z0-9._-]", "", f"{Path(space).stem}-{wanted}")
        return RUNS / f"{plain}-{datetime.now():%Y%m%d-%H%M%S}"
    name: str = options["name"]
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}", name):
        raise UsageError(f"--run {name!r}: take letters, digits, '_', and inside the name '.' and '-'")
    return RUNS / name


def _plan(settings: Settings, budget: Budget, options: dict[str, Any]) -> tuple[RunStarted, Pace]:
    """Opens the data, checks the target, measures the pace. A dry run makes no data."""
    from expander.commands.progress import Counter
    from expander.data.sources import open_data, source_limits
    from expander.preparation import embedded_limits, measured_pace, problem_of
    from expander.records import RunStarted

    own = settings.data.train_ann is not None or settings.data.folder is not None
    count, limits = embedded_limits()
    names, fingerprint, listed = tuple(map(str, range(count))), "", 300
    if not own:
        # Told before the videos are made: a wrong target costs no waiting.
        problem_of(settings, budget, count, limits)
    if own or not options["dry_run"]:
        with Counter("making the embedded videos (once)", "video") as counter:
            data = open_data(settings.data, counter)
        names, fingerprint, listed = data.classes, data.fingerprint, len(data.val)
        if own:
            click.echo(videos.describe(data))
        limits = source_limits(data, settings.data)
    seed = options["seed"] or 0
    problem = problem_of(settings, budget, len(names), limits, seed, options["max_steps"])
    start = RunStarted(problem, settings.data, settings.backend, fingerprint, names)
    return start, measured_pace(problem, settings.backend, listed)


def _resume(options: dict[str, Any]) -> None:
    from expander.commands.references import find_run
    from expander.data.sources import open_data
    from expander.engine import started, state_of
    from expander.errors import DataError
    from expander.preparation import measured_pace

    clash = [name for name in FRESH_ONLY if options[name] not in (None, ())]
    if options["name"] is None or clash or options["dry_run"]:
        raise UsageError("--resume takes --run NAME and nothing else; the settings are the run's own")
    run = find_run(options["name"])
    with run.locked():
        run.cut_torn_line()
        start = started(run)
        if (state := state_of(run)).finished:
            _show(run, state)
            return
        data = open_data(start.data)
        if data.fingerprint != start.data_fingerprint:
            raise DataError(f"{run.folder}: the data set has changed since the run began; start another run")
        pace = measured_pace(start.problem, start.backend, len(data.val))
        backend = start.backend
        if options["backend"]:
            backend = replace(backend, kind=options["backend"])
        _go(run, start, backend, pace)


def backend_of(config: BackendConfig) -> Backend:
    """Where trials run, as set."""
    if config.kind == "inline":
        from expander.backends.inline import InlineBackend

        return InlineBackend()
    from expander.backends.ray_tune import RayBackend

    return RayBackend(config)


def _go(run: Run, start: RunStarted, backend: BackendConfig, pace: Pace) -> None:
    """Searches to the end and shows what came of it."""
    from expander.commands.narration import Narrator
    from expander.commands.progress import Counter
    from expander.data.sources import fill_cache, open_data
    from expander.engine import search as run_search
    from expander.latency import prices

    click.echo(f"run: {run.folder}")
    with Counter("decoding the videos (once)", "video") as counter:
        fill_cache(open_data(start.data), start.data, counter)
    cost_of = prices(start.problem, run.folder, start.backend.cpus_per_trial)
    narrator = Narrator(start.problem, pace, cost_of)
    try:
        with narrator, backend_of(backend) as entered:
            state = run_search(run, entered, narrator)
    except (KeyboardInterrupt, SystemExit):
        again = f"expander search --run {run.folder.name} --resume"
        click.echo(f"stopped; nothing finished is lost, go on with: {again}", err=True)
        raise
    _show(run, state)


def _show(run: Run, state: State) -> None:
    """The trajectory, where its files are, and the last line."""
    from expander.commands.results import draw
    from expander.report.tables import trajectory_text

    click.echo(trajectory_text(run))
    if state.path:
        click.echo(f"figure: {draw(run)}\nspec: {run.folder / 'specs' / 'final.yaml'}")
    _conclude(run, state)


def _conclude(run: Run, state: State) -> None:
    """The last line, and the exit code of a run that ended badly or with failures."""
    assert state.finished is not None
    if state.finished.outcome == "failed":
        raise TargetError(f"{state.finished.reason}; the journal {run.journal} keeps what was done")
    click.echo(f"{state.finished.outcome}: {state.finished.reason}")
    if state.failures:
        click.echo(f"{state.failures} trials failed; see {run.journal}", err=True)
        raise SystemExit(4)


