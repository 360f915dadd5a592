"""A search that ends by training a contraction along every axis."""

from __future__ import annotations

from dataclasses import replace

import pytest
from searches import EXACT, carry_on, ending, event_of, formula, problem, search
from test_contraction import published

from expander.config.ceilings import Ceilings
from expander.runs.events import Candidate, Contracted, StepPlanned, TrialFinished
from expander.search.contraction import contract, finalists
from expander.search.controller import ask, replay, tell
from expander.search.forecast import TrainingSpeed, forecast
from expander.specs.cost import cost
from expander.specs.cost_kinds import Cost
from expander.specs.spec import Spec


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


def test_what_breaks_a_limit_is_no_way_to_end() -> None:
    """Odd numbers of frames take ten times as long, over the limit: another axis is contracted, or none."""

    def price(spec: Spec) -> Cost:
        return replace(cost(spec), latency_ms=10.0 if spec.frames % 2 and spec.frames > 1 else 1.0)

    rule = replace(EXACT, contraction="trained")
    for target in (2.5, 3.0, 5.0, 7.0):
        given = problem(target=target, selection=rule, ceilings=Ceilings(latency=5.0))
        state = replay([])
        while step := ask(given, state, price):
            events = [event_of(t, formula(t)) for t in step] if isinstance(step, tuple) else [step]
            for event in events:
                state = tell(state, event)
        assert state.finished is not None
        assert all(price(candidate.spec).latency_ms == 1.0 for candidate in state.path)
        assert state.finished.outcome in ("target", "limit")


def test_after_the_contraction_nothing_is_ahead() -> None:
    given = problem(target=3, selection=replace(EXACT, contraction="trained"))
    events = search(given)
    pace = TrainingSpeed(1.0, 1.0, 0.0, 10, 1)
    planned = next(n for n, e in enumerate(events) if isinstance(e, StepPlanned) and e.kind == "contraction")
    ways = len(replay(events[: planned + 1]).planned.candidates)  # type: ignore[union-attr]
    states = [replay(events[:count]) for count in range(planned, len(events))]
    left = [forecast(given, state, cost, pace).trials for state in states]
    assert left == [ways, *range(ways, -1, -1), 0]


@pytest.mark.parametrize("contraction", ["trained", "nearest"])
def test_a_search_that_overshoots_goes_on_from_every_prefix_of_its_journal(contraction: str) -> None:
    rule = replace(EXACT, contraction="nearest" if contraction == "nearest" else "trained", base_seeds=2)
    given = problem(target=3, selection=rule)
    events = search(given)
    for count in range(1, len(events)):
        assert carry_on(given, events[:count]) == events


def test_a_runner_up_as_good_as_the_winner_is_contracted_in_its_place() -> None:
    path = published()
    target = 0.97 * path[-1].cost.macs
    now = path[-2].spec
    specs = {axis: now.with_factor(axis, 2.5 * getattr(now, axis)) for axis in ("depth", "bottleneck")}
    runners = [Candidate(axis, spec, cost(spec), 2.0) for axis, spec in specs.items()]
    found = {c.axis: c for c in finalists(path, runners, target, cost, tied=["depth"])}
    assert "cut_bottleneck" not in found
    best = contract([*path[:-1], runners[0]], target, cost, "best").candidate
    assert found["cut_depth"].spec == best.spec
    assert found["cut_depth"].ratio == best.cost.macs / path[-1].cost.macs
    assert 0.95 * target <= best.cost.macs <= target
