"""The whole search with a formula for the accuracy: ask, tell, replay, and how it ends."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from expander.bits import pack_bits
from expander.config import BackendConfig, DataConfig, Recipe, Selection
from expander.cost import cost
from expander.records import (
    Candidate,
    Contracted,
    Event,
    Problem,
    RunFinished,
    RunStarted,
    SourceLimits,
    StepChosen,
    StepPlanned,
    Trial,
    TrialFailed,
    TrialFailure,
    TrialFinished,
    TrialResult,
    from_json,
    to_json,
)
from expander.search.controller import State, ask, replay, tell, trials
from expander.search.selection import Outcome
from expander.space import AxisRule, SearchSpace, load_space
from expander.spec import AXES, Base, Spec
from expander.store import Run

JOURNAL_V1 = Path(__file__).parent / "assets" / "journal-v1.jsonl"
SMALL = Base(
    frames=1, stride=8, crop=32, stem_width=8, depths=(1, 2), head_width=16, classes=4,
    width_divisor=4, crop_divisor=8,
)  # fmt: skip
RULES = {
    "temporal": AxisRule(2.0, 8.0),
    "frame_rate": AxisRule(2.0, 8.0),
    "spatial": AxisRule("solve", 4.0),
    "width": AxisRule("solve", 8.0),
    "bottleneck": AxisRule("solve", 8.0),
    "depth": AxisRule("solve", 8.0),
}
VIDEOS = 200
WORTH = {
    "temporal": 0.07, "frame_rate": 0.06, "spatial": 0.05, "width": 0.03, "bottleneck": 0.04, "depth": 0.02,
}  # fmt: skip

Train = Callable[[Trial], Outcome]


def problem(target: float = 12, **changes: object) -> Problem:
    """A search to `target` times the base's cost."""
    space = SearchSpace(RULES, SMALL)
    start = Problem(
        space=space,
        target=int(target * cost(space.start).macs),
        limits=SourceLimits(64, 128),
        selection=Selection(resamples=200),
    )
    return replace(start, **changes)  # type: ignore[arg-type]


def outcome(trial: Trial, accuracy: float) -> TrialResult:
    """Right on the first videos, so that candidates are compared without noise."""
    right = round(accuracy * VIDEOS)
    bits = pack_bits(video < right for video in range(VIDEOS))
    return TrialResult(trial.id, right / VIDEOS, 2 - accuracy, 1.0, VIDEOS, bits, clips=10, seconds=1.5)


def formula(trial: Trial) -> Outcome:
    """Every axis helps by its worth with each doubling of its factor, ever less of it."""
    gains = (worth * math.log2(getattr(trial.spec, axis)) ** 0.7 for axis, worth in WORTH.items())
    return outcome(trial, 0.3 + sum(gains))


def failing(*axes: str, reason: str = "the loss is nan") -> Train:
    """The formula, but trials of some axes fail."""
    def train(trial: Trial) -> Outcome:
        return TrialFailure(trial.id, reason) if trial.axis in axes else formula(trial)

    return train


def began(given: Problem) -> RunStarted:
    return RunStarted(given, DataConfig(), BackendConfig(), "f00d", ("a", "b", "c", "d"))


def event_of(trial: Trial, result: Outcome) -> Event:
    if isinstance(result, TrialFailure):
        return TrialFailed(trial.step, result)
    return TrialFinished(trial.step, result)


def carry_on(given: Problem, events: Sequence[Event], train: Train = formula) -> list[Event]:
    """A search from where these events left it to its end, one trial at a time."""
    history, state = list(events), replay(events)
    while step := ask(given, state, cost):
        event = event_of(step[0], train(step[0])) if isinstance(step, tuple) else step
        history.append(event)
        state = tell(state, event)
        assert len(history) < 1000, "the search does not end"
    return history


def search(given: Problem, train: Train = formula) -> list[Event]:
    return carry_on(given, [began(given)], train)


def chosen(events: Sequence[Event]) -> list[str]:
    return [event.winner.axis for event in events if isinstance(event, StepChosen)]


def ending(events: Sequence[Event]) -> RunFinished:
    last = events[-1]
    assert isinstance(last, RunFinished)
    return last


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
        rule = Selection(score=score, resamples=200)  # type: ignore[arg-type]
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
    given = problem(target=3, selection=Selection(seeds=2, resamples=100))
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

    events = search(problem(selection=Selection(seeds=2, resamples=200)), train)
    assert "temporal" not in chosen(events)


