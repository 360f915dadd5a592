"""Searches of several seeds: which may fail, and that the order in which they end decides nothing."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from searches import EXACT, began, ending, event_of, formula, noisy, problem, search

from expander.runs.events import StepChosen
from expander.runs.trials import Trial, TrialFailure
from expander.search.controller import ask, replay, tell
from expander.search.selection import Outcome
from expander.specs.cost import cost
from expander.specs.spec import AXES


@pytest.mark.parametrize("failed", [{2}, {0}, {1, 2}, {0, 1, 2}])
def test_further_seeds_of_the_base_may_fail_but_not_all_that_a_candidate_has(failed: set[int]) -> None:
    def train(trial: Trial) -> Outcome:
        bad = trial.axis == "base" and trial.seed in failed
        return TrialFailure(trial.id, "out of memory") if bad else formula(trial)

    events = search(problem(target=1.0, selection=replace(EXACT, base_seeds=3)), train)
    assert ending(events).outcome == ("failed" if len(failed) == 3 else "target")


def test_the_order_in_which_trials_of_several_seeds_end_decides_nothing() -> None:
    """To the last digit: the spread between seeds is a sum."""
    rule = replace(EXACT, seeds=3, seed_spread=0.08)
    given = problem(target=3, selection=rule)
    train = noisy(**dict.fromkeys(AXES, 0.3))
    ends = []
    for shuffled in range(4):
        state, choices = replay([began(given)]), []
        while step := ask(given, state, cost):
            events = [event_of(t, train(t)) for t in step] if isinstance(step, tuple) else [step]
            random.Random(shuffled).shuffle(events)
            choices += [event for event in events if isinstance(event, StepChosen)]
            for event in events:
                state = tell(state, event)
        ends.append(choices)
    assert all(end == ends[0] for end in ends)
