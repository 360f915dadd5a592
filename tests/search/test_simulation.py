"""Simulated searches against the forecast, which counts by another way, and by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from searches import problem

from expander.search.cluster_places import Cluster, Loss, Places, Terms
from expander.search.controller import State
from expander.search.forecast import TrainingSpeed, forecast
from expander.search.simulation import simulate
from expander.specs.cost import cost

PACE = TrainingSpeed(fixed=5.0, per_clip=0.0, per_mac=0.0, videos=50, parallel=1)
"""Every trial takes 5 seconds."""


def run(nodes: int, seed: int = 0, **rule: object):  # type: ignore[no-untyped-def]
    given = problem()
    given = replace(given, selection=replace(given.selection, **rule))
    return given, simulate(given, cost, PACE, Places(Cluster(nodes, 1), Terms()), seed)


def test_on_one_place_it_is_the_forecast() -> None:
    given, steps = run(1)
    ahead = forecast(given, State(), cost, PACE)
    assert sum(step.trials for step in steps) == ahead.trials
    assert sum(step.seconds for step in steps) == pytest.approx(ahead.seconds)


def test_on_places_for_all_a_step_takes_as_long_as_a_trial() -> None:
    _, steps = run(6)
    assert [step.seconds for step in steps] == [5.0] * len(steps)
    assert steps[0].kind == "base"
    assert [step.held for step in steps] == [5.0 * step.trials for step in steps]


def test_six_candidates_on_four_places_take_two_rounds() -> None:
    _, steps = run(4)
    assert [(step.trials, step.seconds) for step in steps[1:3]] == [(6, 10.0), (6, 10.0)]


def test_videos_opened_are_clips_and_the_validation_list() -> None:
    given, steps = run(1)
    recipe = given.space.proxy
    assert steps[0].opened == recipe.steps * recipe.batch + 50


def test_races_and_rungs_are_those_of_a_search() -> None:
    """At most two seeds of six; at rungs nobody trains a clip twice, so clips stay below a whole training."""
    _, raced = run(1, max_seeds=2, seed_spread=0.08)
    assert 6 < raced[1].trials <= 12
    given, steps = run(1, rungs=(0.5,))
    recipe = given.space.proxy
    trained = steps[1].opened - 50 * steps[1].trials
    assert trained <= 6 * recipe.steps * recipe.batch
    assert trained >= 3 * recipe.steps * recipe.batch


def test_the_same_seed_gives_the_same_course() -> None:
    assert run(2, seed=3, max_seeds=3, seed_spread=0.08) == run(2, seed=3, max_seeds=3, seed_spread=0.08)


def test_a_loss_makes_a_search_longer_by_what_was_lost() -> None:
    """The base is lost after 3 of its 5 seconds, without a checkpoint, and its node is back 10 later."""
    places = Places(Cluster(1, 1), Terms(away=10.0), [Loss(3.0, 0)])
    steps = simulate(problem(), cost, PACE, places)
    assert steps[0].seconds == 3 + 10 + 5
    assert steps[0].held == 8


def test_a_base_that_is_lost_too_often_ends_the_search() -> None:
    places = Places(Cluster(1, 1), Terms(retries=0), [Loss(3.0, 0)])
    (step,) = simulate(problem(), cost, PACE, places)
    assert (step.trials, step.failed, step.seconds) == (1, 1, 3.0)
