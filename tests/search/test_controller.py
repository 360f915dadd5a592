"""The whole search with a formula for the accuracy: ask, tell, replay, and how it ends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from searches import (
    EXACT,
    SMALL,
    began,
    carry_on,
    chosen,
    ending,
    event_of,
    failing,
    formula,
    outcome,
    problem,
    search,
)

from expander.config.space import AxisRule, SearchSpace, load_space
from expander.runs.events import (
    Contracted,
    Event,
    RunFinished,
    SourceLimits,
    StepChosen,
    StepPlanned,
    TrialFailed,
)
from expander.runs.trials import Trial, TrialFailure
from expander.search.controller import State, ask, replay, tell, trials
from expander.search.selection import Outcome
from expander.specs.cost import cost
from expander.specs.spec import AXES


def test_a_search_grows_to_its_target() -> None:
    given = problem()
    events = search(given)
    state = replay(events)
    assert ending(events).outcome == "target"
    assert state.path[0].spec == given.space.start
    assert 0.9 * given.target <= state.path[-1].cost.macs <= given.target
    assert len(state.path) == len(state.accuracies) == len(chosen(events))
    assert list(state.accuracies[:-1]) == sorted(state.accuracies[:-1])


def test_each_step_trains_one_candidate_per_axis_that_can_move() -> None:
    for event in search(problem()):
        if isinstance(event, StepPlanned) and event.kind == "expansion":
            seen = [c.axis for c in event.candidates] + [r.axis for r in event.rejected]
            assert sorted(seen) == sorted(AXES)


def test_the_axis_that_gains_most_per_doubling_wins_the_step() -> None:
    """One axis is worth more than all others together."""
    for best in AXES:

        def train(trial: Trial, best: str = best) -> Outcome:
            return outcome(trial, 0.3 + 0.1 * math.log2(getattr(trial.spec, best)))

        assert chosen(search(problem(target=2.5), train))[:2] == ["base", best]


def test_gain_prefers_the_cheaper_step_where_accuracy_takes_the_dearer_one() -> None:
    """Twice the crop costs 4 times as much for 6 points, a doubled depth less for 5."""
    rules = {"spatial": AxisRule(2.0, 4), "depth": AxisRule(2.0, 4)}
    space = SearchSpace(rules, SMALL)

    def train(trial: Trial) -> Outcome:
        return outcome(trial, 0.3 + 0.06 * (trial.spec.spatial > 1) + 0.05 * (trial.spec.depth > 1))

    winners = {}
    for score in ("gain", "accuracy"):
        rule = replace(EXACT, score=score)  # type: ignore[arg-type]
        winners[score] = chosen(search(problem(space=space, selection=rule, max_steps=1), train))[1]
    assert winners == {"gain": "depth", "accuracy": "spatial"}


def test_along_the_published_winners_the_search_ends_at_x3d_s() -> None:
    """The formula makes the axes win in the order of the published path; the rest is computed."""
    order = ("bottleneck", "frame_rate", "spatial", "temporal", "depth", "frame_rate", "temporal")
    limits = SourceLimits(300, 320)
    given = replace(problem(space=load_space("x3d"), limits=limits), target=2_000_000_000)

    def train(trial: Trial) -> Outcome:
        wins = trial.axis in ("base", order[min(trial.step, len(order)) - 1])
        return outcome(trial, 0.1 * trial.step + 0.1 * wins)

    events = search(given, train)
    assert chosen(events) == ["base", *order, "temporal"]
    path = replay(events).path
    assert path[5].cost.macs == 605_256_512
    final = path[-1]
    assert final.cost.macs == 1_962_892_112
    assert (final.spec.frames, final.spec.stride, final.spec.crop) == (13, 6, 160)
    assert ending(events).outcome == "target"


def test_ask_twice_gives_the_same_trials() -> None:
    given = problem()
    events = search(given)
    for count in range(len(events) + 1):
        state = replay(events[:count])
        once = ask(given, state, cost)
        assert ask(given, state, cost) == once
        assert state == replay(events[:count])


def test_the_same_formula_gives_the_same_journal() -> None:
    assert search(problem()) == search(problem())


def test_every_prefix_of_a_journal_goes_on_to_the_same_end() -> None:
    given = problem(target=3, selection=replace(EXACT, seeds=2, resamples=100))
    events = search(given, failing("width"))
    for count in range(1, len(events) + 1):
        assert carry_on(given, events[:count], failing("width")) == events


def test_ask_after_a_replay_of_any_prefix_is_what_was_asked_at_the_time() -> None:
    given = problem(target=6)
    state, asked, history = replay([began(given)]), [], [began(given)]
    while step := ask(given, state, cost):
        asked.append(step)
        event = event_of(step[-1], formula(step[-1])) if isinstance(step, tuple) else step
        history.append(event)
        state = tell(state, event)
    assert [ask(given, replay(history[:count]), cost) for count in range(1, len(history))] == asked


def test_the_order_in_which_trials_end_does_not_matter() -> None:
    given = problem(target=6)

    def last_first(events: Sequence[Event]) -> list[Event]:
        state, history = replay(events), list(events)
        while step := ask(given, state, cost):
            event = event_of(step[-1], formula(step[-1])) if isinstance(step, tuple) else step
            history.append(event)
            state = tell(state, event)
        return history

    decided = [e for e in search(given) if isinstance(e, StepPlanned | StepChosen | Contracted | RunFinished)]
    backwards = last_first([began(given)])
    assert [event for event in backwards if type(event) in {type(e) for e in decided}] == decided


def test_trials_already_done_are_not_asked_for_again() -> None:
    given = problem()
    state = replay([began(given)])
    while not (isinstance(step := ask(given, state, cost), tuple) and len(step) > 1):
        state = tell(state, event_of(step[0], formula(step[0])) if isinstance(step, tuple) else step)
    for done in range(len(step)):
        asked = ask(given, state, cost)
        assert asked == step[done:]
        state = tell(state, event_of(step[done], formula(step[done])))
    assert isinstance(ask(given, state, cost), StepChosen)


def test_a_base_within_the_tolerance_of_the_target_ends_the_search() -> None:
    for share in (1.0, 1.05):
        events = search(problem(target=share))
        assert chosen(events) == ["base"]
        assert ending(events).outcome == "target"


def test_a_base_just_outside_the_tolerance_is_expanded() -> None:
    assert len(chosen(search(problem(target=1.06)))) > 1


def test_an_overshot_target_is_contracted_and_trained_again() -> None:
    given = problem(target=5)
    events = search(given)
    position = next(i for i, event in enumerate(events) if isinstance(event, Contracted))
    before = replay(events[:position])
    contracted, planned = events[position], events[position + 1]
    assert isinstance(contracted, Contracted)
    assert isinstance(planned, StepPlanned)
    assert before.path[-1].cost.macs > given.target
    assert contracted.target == given.target
    assert planned.kind == "contraction"
    assert planned.candidates == (contracted.candidate,)
    assert replay(events).path[-1] == contracted.candidate
    assert contracted.candidate.cost.macs <= given.target
    assert ending(events).outcome == "target"


@pytest.mark.parametrize("most", [0, 1, 2])
def test_max_steps_counts_expansions_without_the_base(most: int) -> None:
    events = search(problem(target=100, max_steps=most))
    assert len(chosen(events)) == most + 1
    assert ending(events).outcome == "limit"
    assert str(most) in ending(events).reason


def test_the_search_ends_where_no_axis_can_move_and_says_why() -> None:
    space = SearchSpace({"depth": AxisRule(2.0, 2), "temporal": AxisRule(2.0, 8)}, SMALL)
    events = search(problem(target=1000, space=space, limits=SourceLimits(16, 128)))
    assert sorted(chosen(events)) == ["base", "depth", "temporal"]
    assert ending(events).outcome == "limit"
    assert "depth: factor 4 is over the axis's limit 2" in ending(events).reason
    assert "temporal: clip of 32 source frames, the videos have 16" in ending(events).reason


def test_when_every_trial_of_a_step_fails_the_run_fails_and_keeps_its_path() -> None:
    events = search(problem(), failing(*AXES, reason="out of memory"))
    assert ending(events).outcome == "failed"
    assert ending(events).step == 1
    assert "out of memory" in ending(events).reason
    assert chosen(events) == ["base"]
    assert len(replay(events).path) == 1


def test_a_base_that_fails_ends_the_run() -> None:
    events = search(problem(), failing("base"))
    assert ending(events).outcome == "failed"
    assert replay(events).path == ()


def test_failed_candidates_are_counted_and_never_win() -> None:
    events = search(problem(), failing("temporal", "frame_rate"))
    assert not {"temporal", "frame_rate"} & set(chosen(events))
    failures = sum(isinstance(event, TrialFailed) for event in events)
    assert replay(events).failures == failures > 0
    for event in events:
        if isinstance(event, StepChosen) and event.step and len(event.standings) > 2:
            assert [s.axis for s in event.standings if s.failed] == ["temporal", "frame_rate"]


def test_one_failed_seed_fails_its_candidate() -> None:
    def train(trial: Trial) -> Outcome:
        broken = trial.axis == "temporal" and trial.seed == 1
        return TrialFailure(trial.id, "killed") if broken else formula(trial)

    events = search(problem(selection=replace(EXACT, seeds=2)), train)
    assert "temporal" not in chosen(events)


def test_seeds_are_paired_across_candidates_and_counted_from_the_runs_seed() -> None:
    given = problem(seed=40, selection=replace(EXACT, seeds=3))
    planned = [event for event in search(given) if isinstance(event, StepPlanned)]
    for step in planned:
        wanted = trials(given, step)
        seeds = {c.axis: [t.seed for t in wanted if t.axis == c.axis] for c in step.candidates}
        assert all(of_axis == [40, 41, 42] for of_axis in seeds.values())
        assert len({trial.id for trial in wanted}) == 3 * len(step.candidates)
        assert all(trial.spec.id in trial.id for trial in wanted)


def test_accuracy_of_a_step_is_the_mean_over_its_seeds() -> None:
    def train(trial: Trial) -> Outcome:
        return outcome(trial, 0.25 + 0.5 * trial.seed)

    events = search(problem(target=1.0, selection=replace(EXACT, seeds=2)), train)
    assert replay(events).accuracies == (0.5,)


def test_a_finished_search_asks_for_nothing() -> None:
    given = problem(target=1.0)
    assert ask(given, replay(search(given)), cost) == ()


def test_nothing_follows_the_end_of_a_run() -> None:
    events = search(problem(target=3))
    for event in events:
        with pytest.raises(ValueError, match=f"{event.event} after run_finished"):
            tell(replay(events), event)


def test_a_winner_of_which_no_trial_was_told_is_refused() -> None:
    events = search(problem(target=3))
    choice = next(event for event in events if isinstance(event, StepChosen))
    for state in (State(), replay(events[:2])):
        with pytest.raises(ValueError, match="no trial finished"):
            tell(state, choice)
