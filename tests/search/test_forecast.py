"""The forecast against a count by hand, with a formula for the cost."""

from __future__ import annotations

from dataclasses import replace

import pytest
from searches import EXACT

from expander.config.settings import BackendConfig, DataConfig, Recipe
from expander.config.space import AxisRule, SearchSpace
from expander.runs.events import (
    Candidate,
    Problem,
    RunFinished,
    RunStarted,
    SourceLimits,
    StepChosen,
    StepPlanned,
    TrialFinished,
)
from expander.runs.trials import TrialResult
from expander.search.controller import State, ask, replay, tell, trials
from expander.search.forecast import Forecast, TrainingSpeed, forecast
from expander.specs.cost_kinds import Cost
from expander.specs.spec import Base, Spec

# Per trial: 10 steps x 4 clips, and a third of 6 videos x 2 views: 40 + 4 clips.
RECIPE = Recipe(steps=10, batch=4, views=2)
PACE = TrainingSpeed(fixed=5.0, per_clip=0.25, per_mac=0.01, videos=6, parallel=1)


def price(spec: Spec) -> Cost:
    """Every axis multiplies the cost: 100 at the base, 7 parameters always."""
    return Cost(100 * spec.frames * spec.depths[0], 7, 1)


def seconds(macs: float) -> float:
    return 5.0 + 44 * (0.25 + 0.01 * macs)


def problem(target: int, seeds: int = 1, max_steps: int | None = None) -> Problem:
    """Two axes that double the cost: two candidates a step."""
    axes = {"temporal": AxisRule(2.0, 64), "depth": AxisRule(2.0, 64)}
    space = SearchSpace(axes, Base(frames=1, depths=(1,)), proxy=RECIPE)
    limits = SourceLimits(10_000, 1000)
    return Problem(space, target, limits, replace(EXACT, seeds=seeds), max_steps=max_steps)


def base_done(given: Problem) -> State:
    """The state after the base was trained, before step 1 is planned."""
    start = Candidate("base", given.space.start, price(given.space.start), 1.0)
    planned = StepPlanned(0, "base", (start,))
    started = RunStarted(given, DataConfig(), BackendConfig(), "f00d", ("a",))
    done = [TrialFinished(0, result(trial.id)) for trial in trials(given, planned)]
    return replay([started, planned, *done, StepChosen(0, start, 0.5, ())])


def result(trial: str) -> TrialResult:
    return TrialResult(trial, 0.5, 1.0, 1.0, 4, "c", clips=40, seconds=9.0)


def test_a_trial_takes_its_fixed_time_and_its_clips() -> None:
    assert PACE.seconds(problem(100), 300) == pytest.approx(seconds(300))


def test_validation_costs_a_third_of_training_per_clip() -> None:
    more = replace(PACE, videos=PACE.videos + 3)
    assert more.seconds(problem(100), 300) - PACE.seconds(problem(100), 300) == pytest.approx(
        3 * 2 / 3 * (0.25 + 0.01 * 300)
    )


def test_a_scaled_pace_takes_that_much_longer() -> None:
    assert PACE.scaled(3).seconds(problem(100), 300) == pytest.approx(3 * seconds(300))


def test_to_four_times_the_base_it_takes_the_base_and_two_steps() -> None:
    """The base at 100; two candidates at 200; two at 400, which is the target."""
    found = forecast(problem(400), State(), price, PACE)
    assert (found.steps, found.trials) == (2, 5)
    assert found.seconds == pytest.approx(seconds(100) + 2 * seconds(200) + 2 * seconds(400))
    assert found.disk == 5 * 7 * 4


def test_an_overshot_target_adds_the_trial_of_the_contraction() -> None:
    """400 is over 300, so the last one is contracted and trained again at about 300."""
    found = forecast(problem(300), State(), price, PACE)
    assert (found.steps, found.trials) == (2, 6)
    expected = seconds(100) + 2 * seconds(200) + 2 * seconds(400) + seconds(300)
    assert found.seconds == pytest.approx(expected)


def test_every_axis_may_be_contracted_and_the_base_has_seeds_of_its_own() -> None:
    """Two more of the base at 100, and three contractions, as spaces have them, instead of one."""
    given = problem(300)
    plain, full = (forecast(replace(given, selection=rule), State(), price, PACE)
                   for rule in (EXACT, replace(EXACT, base_seeds=3, contraction="trained")))  # fmt: skip
    assert full.trials == plain.trials + 2 + 2
    assert full.seconds == pytest.approx(plain.seconds + 2 * seconds(100) + 2 * seconds(300))


def test_a_target_within_the_tolerance_of_a_step_needs_no_further_one() -> None:
    assert forecast(problem(210), State(), price, PACE).steps == 1
    assert forecast(problem(211), State(), price, PACE).steps == 2


def test_every_seed_is_a_trial() -> None:
    found = forecast(problem(400, seeds=3), State(), price, PACE)
    assert (found.steps, found.trials) == (2, 15)
    assert found.seconds == pytest.approx(3 * (seconds(100) + 2 * seconds(200) + 2 * seconds(400)))


def test_max_steps_ends_it() -> None:
    found = forecast(problem(100_000, max_steps=2), State(), price, PACE)
    assert (found.steps, found.trials) == (2, 5)


def test_the_base_that_was_trained_is_not_counted_again() -> None:
    given = problem(400)
    found = forecast(given, base_done(given), price, PACE)
    assert (found.steps, found.trials) == (2, 4)
    assert found.seconds == pytest.approx(2 * seconds(200) + 2 * seconds(400))


@pytest.mark.parametrize("seeds", [1, 2])
def test_in_the_middle_of_a_step_only_its_open_trials_count(seeds: int) -> None:
    given = problem(400, seeds=seeds)
    state = base_done(given)
    planned = ask(given, state, price)
    assert isinstance(planned, StepPlanned)
    state = tell(state, planned)
    open_trials = trials(given, planned)
    assert len(open_trials) == 2 * seeds
    state = tell(state, TrialFinished(1, result(open_trials[0].id)))
    found = forecast(given, state, price, PACE)
    assert found.trials == (2 * seeds - 1) + 2 * seeds
    assert found.seconds == pytest.approx((2 * seeds - 1) * seconds(200) + 2 * seeds * seconds(400))


def test_workers_share_the_trials_of_a_step() -> None:
    found = forecast(problem(200), base_done(problem(200)), price, replace(PACE, parallel=2))
    assert found.seconds == pytest.approx(seconds(200))


def test_more_workers_than_a_step_has_trials_gain_nothing() -> None:
    """Steps follow one another: the base, then a pair at 200, then a pair at 400."""
    found = forecast(problem(400), State(), price, replace(PACE, parallel=1000))
    assert found.seconds == pytest.approx(seconds(100) + seconds(200) + seconds(400))


def test_nothing_is_left_of_a_finished_search() -> None:
    given = problem(400)
    state = tell(base_done(given), RunFinished(1, "limit", "asked"))
    assert forecast(given, state, price, PACE) == Forecast(0, 0, 0.0, 0)
