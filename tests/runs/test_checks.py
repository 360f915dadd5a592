"""Values of a journal that cannot be, in journals that have no checksums to tell it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ASSETS

from expander.errors import DataError
from expander.report.results import tests as table_of_tests
from expander.runs.journal import Run

Events = list[dict[str, Any]]
REFERENCE = ASSETS / "run-v2"


@pytest.fixture
def events() -> Events:
    """The events of a finished run, recorded with schema 2."""
    return [json.loads(line) for line in (REFERENCE / "journal.jsonl").read_text().splitlines()]


def of(events: Events, kind: str, step: int = 1) -> dict[str, Any]:
    return next(event for event in events if event["event"] == kind and event["step"] == step)


def refused(events: Events, folder: Path, said: str) -> None:
    run = Run(folder)
    run.journal.write_text("".join(json.dumps(event) + "\n" for event in events))
    with pytest.raises(DataError, match=rf"journal\.jsonl:\d+: .*{re.escape(said)}"):
        run.events()


def set_(*path: str | int, value: object) -> Callable[[dict[str, Any]], None]:
    def change(event: dict[str, Any]) -> None:
        place: Any = event
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return change


@pytest.mark.parametrize("name", ["journal-v1.jsonl", "journal-v2.jsonl", "reference"])
def test_journals_of_all_versions_hold_what_their_values_say(tmp_path: Path, name: str) -> None:
    source = REFERENCE / "journal.jsonl" if name == "reference" else ASSETS / name
    run = Run(tmp_path)
    shutil.copy(source, run.journal)
    assert len(run.events()) == len(source.read_text().splitlines())


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        ("run_started", set_("problem", "target", value=0.0), "target 0.0 is no positive number"),
        ("run_started", set_("problem", "target", value=float("inf")), "target inf is no positive"),
        ("run_started", set_("classes", value=["a"]), "1 classes, the base has 24"),
        ("run_started", set_("problem", "limits", "frames", value=0), "frames must be at least 1"),
        ("step_planned", set_("candidates", 0, "cost", "macs", value=7), "cost: macs 7, the spec has"),
        ("step_planned", set_("candidates", 0, "cost", "params", value=7), "cost: params 7"),
        ("step_planned", set_("candidates", 0, "ratio", value=2.0), "ratio 2.0, the costs give"),
        ("step_planned", set_("candidates", 0, "axis", value="x/../../evil"), "'x/../../evil' is no axis"),
        ("step_planned", set_("rejected", value=[{"axis": "../up", "reason": ""}]), "'../up' is no axis"),
        ("step_planned", set_("step", value=-1), "step -1 is no finite number"),
        ("trial_finished", set_("result", "accuracy", value=0.9), "accuracy 0.9, its bits say"),
        ("trial_finished", set_("result", "trial", value="s01-width-seed000-00000000"), "was not planned"),
        ("trial_finished", set_("step", value=2), "was not planned"),
        ("step_chosen", set_("accuracy", value=0.9), "accuracy 0.9, the first standing has"),
        ("step_chosen", set_("winner", "axis", value="depth"), "the winner is depth, first is"),
        ("step_chosen", set_("winner", "ratio", value=3.0), "the winner was not planned"),
        ("step_chosen", set_("standings", 1, "accuracy", value=0.9), "its trials give"),
        ("step_chosen", set_("standings", 1, "loss", value=0.1), "its trials give"),
        ("step_chosen", set_("standings", 1, "score", value=0.1), "the scores say"),
        ("step_chosen", set_("standings", 1, "behind", value=0.5), "the scores say"),
        ("step_chosen", set_("standings", 1, "low", value=0.9), "an interval from high to low"),
        ("step_chosen", set_("standings", 1, "tied", value=True), "the interval says False"),
        ("step_chosen", set_("standings", value=[]), "no standings"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_is_refused(
    events: Events, tmp_path: Path, kind: str, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    change(of(events, kind, 0 if kind == "run_started" else 1))
    refused(events, tmp_path, said)


def test_a_score_that_is_not_the_gain_of_its_accuracy_is_refused(events: Events, tmp_path: Path) -> None:
    for standing in of(events, "step_chosen")["standings"]:
        standing["score"] += 0.01  # all of them: the distances stay right
    refused(events, tmp_path, "score ")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (set_("miss", value=0.5), "miss 0.5, the cost gives"),
        (set_("target", value=2e6), "target 2000000.0, the run's is"),
        (set_("axis", value="-rf"), "'-rf' is no axis"),
        (set_("candidate", "ratio", value=0.1), "ratio 0.1, the costs give"),
    ],
)
def test_a_contraction_that_cannot_be_is_refused(
    events: Events, tmp_path: Path, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    change(next(event for event in events if event["event"] == "contracted"))
    refused(events, tmp_path, said)


TEST: dict[str, Any] = {
    "classes": ["a", "b"], "confusion": [[0, 0, 2], [1, 1, 1], [1, 0, 1]], "n": 4,
    "metrics": {"top1": {"value": 0.75, "low": 0.5, "high": 1.0}, "mean_class_accuracy": 0.75},
    "per_class": [{"class": "a", "accuracy": 1.0, "n": 2}, {"class": "b", "accuracy": 0.5, "n": 2}],
    "views": {"clips": 10, "crops": 3}, "cost": {"macs_per_view": 10, "views": 30, "macs_per_video": 300},
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (set_("metrics", "top1", "value", value=0.5), "top1 0.5, 3 of 4 videos are right"),
        (set_("metrics", "top1", "high", value=1.5), "top1: high 1.5 does not lie between 0 and 1"),
        (set_("metrics", "mean_class_accuracy", value=-0.1), "does not lie between 0 and 1"),
        (set_("n", value=5), "n 5, the confusion has 4 videos"),
        (set_("confusion", 0, 2, value=3), "n 4, the confusion has 5 videos"),
        (set_("per_class", 1, "accuracy", value=1.0), "b: accuracy 1.0, 1 of 2"),
        (set_("per_class", 0, "n", value=1), "a: n 1, the confusion has 2"),
        (set_("cost", "macs_per_video", value=301), "macs_per_video 301, 30 views of 10"),
        (set_("views", "crops", value=1), "30 views, not 10 x 1"),
    ],
)
def test_a_result_of_a_test_that_contradicts_itself_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    (tmp_path / "tests").mkdir()
    file, found = tmp_path / "tests" / "best.json", json.loads(json.dumps(TEST))
    file.write_text(json.dumps(found))
    assert len(table_of_tests(tmp_path)) == 2
    change(found)
    file.write_text(json.dumps(found))
    with pytest.raises(DataError, match=rf"best\.json: .*{re.escape(said)}"):
        table_of_tests(tmp_path)
