"""Reports of videos with several labels: what is measured is called mAP wherever a person reads it."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from searches import EXACT, began, carry_on, problem
from test_report_results import RESULT, SPEC, TEST, write_lines

from expander.report import charts, confusion, tables
from expander.report.formats import csv_text
from expander.report.page import page
from expander.report.reader import history
from expander.report.status import status_of, status_text
from expander.report.summary import headline
from expander.runs.evidence import pack_credits
from expander.runs.journal import Run
from expander.runs.trials import Trial, TrialResult
from expander.specs.spec import AXES

VIDEOS, APART = 50, 0.2
"""Credits of the videos are APART above or below mAP, one half of them each."""
PRECISION: dict[str, Any] = {
    **{key: value for key, value in TEST.items() if key != "confusion"},
    "metrics": {"mean_average_precision": {"value": 0.5, "low": 0.4, "high": 0.7}},
    "per_class": [{"class": "a", "average_precision": 0.75, "n": 9},
                  {"class": "b", "average_precision": 0.25, "n": 3}],
}  # fmt: skip


def precise(trial: Trial) -> TrialResult:
    """mAP of 0.3, and a bit more for each axis that is grown."""
    found = 0.3 + sum(0.02 * math.log2(getattr(trial.spec, axis)) for axis in AXES)
    values = [found + (APART if video % 2 else -APART) for video in range(VIDEOS)]
    return TrialResult(trial.id, found, 1.0, 1.0, VIDEOS, pack_credits(values), clips=10, seconds=1.0)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A finished search on videos of several labels, with a baseline."""
    run = Run(tmp_path / "r")
    run.create()
    given = problem(target=3, selection=replace(EXACT, score="accuracy"))
    for event in carry_on(given, [replace(began(given), multi_label=True)], precise):
        run.append(event)
    write_lines(run.folder / "baselines.jsonl", [
        {"kind": "random", "spec": asdict(SPEC), "cost": {"macs": 433_000},
         "result": {**RESULT, "correct": pack_credits([0.5] * 4)}},
    ])  # fmt: skip
    return run


def test_the_tables_name_the_measure_of_every_row(run: Run) -> None:
    for name in ("steps", "trials", "decisions", "frontier", "baselines"):
        table = getattr(tables, name)(run)
        assert set(table["measure"]) == {"mAP"}, name
    assert re.match(r"\s*step\s+axis\s+clip\s+crop\s+cost\s+ratio\s+mAP\s", tables.trajectory_text(run))
    now = status_of(run)
    assert f"mAP {now['accuracy']:.1%}" in status_text(now)
    assert "accuracy" not in status_text(now)


def test_the_frontier_compares_only_runs_of_one_measure(run: Run, tmp_path: Path) -> None:
    """Of one label a hit rate above every mAP says nothing of them."""
    other = Run(tmp_path / "one")
    other.create()
    given = problem(target=3)
    for event in carry_on(given, [began(given)]):
        other.append(event)
    both = tables.frontier(run, other)
    assert both.groupby("measure")["best"].all().to_dict() == {"accuracy": True, "mAP": True}


def test_the_interval_of_a_map_is_that_of_the_mean_of_its_credits(run: Run) -> None:
    """Their deviation is APART, and no seed changes them."""
    row = tables.steps(run).iloc[-1]
    half = 1.959964 * APART / math.sqrt(VIDEOS)
    ends = row["accuracy"] - half, row["accuracy"] + half
    assert (row["accuracy_low"], row["accuracy_high"]) == pytest.approx(ends, abs=1e-9)
    what, value, note = headline(history(run)).facts[1]
    assert (what, value) == ("mAP", f"{row['accuracy']:.1%}")
    assert note.startswith(f"95 % interval {ends[0]:.1%} to {ends[1]:.1%}, {VIDEOS} videos")


