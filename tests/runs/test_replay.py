"""Replaying a run under its own rule gives its own path; other rules end where no trial is known."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from searches import EXACT, noisy, problem, search

from expander.errors import UsageError
from expander.runs.events import TrialFinished
from expander.runs.journal import Run
from expander.search.controller import replay

SCRIPT = Path(__file__).parent.parent.parent / "analysis" / "selection_replay.py"
WORTH = {"temporal": 0.5, "frame_rate": 0.45, "spatial": 0.4, "width": 0.4, "bottleneck": 0.35, "depth": 0.3}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("selection_replay", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def recorded(folder: Path, seeds: int) -> Run:
    run = Run(folder)
    run.create()
    given = problem(target=3, selection=replace(EXACT, seeds=seeds))
    for event in search(given, noisy(**WORTH)):
        run.append(event)
    return run


def test_the_rule_of_the_run_replays_to_its_path_with_all_its_trials(
    script: ModuleType, tmp_path: Path
) -> None:
    run = recorded(tmp_path / "run", seeds=1)
    given, table = script.gather([run])
    found = script.play(given, table)
    assert found.missing == ""
    assert found.path == replay(run.events()).path
    assert found.trials == sum(isinstance(event, TrialFinished) for event in run.events()) == len(table)
    assert found.steps == found.trials * given.space.proxy.steps


def test_a_rule_that_asks_for_what_no_run_has_ends_there(script: ModuleType, tmp_path: Path) -> None:
    given, table = script.gather([recorded(tmp_path / "run", seeds=1)])
    found = script.play(replace(given, selection=replace(EXACT, seeds=2)), table)
    assert found.missing.startswith("s00-base-seed001")
    assert found.trials == 0


def test_a_race_spends_no_more_than_all_seeds(script: ModuleType, tmp_path: Path) -> None:
    given, table = script.gather([recorded(tmp_path / "run", seeds=3)])
    fixed = script.play(given, table)
    race = script.play(replace(given, selection=replace(EXACT, seeds=2, max_seeds=3)), table)
    assert race.trials < fixed.trials == len(table)


def test_every_rule_gets_a_row(script: ModuleType, tmp_path: Path) -> None:
    given, table = script.gather([recorded(tmp_path / "run", seeds=3)])
    text = script.results_text(given, table)
    for rule in ("argmax, one seed", "gain per doubling", "racing, 2 to 3 seeds", "beam 2"):
        assert rule in text


def test_runs_of_another_space_are_not_mixed(script: ModuleType, tmp_path: Path) -> None:
    first, second = recorded(tmp_path / "a", seeds=1), Run(tmp_path / "b")
    second.create()
    other = problem(target=3)
    other = replace(other, space=replace(other.space, step_factor=1.9), selection=EXACT)
    for event in search(other, noisy(**WORTH)):
        second.append(event)
    with pytest.raises(UsageError, match="another space or data set"):
        script.gather([first, second])
