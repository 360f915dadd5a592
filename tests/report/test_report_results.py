"""Baselines, full trainings and multi-view tests as tables: what is there is shown, what is absent too."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from expander.errors import DataError
from expander.report import results, schema, tables
from expander.report.charts import class_results, training_curves
from expander.report.confusion import figure, matrix, pairs
from expander.report.results import specified
from expander.report.tables import baselines, trainings
from expander.specs.cost import cost
from expander.specs.spec import Base, Spec

SPEC = Spec(Base(frames=2, crop=32, depths=(1, 1), classes=3), width=1.5)
RESULT = {"trial": "x", "accuracy": 0.5, "loss": 1.0, "train_loss": 1.1, "videos": 4, "correct": "c",
          "clips": 10, "seconds": 2.0}  # fmt: skip
TEST: dict[str, Any] = {
    "schema": 1,
    "spec": asdict(SPEC),
    "checkpoint": {"path": "best.safetensors", "sha256": "0" * 64},
    "protocol": "x3d",
    "views": {"clips": 10, "crops": 3},
    "average_clips": "prob",
    "metrics": {"top1": {"value": 0.75, "low": 0.6, "high": 0.85}, "top5": 0.9},
    "classes": ["<script>alert(1)</script>", "=cmd()", "réd & $blue$"],
    "per_class": [{"class": "<script>alert(1)</script>", "accuracy": 1.0, "n": 4},
                  {"class": "=cmd()", "accuracy": 0.5, "n": 4},
                  {"class": "réd & $blue$", "accuracy": 0.75, "n": 4}],
    "confusion": [[0, 0, 4], [1, 1, 2], [1, 0, 2], [2, 2, 3], [2, 1, 1]],
    "n": 12, "n_failed": 1, "failed": [{"path": "a b/<b>.mp4", "reason": "no such file"}],
    "cost": {"macs_per_view": 10, "views": 30, "macs_per_video": 300},
    "seconds": 3.0, "videos_per_second": 4.0, "reference": None, "unknown": {"later": True},
}  # fmt: skip


def write_lines(path: Path, rows: list[Any]) -> None:
    """JSON lines, the last one torn."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"torn')


def test_a_baseline_is_a_row_whatever_is_missing(tmp_path: Path) -> None:
    price = {"macs": 5, "params": 6, "activations": 7}
    write_lines(tmp_path / "baselines.jsonl", [
        {"kind": "random", "name": "random 1", "spec": asdict(SPEC), "cost": price, "result": RESULT},
        {"kind": "compound", "results": [RESULT, {**RESULT, "accuracy": 0.75}], "cost": price},
        {"kind": "single-axis", "name": "width", "spec": {"nonsense": 1}},
        "not an object",
    ])  # fmt: skip
    table = baselines(tmp_path)
    assert table["kind"].tolist() == ["random", "compound", "single-axis"]
    assert table["name"].tolist() == ["random 1", "compound", "width"]
    assert table["accuracy"].tolist()[:2] == pytest.approx([0.5, 0.625])
    assert table["cost"].tolist()[:2] == [5, 5]
    assert table["seeds"].tolist()[:2] == [1, 2]
    assert table.loc[2, ["cost", "accuracy"]].isna().all()
    assert baselines(tmp_path / "nothing").empty


def test_every_table_of_a_folder_without_a_run_has_its_documented_columns(tmp_path: Path) -> None:
    for name in ("baselines", "trainings", "tests"):
        documented = getattr(schema, name.upper())
        assert name in tables.__all__
        assert list(getattr(tables, name)(tmp_path)) == [column.name for column in documented]
        assert all(column.meaning for column in documented)