def test_the_page_says_map_where_a_page_of_one_label_says_accuracy(run: Run) -> None:
    (run.folder / "tests").mkdir()
    (run.folder / "tests" / "val.json").write_text(json.dumps(PRECISION))
    text = page([run.folder])
    for said in ("proxy validation mAP, %", "mAP against cost", ">mAP</th>", ">mAP low</th>",
                 "Average precision of each class", "average precision, %"):  # fmt: skip
        assert said in text, said
    for said in ("(video_top1), %", "Accuracy", ">accuracy", "Confusion"):
        assert said not in text, said


def test_a_training_has_its_map_in_the_table_and_in_its_figure(tmp_path: Path) -> None:
    about = {"spec": asdict(SPEC), "state": "finished", "multi_label": True,
             "best": {"epoch": 1, "step": 10, "goodness": 0.625, "val_loss": 0.5}}  # fmt: skip
    (tmp_path / "training.json").write_text(json.dumps(about))
    write_lines(tmp_path / "metrics.jsonl", [
        {"epoch": 0.5, "step": 5, "loss": 0.7}, {"epoch": 1, "step": 10, "val_loss": 0.5, "mAP": 0.625},
        {"epoch": 1.5, "step": 15, "loss": 0.6}, {"epoch": 2, "step": 20, "val_loss": 0.4, "mAP": 0.5},
    ])  # fmt: skip
    row = tables.trainings(tmp_path).iloc[0]
    assert (row["epochs"], row["best_epoch"], row["best_mAP"], row["mAP"]) == (2, 1, 0.625, 0.5)
    assert math.isnan(row["best_video_top1"])
    assert math.isnan(row["video_top1"])
    drawn = charts.training_curves(tmp_path)
    assert drawn is not None
    top, bottom = drawn.axes
    assert (top.get_ylabel(), bottom.get_ylabel()) == ("binary cross-entropy", "validation mAP, %")
    curve, star = bottom.lines
    assert list(curve.get_ydata()) == [62.5, 50.0]
    assert (list(star.get_xdata()), list(star.get_ydata())) == ([1], [62.5])


def test_classes_are_shown_by_average_precision_beside_their_share_of_the_videos() -> None:
    drawn = charts.class_results(PRECISION)
    assert drawn is not None
    (axes,) = drawn.axes
    assert axes.get_xlabel() == "average precision, %"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["b", "a"]  # the worst first
    points = [float(line.get_xdata()[0]) for line in axes.lines]
    assert points == [25.0, 25.0, 75.0, 75.0]  # 3 and 9 of 12 videos


def test_of_many_classes_of_detection_both_ends_are_shown_with_their_boxes() -> None:
    each = [{"class": f"c{n:02d}", "average_precision": n / 50, "n": n + 1} for n in reversed(range(50))]
    drawn = charts.class_results({"task": "detection", "n": 12, "per_class": each})
    assert drawn is not None
    (axes,) = drawn.axes
    assert axes.get_xlabel() == "average precision, % (10 classes left out)"
    shown = [*range(20), *range(30, 50)]
    assert [label.get_text() for label in axes.get_yticklabels()] == [f"c{n:02d}" for n in shown]
    assert [float(line.get_xdata()[0]) for line in axes.lines] == pytest.approx([2 * n for n in shown])
    assert [text.get_text().strip() for text in axes.texts] == [f"{n + 1} boxes" for n in shown]


def test_a_test_without_confusions_leaves_none_beside_its_result(tmp_path: Path) -> None:
    confusion.write(tmp_path / "several.json", PRECISION, "several")
    assert [path.name for path in tmp_path.iterdir()] == ["several.json"]
    confusion.write(tmp_path / "one.json", TEST, "one")
    assert {path.name for path in tmp_path.glob("one*")} == {
        "one.json", "one.confusion.csv", "one.confusion.png"}  # fmt: skip
    table = csv_text(confusion.matrix(TEST).reset_index())
    assert (tmp_path / "one.confusion.csv").read_text() == table
