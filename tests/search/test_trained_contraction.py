"""A search that ends by training a contraction along every axis."""

from __future__ import annotations

from dataclasses import replace

import pytest
from searches import EXACT, carry_on, ending, problem, search

from expander.runs.events import Contracted, StepPlanned, TrialFinished
from expander.search.controller import replay


def test_contractions_along_every_axis_are_trained_and_chosen_from_as_in_a_step() -> None:
    given = problem(target=3, selection=replace(EXACT, contraction="trained"))
    events = search(given)
    planned = next(e for e in events if isinstance(e, StepPlanned) and e.kind == "contraction")
    state = replay(events)
    assert len(planned.candidates) >= 2
    assert not any(isinstance(event, Contracted) for event in events)
    assert all(0.95 * given.target <= c.cost.macs <= given.target for c in planned.candidates)
    assert state.path[-1] in planned.candidates
    finished = [e.result for e in events if isinstance(e, TrialFinished) and e.step == planned.step]
    assert len(finished) == len(planned.candidates)
    assert state.accuracies[-1] == max(result.accuracy for result in finished)
    assert ending(events).outcome == "target"
    assert ending(events).step == planned.step + 1


@pytest.mark.parametrize("contraction", ["trained", "nearest"])
def test_a_search_that_overshoots_goes_on_from_every_prefix_of_its_journal(contraction: str) -> None:
    rule = replace(EXACT, contraction="nearest" if contraction == "nearest" else "trained", base_seeds=2)
    given = problem(target=3, selection=rule)
    events = search(given)
    for count in range(1, len(events)):
        assert carry_on(given, events[:count]) == events
