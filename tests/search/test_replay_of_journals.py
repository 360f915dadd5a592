"""What is refused of a journal, and that every journal replays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from searches import (
    EXACT,
    RULES,
    SMALL,
    began,
    failing,
    problem,
    search,
)

from expander.config.settings import Recipe
from expander.config.space import SearchSpace
from expander.runs.events import (
    Candidate,
    Contracted,
    Event,
    RunFinished,
    RunStarted,
    StepChosen,
    StepPlanned,
    TrialFailed,
    TrialFinished,
    from_json,
    to_json,
)
from expander.runs.journal import Run
from expander.search.controller import State, ask, replay, tell
from expander.specs.cost import cost
from expander.specs.spec import Spec

JOURNAL_V1 = Path(__file__).parent.parent / "assets" / "journal-v1.jsonl"


@pytest.mark.parametrize(
    "before",
    ["the plan", "the start", "another plan", "the choice"],
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
    given = problem(target=5, max_steps=4, selection=replace(EXACT, score="accuracy", seeds=2))
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
