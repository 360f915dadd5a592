"""The loop of a search with a formula in place of trainings: budgets, stops, results taken over, spending."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from searches import began, formula, problem

from expander.backends.base import Report
from expander.config.settings import Budget, Recipe
from expander.engine.loop import Stop, search
from expander.runs.cache import key_of, results
from expander.runs.events import Event, StepPlanned, TrialFinished
from expander.runs.journal import Run
from expander.runs.orders import TrialOrder
from expander.runs.trials import TrialFailure, TrialResult
from expander.search.accounting import Spent, by_trial, total
from expander.specs.cost import cost

CLIPS, SECONDS, GPUS = 10, 1.5, 0.5


class Formula:
    """A backend whose trials take no time. asked: the ids of the trials that it was given."""

    def __init__(self, fails: Sequence[str] = ()) -> None:
        self.asked: list[str] = []
        self.fails = fails

    def __enter__(self) -> Formula:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(self, orders: Sequence[TrialOrder], report: Report) -> None:
        for order in orders:
            self.asked.append(order.trial.id)
            if order.trial.axis in self.fails:
                report(TrialFailure(order.trial.id, "the loss is nan", SECONDS, GPUS))
            else:
                outcome = formula(order.trial)
                assert isinstance(outcome, TrialResult)
                report(replace(outcome, gpus=GPUS))


def new(folder: Path, budget: Budget | None = None) -> Run:
    run = Run(folder)
    run.create()
    run.append(replace(began(problem()), budget=budget or Budget()))
    return run


def ignore(event: Event, state: object) -> None:
    """A listener that does nothing."""


def without_source(events: Sequence[Event]) -> list[Event]:
    return [replace(e, reused_from="") if isinstance(e, TrialFinished) else e for e in events]


def test_a_budget_of_trials_stops_exactly_there_and_a_larger_one_goes_on_to_the_same_end(
    tmp_path: Path,
) -> None:
    whole, backend = new(tmp_path / "whole"), Formula()
    assert search(whole, backend, ignore).finished is not None
    run = new(tmp_path / "run", Budget(trials=1))
    asked: list[str] = []
    for budget in (None, Budget(trials=5), Budget(trials=9), Budget()):
        part, stop = Formula(), Stop(run)
        state = search(run, part, ignore, stop, budget)
        asked += part.asked
        spent = total(run.events()).trials
        if state.finished is None:
            assert spent == (budget.trials if budget else 1)
            assert stop.reason == "the budget is spent"
    assert asked == backend.asked
    assert run.events()[1:] == whole.events()[1:]


def test_a_budget_of_gpu_hours_counts_seconds_times_gpus(tmp_path: Path) -> None:
    """Each trial takes 0.75 GPU seconds: the fourth reaches 3 of them; its step was given whole."""
    run = new(tmp_path, Budget(gpu_hours=3 / 3600))
    stop = Stop(run)
    assert search(run, Formula(), ignore, stop).finished is None
    assert stop.reason == "the budget is spent"
    assert stop.file.exists()
    assert total(run.events()).gpu_seconds >= 3


def test_a_stop_file_that_somebody_made_stops_the_search(tmp_path: Path) -> None:
    run, backend = new(tmp_path), Formula()
    stop = Stop(run)
    stop.file.touch()
    assert search(run, backend, ignore, stop).finished is None
    assert backend.asked == []


def test_a_second_identical_search_trains_nothing(tmp_path: Path) -> None:
    first, second, backend = new(tmp_path / "a"), new(tmp_path / "b"), Formula()
    search(first, Formula(), ignore)
    state = search(second, backend, ignore, known=results(first))
    assert state.finished is not None
    assert backend.asked == []
    assert without_source(second.events()) == first.events()
    sources = [e.reused_from for e in second.events() if isinstance(e, TrialFinished)]
    assert all(source.startswith("a:s") for source in sources)
    third = new(tmp_path / "c")
    search(third, backend, ignore, known=results(second))
    assert [e.reused_from for e in third.events() if isinstance(e, TrialFinished)] == sources


def test_failures_are_not_taken_over(tmp_path: Path) -> None:
    first, backend = new(tmp_path / "a"), Formula()
    search(first, Formula(fails=["depth"]), ignore)
    search(new(tmp_path / "b"), backend, ignore, known=results(first))
    assert any("-depth-" in trial for trial in backend.asked)


@pytest.mark.parametrize("change", ["seed", "until", "recipe", "data", "classes", "spec"])
def test_a_key_depends_on_all_that_decides_a_result(tmp_path: Path, change: str) -> None:
    run, backend = new(tmp_path), Formula()
    search(run, backend, ignore)
    planned = next(event for event in run.events() if isinstance(event, StepPlanned) and event.step == 1)
    from expander.search.controller import trials

    trial, *others = trials(problem(), planned)
    recipe = Recipe()
    same = replace(trial, id="another", step=7, axis="base")
    key = key_of(trial, recipe, "f00d", ("a", "b"))
    assert key_of(same, recipe, "f00d", ("a", "b")) == key
    assert key_of(replace(trial, until=recipe.steps), recipe, "f00d", ("a", "b")) == key
    assert key != {
        "seed": key_of(replace(trial, seed=1), recipe, "f00d", ("a", "b")),
        "until": key_of(replace(trial, until=5), recipe, "f00d", ("a", "b")),
        "recipe": key_of(trial, replace(recipe, lr=0.2), "f00d", ("a", "b")),
        "data": key_of(trial, recipe, "beef", ("a", "b")),
        "classes": key_of(trial, recipe, "f00d", ("a", "c")),
        "spec": key_of(others[0], recipe, "f00d", ("a", "b")),
    }[change]


def test_what_was_spent_adds_up_by_trial_and_run(tmp_path: Path) -> None:
    run = new(tmp_path)
    search(run, Formula(fails=["width"]), ignore)
    events = run.events()
    trials = by_trial(events)
    count = sum(spent.trials for spent in trials.values())
    failed = sum("-width-" in name for name in trials)
    assert failed > 0
    all_macs = 0
    for event in events:
        if isinstance(event, StepPlanned):
            done = [c for c in event.candidates if c.axis != "width"]
            all_macs += sum(CLIPS * cost(c.spec).macs for c in done)
    clips, seconds = CLIPS * (count - failed), SECONDS * count
    expected = Spent(count, failed, 0, seconds, GPUS * seconds, clips, all_macs)
    assert total(events) == expected