def test_a_training_is_a_row_with_its_best_and_its_last_validation(tmp_path: Path) -> None:
    about = {"spec": asdict(SPEC), "state": "running", "best": {"epoch": 1, "video_top1": 0.6}, "new": 1}
    (tmp_path / "training.json").write_text(json.dumps(about))
    write_lines(tmp_path / "metrics.jsonl", [
        {"epoch": 0.5, "step": 5, "loss": 2.0, "lr": 0.1, "clips_per_second": 10.0, "data_wait": 0.2},
        {"epoch": 1, "step": 10, "val_loss": 1.5, "video_top1": 0.6},
        {"epoch": 1.5, "step": 15, "loss": 1.0, "lr": 0.1, "clips_per_second": 30.0, "data_wait": 0.4},
        {"epoch": 2, "step": 20, "val_loss": 1.6, "video_top1": 0.5},
    ])  # fmt: skip
    row = trainings(tmp_path).iloc[0]
    assert (row["epochs"], row["best_epoch"], row["best_video_top1"], row["video_top1"]) == (2, 1, 0.6, 0.5)
    assert (row["clips_per_second"], row["data_wait"]) == pytest.approx((20.0, 0.3))
    assert row["cost"] == cost(SPEC).macs
    assert training_curves(tmp_path) is not None
    (tmp_path / "training.json").write_text("{")
    with pytest.raises(DataError, match=r"training\.json:1: no JSON"):
        trainings(tmp_path)


def test_a_test_is_a_row_a_metric(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "val.json").write_text(json.dumps(TEST))
    table = tables.tests(tmp_path)
    assert table["metric"].tolist() == ["top1", "top5"]
    assert table["value"].tolist() == [0.75, 0.9]
    assert table["low"].isna().tolist() == [False, True]
    assert table["views"].tolist() == [30, 30]
    assert table["macs_per_video"].tolist() == [300, 300]
    assert [name for name, _ in results.test_files(tmp_path)] == ["val"]
    for bad, said in (("[1", r"bad\.json:1: no JSON"), ("[1]", r"bad\.json: not a JSON object")):
        (tmp_path / "tests" / "bad.json").write_text(bad)
        with pytest.raises(DataError, match=said):
            tables.tests(tmp_path)


def test_the_pairs_taken_for_each_other_most_come_first() -> None:
    found = pairs(TEST)
    assert [(p["true"], p["predicted"], p["count"], p["share"]) for p in found] == [
        ("=cmd()", "<script>alert(1)</script>", 2, 0.5),
        ("réd & $blue$", "=cmd()", 1, 0.25),
    ]


@pytest.mark.parametrize("broken", [{}, {"classes": [], "confusion": [[0, 0, 1]]}, {"per_class": [3]},
                                    {"classes": ["a"], "confusion": [[7, 7, 1], "x", [0, 0]]},
                                    {"per_class": [{"class": "a", "accuracy": None, "n": 0}]}])  # fmt: skip
def test_a_test_without_classes_has_no_such_figures(broken: dict[str, Any]) -> None:
    assert class_results(broken) is None
    assert pairs(broken) == []
    assert matrix(broken).to_numpy().sum() == 0
    figure(broken, 5.0)


def test_a_spec_that_is_none_says_nothing() -> None:
    assert specified({}) == {}
    assert specified({"spec": {"base": 3}}) == {}
    tasks = "classification", "detection"
    found = {task: specified({"spec": asdict(SPEC), "task": task}) for task in tasks}
    assert found["classification"]["spec_id"] == found["detection"]["spec_id"] == SPEC.id
    assert found["detection"]["cost"] == cost(SPEC, boxes=1).macs > found["classification"]["cost"]


def test_the_loss_of_a_training_is_drawn_within_its_epochs(tmp_path: Path) -> None:
    """Rows have the number of the epoch that they belong to: at 4 steps an epoch step 6 is at 1.5."""
    (tmp_path / "training.json").write_text("{}")
    rows = [{"epoch": (step + 3) // 4, "step": step, "loss": 1.0, "lr": 0.1} for step in (2, 4, 6, 8)]
    write_lines(tmp_path / "metrics.jsonl", rows)
    drawn = training_curves(tmp_path)
    assert drawn is not None
    assert drawn.axes[0].lines[0].get_xdata().tolist() == [0.5, 1.0, 1.5, 2.0]  # type: ignore[union-attr]
