"""Schedules on a cluster against those made by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expander.search.cluster_places import DAY, Cluster, Loss, Places, Terms, losses

PAIR = Cluster(nodes=2, places=2)
TERMS = Terms(start=0.0, checkpoint=4.0, retries=1, away=100.0)


def test_six_equal_trials_on_four_places_take_two_rounds() -> None:
    places = Places(PAIR, TERMS)
    assert [end.held for end in places.run([10.0] * 6)] == [10.0] * 6
    assert places.now == 20


def test_unequal_trials_fill_what_becomes_free() -> None:
    """On 2 places, 7 and 3 begin; 4 follows on the place of 3 and ends at 7 as well; then 1: 8."""
    places = Places(Cluster(1, 2), TERMS)
    places.run([7.0, 3.0, 4.0, 1.0])
    assert places.now == 8


def test_a_worker_starts_once_for_all_trials_of_its_place_and_anew_in_the_next_round() -> None:
    places = Places(Cluster(1, 1), Terms(start=6.0))
    assert [end.held for end in places.run([10.0, 10.0])] == [16.0, 10.0]
    places.run([10.0])
    assert places.now == 42


def test_a_lost_node_costs_what_was_done_since_the_last_checkpoint() -> None:
    """Two trials of 10 on two nodes of one place; node 0 goes at 6, with 4 saved. At 10 the other place is
    free and does the 6 that are left: 16."""
    places = Places(Cluster(2, 1), TERMS, [Loss(6.0, 0)])
    ends = places.run([10.0, 10.0])
    assert places.now == 16
    assert [end.held for end in ends] == [12.0, 10.0]
    assert places.lost == 1


def test_without_another_node_a_trial_waits_for_its_own_to_return() -> None:
    places = Places(Cluster(1, 1), TERMS, [Loss(6.0, 0)])
    places.run([10.0])
    assert places.now == 6 + 100 + 6


def test_a_trial_that_is_lost_more_often_than_it_may_be_before_a_checkpoint_fails() -> None:
    places = Places(Cluster(1, 1), TERMS, [Loss(3.0, 0), Loss(104.0, 0)])
    (end,) = places.run([10.0])
    assert not end.finished
    assert end.held == 4.0


def test_losses_after_a_checkpoint_or_another_trial_do_not_count() -> None:
    """On one place, 4 of 10 are saved before each of two losses: 6, 4.5 and 2. Two losses before a checkpoint
    are one too many, unless the round came on between them: another trial ends at 2."""
    places = Places(Cluster(1, 1), TERMS, [Loss(6.0, 0), Loss(110.5, 0)])
    assert [end.held for end in places.run([10.0])] == [12.5]
    places = Places(Cluster(2, 1), TERMS, [Loss(1.0, 1), Loss(3.0, 0)])
    assert [end.finished for end in places.run([2.0, 10.0])] == [True, True]
    places = Places(Cluster(1, 1), Terms(retries=0, checkpoint=1.0), [Loss(6.0, 0)])
    assert not places.run([10.0])[0].finished


def test_a_node_that_is_away_cannot_be_lost() -> None:
    places = Places(Cluster(1, 1), TERMS, [Loss(6.0, 0), Loss(50.0, 0)])
    assert places.run([10.0])[0].finished
    assert places.lost == 1


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=20), st.integers(1, 4), st.integers(1, 4))
def test_a_schedule_lies_between_the_known_bounds(seconds: list[float], nodes: int, each: int) -> None:
    """At least the longest trial and the mean load, at most the sum of both (Graham 1966)."""
    places = Places(Cluster(nodes, each), TERMS)
    held = sum(end.held for end in places.run(seconds))
    load = sum(seconds) / (nodes * each)
    assert held == pytest.approx(sum(seconds))
    assert max(*seconds, load) - 1e-6 <= places.now <= load + max(seconds) + 1e-6


def test_losses_come_at_the_given_rate_to_every_node() -> None:
    """Twice a day each, 4 nodes, 1000 losses: 125 days, with a deviation of 4."""
    found = losses(Cluster(4, 1), 2.0, seed=0)
    some = [next(found) for _ in range(1000)]
    assert some[-1].at / DAY == pytest.approx(125, abs=12)
    assert {loss.node for loss in some} == {0, 1, 2, 3}
