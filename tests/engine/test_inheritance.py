"""A search whose candidates begin with the weights of the spec that they grew from."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import Run, decisions
from forking import run
from searches import EXACT, carry_on, ending, problem, search

from expander.config.settings import Recipe
from expander.errors import DataError
from expander.runs.events import StepPlanned
from expander.runs.orders import beginning, recipe_of
from expander.runs.trials import make_trial
from expander.search.controller import ask, replay
from expander.specs.cost import cost

HALF = ["--set", "proxy.inherit=0.5", "--set", "selection.base_seeds=2", "--max-steps", "2"]


def events(folder: Path, run: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "runs" / run / "journal.jsonl").read_text().splitlines()]


def inheriting(target: float) -> Any:
    given = problem(target=target, selection=replace(EXACT, base_seeds=3))
    return replace(given, space=replace(given.space, proxy=Recipe(inherit=0.5)))


def test_candidates_begin_with_the_trial_of_their_seed_and_the_base_with_nothing() -> None:
    given = replace(inheriting(3), selection=replace(EXACT, seeds=2))
    history = search(given)
    asked = [ask(given, replay(history[:count]), cost) for count in range(1, len(history))]
    parents = {trial.id: trial.parent for step in asked if isinstance(step, tuple) for trial in step}
    assert {parent for id, parent in parents.items() if id.startswith("s00")} == {""}
    path = replay(history).path
    for id, parent in parents.items():
        step, _, seed, _ = id.split("-")
        planned = next(e for e in history if isinstance(e, StepPlanned) and e.step == int(step[1:]))
        if planned.kind == "expansion":
            before = path[planned.step - 1]
            assert parent == make_trial(planned.step - 1, before.axis, before.spec, int(seed[4:])).id
        else:
            assert parent == ""


@pytest.mark.parametrize(("target", "most"), [(4.0, None), (100.0, None), (100.0, 2)])
def test_what_it_ends_with_is_trained_from_scratch(target: float, most: int | None) -> None:
    """Where the target is met, after a contraction, and after as many steps as asked."""
    given = replace(inheriting(target), max_steps=most)
    history = search(given)
    last = [event for event in history if isinstance(event, StepPlanned)][-1]
    path = replay(history).path
    assert last.kind == "contraction"
    assert path[-1].spec == (path[-2].spec if path[-1].axis.startswith("uncut_") else last.candidates[0].spec)
    assert ending(history).outcome == ("target" if most is None else "limit")
    for count in range(1, len(history)):
        assert carry_on(given, history[:count]) == history


def test_seeds_of_more_digits_have_parents_of_their_own() -> None:
    given = replace(inheriting(2), seed=999, selection=replace(EXACT, seeds=2))
    history = search(given)
    asked = [ask(given, replay(history[:count]), cost) for count in range(1, len(history))]
    trials = [trial for step in asked if isinstance(step, tuple) for trial in step]
    pairs = {(trial.seed, trial.parent.split("-")[2]) for trial in trials if trial.parent}
    assert pairs == {(999, "seed999"), (1000, "seed1000")}


def test_a_recipe_is_as_long_as_its_trial_and_says_no_more_of_inheritance() -> None:
    whole, recipe = make_trial(1, "width", problem().space.start, 0), Recipe(steps=200, inherit=0.25)
    assert recipe_of(whole, recipe) == Recipe(steps=200)
    assert recipe_of(replace(whole, parent="s00-base-seed000-1a2b3c4d"), recipe) == Recipe(steps=50)


def test_weights_that_are_gone_are_told(tmp_path: Path) -> None:
    trial = replace(make_trial(1, "width", problem().space.start, 0), parent="s00-base-seed000-1a2b3c4d")
    with pytest.raises(DataError, match=r"-1a2b3c4d/weights.safetensors: s01-width-.* begins"):
        beginning(tmp_path, trial)


def test_rungs_and_inheritance_are_refused_together(expander: Run, micro: list[str]) -> None:
    refused = expander(*micro, *HALF, "--set", "selection.rungs=[0.5]", "--backend", "inline")
    assert refused.returncode == 2
    assert "selection.rungs are of trials from scratch" in refused.stderr


@pytest.fixture(scope="module")
def halved(micro: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of an undisturbed search without Ray."""
    place = tmp_path_factory.mktemp("halved")
    done = run([*micro, *HALF, "--run", "inline", "--backend", "inline"], place)
    assert done.returncode == 0, done.stderr
    return place / "runs" / "inline"


@pytest.mark.slow
def test_on_ray_and_inline_it_is_the_same_search_with_half_the_clips_and_reused_it_trains_nothing(
    expander: Run, micro: list[str], halved: Path, tmp_path: Path
) -> None:
    shutil.copytree(halved, tmp_path / "runs" / "inline")
    done = expander(*micro, *HALF, "--run", "ray", "--backend", "ray")
    assert done.returncode == 0, done.stderr
    journals = [tmp_path / "runs" / name / "journal.jsonl" for name in ("inline", "ray")]
    assert decisions(journals[0]) == decisions(journals[1])
    rows = events(tmp_path, "inline")
    kinds = {row["step"]: row["kind"] for row in rows if row["event"] == "step_planned"}
    clips = {(kinds[row["step"]], row["result"]["clips"]) for row in rows if "result" in row}
    assert clips == {("base", 24), ("expansion", 12), ("contraction", 24)}
    again = expander(*micro, *HALF, "--run", "again", "--backend", "inline", "--reuse", "inline")
    assert "nothing was trained" in again.stdout
    for file in (tmp_path / "runs" / "inline").rglob("weights.safetensors"):
        assert file.read_bytes() == Path(str(file).replace("/inline/", "/ray/")).read_bytes()


@pytest.mark.slow
def test_killed_between_its_steps_it_ends_as_it_would_have(
    expander: Run, micro: list[str], halved: Path, tmp_path: Path
) -> None:
    whole = shutil.copytree(halved, tmp_path / "runs" / "whole")
    for most in ("3", "5"):
        stopped = tmp_path / "runs" / f"cut{most}"
        expander(*micro, *HALF, "--run", stopped.name, "--backend", "inline", "--max-trials", most)
        assert len(events(tmp_path, stopped.name)) < len(events(tmp_path, "whole"))
        subprocess.run(["rm", "-rf", *stopped.glob("trials/*/checkpoints")], check=True)
        done = expander("search", "--run", stopped.name, "--resume", "--max-trials", "99")
        assert done.returncode == 0, done.stderr
        assert decisions(stopped / "journal.jsonl")[1:] == decisions(whole / "journal.jsonl")[1:]
