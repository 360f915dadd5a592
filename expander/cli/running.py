"""A search from its run folder on: resumed, run, stopped, shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from expander.cli.output.terminal import say
from expander.errors import TargetError, UsageError

if TYPE_CHECKING:
    from expander.config.settings import Budget
    from expander.engine.comparisons import ComparisonTrial
    from expander.runs.cache import Known
    from expander.runs.events import Candidate, RunStarted
    from expander.runs.journal import Run
    from expander.search.controller import State
    from expander.search.forecast import TrainingSpeed

BUDGET = {"max_hours": "hours", "max_trials": "trials", "max_gpu_hours": "gpu_hours"}
PLACES = {"backend": "kind", "ray_address": "address", "gpus_per_trial": "gpus_per_trial"}
"""Options that a resumed run takes too: where it goes on does not change what comes of it."""


def resume(options: dict[str, Any]) -> None:
    """Goes on with the run of --run."""
    from expander.cli.output.narration import foretell
    from expander.engine.loop import started, state_of
    from expander.engine.preparation import measured_pace
    from expander.engine.references import find_run
    from expander.engine.search import check_data, known_results
    from expander.profiling.latency import cost_function
    from expander.runs.journal import UNPROTECTED

    run = find_run(options["name"])
    known = known_results(options["reuse"])
    with run.locked(started(run).backend.storage):
        run.cut_torn_line()
        if not run.protected():
            say(f"{run.journal}: {UNPROTECTED}; what comes now covers it", err=True)
        start = _moved(started(run), options)
        if (state := state_of(run)).finished:
            show(run, state)
            return
        data = check_data(run, start)
        price = cost_function(start.problem, run.folder, start.backend.cpus_per_trial)
        pace = measured_pace(start.problem, start.backend, len(data.val), price, data, start.data)
        foretell("ahead", start.problem, state, pace, price)
        run_search(run, start, pace, known)


def _moved(start: RunStarted, options: dict[str, Any]) -> RunStarted:
    """With the budget and the place that the options of a resumed run name."""
    try:
        backend = replace(start.backend, **_given(options, PLACES))
        budget = replace(start.budget, **_given(options, BUDGET))
    except ValueError as error:
        raise UsageError(str(error)) from None
    return replace(start, backend=backend, budget=budget)


def _given(options: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {key: options[name] for name, key in names.items() if options[name] is not None}


def run_search(run: Run, start: RunStarted, pace: TrainingSpeed, known: dict[str, Known]) -> None:
    """Searches to the end, or until it is stopped, and shows what came of it. The caller holds the lock."""
    from expander.cli.output.narration import Narrator
    from expander.cli.output.terminal import Counter
    from expander.cli.signals import Interruption
    from expander.data.filling import fill_cache
    from expander.data.tasks import open_for
    from expander.engine.loop import Stop, state_of
    from expander.engine.search import carry_out
    from expander.profiling.latency import cost_function

    say(f"run: {run.folder}")
    with Counter("decoding the videos (once)", "video") as counter:
        fill_cache(open_for(start.problem.task, start.data, again=True), start.data, counter)
    cost_of = cost_function(start.problem, run.folder, start.backend.cpus_per_trial)
    narrator = Narrator(start, pace, cost_of, state_of(run))
    stop = Stop(run)
    interruption = Interruption(stop, start.budget.hours)
    try:
        with interruption, narrator:
            carry_out(run, start, narrator, stop, known)
    except KeyboardInterrupt:
        if not interruption.code and not stop.reason:
            raise
    except SystemExit:  # nobody reads what it says any more
        say(f"stopped; nothing finished is lost, go on with: {_again(run)}", err=True)
        raise
    finally:
        stop.clear()
    state = state_of(run)
    narrator.conclude(state.finished is not None)
    if interruption.code and state.finished is None:
        say(f"stopped; nothing finished is lost, go on with: {_again(run)}", err=True)
        raise SystemExit(interruption.code)
    show(run, state, stop.reason, start.budget)


def _again(run: Run) -> str:
    return f"expander search --run {run.folder.name} --resume"


def show(run: Run, state: State, reason: str = "", budget: Budget | None = None) -> None:
    """The trajectory, where its files are, what was spent, and the last line.

    reason: why an unfinished search stopped. Raises TargetError for one that failed or ran out of its
    budget, SystemExit for one that finished with failures.
    """
    from expander.cli.output.narration import spent_text
    from expander.cli.report import draw
    from expander.report.tables import trajectory_text
    from expander.search.accounting import total

    say(trajectory_text(run))
    if state.path:
        say(f"figure: {draw(run)}\nspec: {run.folder / 'specs' / 'final.yaml'}")
    say(spent_text(total(run.events())))
    if state.finished is None:
        raise TargetError(f"{reason}{_limits(budget)}, the target is not reached; "
                          f"go on with: {_again(run)}{_more(budget)}")  # fmt: skip
    _conclude(run, state)


def _limits(budget: Budget | None) -> str:
    given = _set(budget)
    return f" ({', '.join(f'{option} {value:g}' for option, value in given)})" if given else ""


def _more(budget: Budget | None) -> str:
    return "".join(f" {option} MORE" for option, _ in _set(budget))


def _set(budget: Budget | None) -> list[tuple[str, float]]:
    values = ((option, getattr(budget, key, None)) for option, key in BUDGET.items())
    return [(f"--{option.replace('_', '-')}", value) for option, value in values if value is not None]


def _conclude(run: Run, state: State) -> None:
    """The last line, and the exit code of a run that ended badly or with failures."""
    assert state.finished is not None
    if state.finished.outcome == "failed":
        raise TargetError(f"{state.finished.reason}; the journal {run.journal} keeps what was done")
    say(f"{state.finished.outcome}: {state.finished.reason}")
    if state.failures:
        say(f"{state.failures} trials failed; see {run.journal}", err=True)
        raise SystemExit(4)


def train(
    run: Run,
    start: RunStarted,
    name: str,
    kind: str,
    target: float,
    specs: Sequence[Candidate],
    step: int,
    backend: str | None,
    seeds: int | None = None,
) -> list[ComparisonTrial]:
    """Trains what is new of `specs`, a line each, and keeps it in the file `name` of the run folder.

    seeds: how many of each; as many as the run has for a candidate when None. The caller holds the run's
    lock. Raises DataError when the data have changed since the run began.
    """
    from expander.engine.comparisons import try_out
    from expander.engine.search import backend_of, check_data

    kinds: dict[str, Any] = {"kind": backend} if backend else {}
    config = replace(start.backend, **kinds)

    def on_result(tried: ComparisonTrial) -> None:
        if tried.result is not None:
            say(f"{tried.name} seed {tried.seed}: {tried.result.accuracy:.1%}", err=True)
        elif tried.failure is not None:
            say(f"{tried.name} seed {tried.seed} failed: {tried.failure.reason}", err=True)

    check_data(run, start)
    file = run.folder / name
    return try_out(run, start, file, kind, target, specs, step, lambda: backend_of(config), on_result, seeds)