def test_seeds_are_paired_across_candidates_and_counted_from_the_runs_seed() -> None:
    given = problem(seed=40, selection=Selection(seeds=3, resamples=200))
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

    events = search(problem(target=1.0, selection=Selection(seeds=2, resamples=200)), train)
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


@pytest.mark.parametrize(
    "before", ["the plan", "the start", "another plan", "the choice"],
)
def test_an_event_out_of_order_is_refused(before: str) -> None:
    """A journal whose lines were swapped or repeated is told apart from a sound one."""
    events = search(problem(target=3))
    start, planned, finished = events[0], events[1], events[2]
    refused: dict[str, tuple[list[Event], Event]] = {
        "the plan": ([start], finished),
        "the start": ([start, planned], start),
        "another plan": ([start, planned], planned),
        "the choice": ([start, planned, finished], events[4]),
    }
    sound, event = refused[before]
    with pytest.raises(ValueError, match=event.event):
        tell(replay(sound), event)


def test_a_result_of_a_trial_that_was_not_planned_is_refused() -> None:
    events = search(problem(target=3))
    stranger = replace(events[2].result, trial="s09-depth-seed000-00000000")  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="s09-depth"):
        tell(replay(events[:2]), TrialFinished(0, stranger))


def every_kind_of_event() -> list[Event]:
    given = problem(target=5, max_steps=4, selection=Selection(score="accuracy", seeds=2, resamples=200))
    events = search(given, failing("width", reason='the loss is "nan"\nat step 3, \u00fcber'))
    kinds = {type(event) for event in events}
    assert kinds == {
        RunStarted, StepPlanned, TrialFinished, TrialFailed, StepChosen, Contracted, RunFinished
    }  # fmt: skip
    return events


def test_every_event_is_the_same_after_json_and_back() -> None:
    for event in every_kind_of_event():
        text = to_json(event)
        again = from_json(Event, text)
        assert again == event
        assert type(again) is type(event)
        assert from_json(Event, to_json(again)) == event
        assert "\n" not in text


def test_an_event_of_an_unknown_kind_or_without_its_step_is_refused() -> None:
    for event in every_kind_of_event():
        text = to_json(event)
        with pytest.raises(ValueError, match="validation error"):
            from_json(Event, text.replace(event.event, "run_paused"))
        if not isinstance(event, RunStarted):
            with pytest.raises(ValueError, match="validation error"):
                from_json(Event, text.replace('"step":', '"stop":'))


def test_a_journal_on_disk_replays_to_the_state_that_wrote_it(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.create()
    events = every_kind_of_event()
    for event in events:
        run.append(event)
    assert run.events() == events
    assert replay(run.events()) == replay(events)


def recorded(tmp_path: Path) -> list[Event]:
    run = Run(tmp_path)
    run.journal.write_bytes(JOURNAL_V1.read_bytes())
    return run.events()


def test_a_journal_of_schema_1_replays_to_its_final_spec(tmp_path: Path) -> None:
    """Recorded once and never rewritten: to 3 times the cost of its base, one trial failing."""
    state = replay(recorded(tmp_path))
    assert state.finished is not None
    assert state.finished.outcome == "target"
    assert state.failures == 1
    assert [step.axis for step in state.path] == ["base", "temporal", "frame_rate", "frame_rate"]
    assert state.path[-1].spec == Spec(SMALL, temporal=2.0, frame_rate=1.5)
    assert state.path[-1].spec.frames == 3
    assert state.path[0].cost.macs == 145_088
    assert state.path[-1].cost.macs == 433_856


def test_a_journal_of_schema_1_cut_anywhere_still_goes_on(tmp_path: Path) -> None:
    events = recorded(tmp_path)
    start = events[0]
    assert isinstance(start, RunStarted)
    for count in range(1, len(events)):
        step = ask(start.problem, replay(events[:count]), cost)
        assert step
        assert not isinstance(step, RunFinished) or count == len(events) - 1


def test_recipe_and_base_travel_with_the_journal() -> None:
    recipe = Recipe(steps=7, lr=1e-3, flip=False)
    given = problem(space=SearchSpace(RULES, SMALL, proxy=recipe))
    again = from_json(Event, to_json(began(given)))
    assert again.problem.space.proxy == recipe
    assert again.problem.space.base == SMALL
    assert again.problem == given


def test_a_candidate_of_step_zero_is_the_base_itself() -> None:
    given = problem()
    planned = ask(given, State(), cost)
    start = given.space.start
    assert planned == StepPlanned(0, "base", (Candidate("base", start, cost(start), 1.0),))
