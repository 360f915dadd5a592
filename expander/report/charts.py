"""Figures of networks and trainings: where the cost is, how the loss fell, what a test says of classes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from expander.report.reader import History, Step, trial_name
from expander.report.results import json_file, json_lines, measure_of, number
from expander.report.style import INK, LINES, MUTED, PAGE, drawing, sheet, style
from expander.report.tables import wilson
from expander.specs.cost import layers
from expander.specs.spec import AXES, Spec

SMOOTH = 0.15
"""Share of a curve that is averaged for a point of it."""

BLUE = style("temporal")[0]
GROUPS = (
    ("pointwise convolutions", BLUE, ""),
    ("depthwise 3x3x3", "#e69f00", "//"),
    ("squeeze-excitation", "#009e73", "\\\\"),
    ("stem and head", "#cc79a7", "xx"),
)
"""Operators as people think of them, each with a colour and a hatching."""

MOST_CLASSES = 40


def curves(past: History, width: float = 7.6) -> Figure | None:
    """Training loss of every candidate of every step; none where no metrics are kept."""
    found = [(step, lines) for step in past.steps if (lines := _step_curves(past, step))]
    if not found:
        return None
    columns = min(len(found), max(1, int(width / 2.1)))
    rows = math.ceil(len(found) / columns)
    with drawing():
        figure = sheet(width, 0.9 + 1.9 * rows)
        panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for panel, (step, lines) in zip(panels.flat, found, strict=False):
            _curves_panel(panel, step, lines)
        for panel in list(panels.flat)[len(found) :]:
            panel.set_visible(False)
        for panel in panels[-1]:
            panel.set_xlabel("optimiser step")
        figure.supylabel("training loss (running mean)", fontsize=10)
        names = [a for a in ("base", *AXES) if any(a == axis for _, lines in found for axis, _ in lines)]
        figure.legend(handles=[Line2D([], [], color=style(a)[0], ls=_line(a), lw=2, label=a) for a in names],
                      loc="outside lower center", ncols=max(2, int(width / 1.3)), handlelength=3)  # fmt: skip
    return figure


def _step_curves(past: History, step: Step) -> list[tuple[str, pd.DataFrame]]:
    """(axis, step and loss) of each candidate whose metrics are there, the mean over its seeds."""
    seeds: dict[str, list[pd.DataFrame]] = {}
    for name in dict.fromkeys(trial_name(id).folder for id in (*(t.id for t in step.trials), *step.ended)):
        curve = _curve(past.run.folder / "trials" / name)
        if len(curve) > 1:
            seeds.setdefault(trial_name(name).axis, []).append(curve)
    return [(axis, pd.concat(parts).groupby("step", as_index=False).mean()) for axis, parts in seeds.items()]


def _curve(folder: Path) -> pd.DataFrame:
    lines = json_lines(folder / "metrics.jsonl")
    rows = [(number(row.get("step")), number(row.get("loss"))) for row in lines]
    finite = [row for row in rows if None not in row and math.isfinite(row[1] or 0)]
    known = pd.DataFrame(finite, columns=["step", "loss"], dtype="float64")
    window = max(1, round(SMOOTH * len(known)))
    known["loss"] = known["loss"].rolling(window, min_periods=1, center=True).mean()
    return known


def _line(axis: str) -> Any:
    return LINES[AXES.index(axis)] if axis in AXES else "-"


def _curves_panel(panel: Axes, step: Step, lines: list[tuple[str, pd.DataFrame]]) -> None:
    winner = step.chosen.winner.axis if step.chosen else ""
    for axis, curve in lines:
        thick = axis == winner
        wide, above = (2.4, 3) if thick else (1.2, 2)
        panel.plot(curve["step"], curve["loss"], color=style(axis)[0], ls=_line(axis), lw=wide, zorder=above)
    panel.set_title(f"step {step.plan.step}" + (f": {winner}" if winner and winner != "base" else ""))
    panel.xaxis.set_major_locator(MaxNLocator(4))


def layer_costs(spec: Spec, width: float = 7.6, persons: int | None = None) -> Figure:
    """Where a spec's multiply-adds, parameters and activations are: by stage and operator, in per cent.

    persons: see `specs.cost.layers`.
    """
    table = pd.DataFrame(list(layers(spec, boxes=persons)))
    table["group"] = list(map(_group, table["stage"], table["operator"]))
    table["stage"] = table["stage"].str.replace("stage", "stage ")
    stages = list(dict.fromkeys(table["stage"]))
    with drawing():
        figure = sheet(width, 1.0 + 0.26 * len(stages) if width > 6 else 2.0 + 0.78 * len(stages))
        across = (1, 3) if width > 6 else (3, 1)
        panels = figure.subplots(*across, sharey=True, sharex=True, squeeze=False)
        what = ("macs", "multiply-adds"), ("params", "parameters"), ("activations", "activations")
        for panel, (column, title) in zip(panels.flat, what, strict=True):
            sums = table.groupby(["stage", "group"])[column].sum().unstack(fill_value=0)
            _bars(panel, sums.reindex(stages) * 100 / table[column].sum(), stages)
            panel.set_title(f"{title}, %")
        panels[0, 0].invert_yaxis()
        handles = [Patch(facecolor=c, hatch=h, edgecolor=PAGE, label=name) for name, c, h in GROUPS]
        figure.legend(handles=handles, loc="outside lower center", ncols=4 if width > 6 else 2)
    return figure


def _group(stage: str, operator: str) -> str:
    if stage in ("stem", "head"):
        return GROUPS[3][0]
    if operator.startswith("se."):
        return GROUPS[2][0]
    return GROUPS[1][0] if operator == "conv_b" else GROUPS[0][0]


def _bars(panel: Axes, shares: pd.DataFrame, stages: list[str]) -> None:
    left = np.zeros(len(stages))
    for name, colour, hatch in GROUPS:
        if name in shares:
            values = shares[name].to_numpy(dtype=float)
            panel.barh(stages, values, left=left, color=colour, hatch=hatch, edgecolor=PAGE, lw=0.5)
            left += values
    panel.grid(False, axis="y")


def has_precision(test: Mapping[str, Any]) -> bool:
    """Whether a test says the average precision of each class, as of several labels, not its accuracy."""
    return any("average_precision" in row for row in _list(test, "per_class"))


def class_results(test: Mapping[str, Any], width: float = 5.2) -> Figure | None:
    """Accuracy of each class with a 95 % interval, the worst first; of many classes both ends.

    Of several labels average precision, with a bar at the share of videos that have the class: about what
    scores by chance would give. Of detection average precision, with the number of true boxes.
    """
    key = "average_precision" if has_precision(test) else "accuracy"
    told = ((str(row.get("class")), number(row.get(key)), number(row.get("n")))
            for row in _list(test, "per_class"))  # fmt: skip
    rows = [(name, value, n) for name, value, n in told if value is not None and n is not None]
    if not rows:
        return None
    rows.sort(key=lambda row: (row[1], row[0]))
    if left_out := max(0, len(rows) - MOST_CLASSES):
        rows = rows[: MOST_CLASSES // 2] + rows[-MOST_CLASSES // 2 :]
    with drawing():
        figure = sheet(width, 0.9 + 0.2 * len(rows))
        axes = figure.add_subplot()
        for height, (_, value, n) in enumerate(rows):
            _beside(axes, height, value, n, test)
            axes.plot(value * 100, height, "o", color=BLUE, ms=5, mec=PAGE, mew=0.5, zorder=3)
        axes.set_yticks(range(len(rows)), [_short(name) for name, _, _ in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlim(-2, 118 if test.get("task") == "detection" else 102)
        axes.set_xticks(range(0, 101, 20))
        more = f" ({left_out} classes left out)" if left_out else ""
        axes.set_xlabel(f"{key.replace('_', ' ')}, %{more}")
    return figure


def _beside(axes: Axes, height: int, value: float, n: float, test: Mapping[str, Any]) -> None:
    """The interval of a share of n videos; of several labels the share that n are of all; or n boxes."""
    if test.get("task") == "detection":
        axes.annotate(f"  {n:g} boxes", (value * 100, height), va="center", fontsize=7, color=INK)
    elif not has_precision(test):
        ends = [100 * (end or 0) for end in wilson(value, int(n))]
        axes.plot(ends, [height] * 2, color=BLUE, lw=1.4, zorder=2)
    elif videos := number(test.get("n")):
        axes.plot(100 * n / videos, height, "|", color=MUTED, ms=9, mew=1.5, zorder=2)


def training_curves(folder: Path, width: float = 5.2) -> Figure | None:
    """A full training: losses and validations over the epochs, the best one starred; none without."""
    rows = pd.DataFrame(json_lines(folder / "metrics.jsonl"))
    if not {"epoch", "loss"} <= set(rows) or rows["loss"].count() < 2:
        return None
    measure = measure_of(json_file(folder / "training.json"))
    with drawing():
        figure = sheet(width, 4.2)
        top, bottom = figure.subplots(2, 1, sharex=True)
        trained = rows.dropna(subset=["loss"])
        top.plot(_epochs(trained), trained["loss"], color=BLUE, lw=1.4, label="training")
        top.set_ylabel("binary cross-entropy" if measure == "mAP" else "cross-entropy")
        if measure in rows:
            known, colour = rows.dropna(subset=[measure]), style("bottleneck")[0]
            top.plot(known["epoch"], known["val_loss"], "o-", color=colour, ms=4, label="validation")
            bottom.plot(known["epoch"], known[measure] * 100, "o-", color=colour, ms=4)
            best = known.iloc[int(known[measure].to_numpy().argmax())]
            bottom.plot(best["epoch"], best[measure] * 100, "*", color=INK, ms=11)
        top.legend()
        bottom.set_ylabel("validation mAP, %" if measure == "mAP" else "validation\n(video_top1), %")
        bottom.set_xlabel("epoch")
    return figure


def _epochs(rows: pd.DataFrame) -> pd.Series:
    """Epochs that were over at each row, with their parts: rows have the number of the one they belong to."""
    if "step" not in rows:
        return rows["epoch"]
    per_epoch = (rows["step"] / rows["epoch"]).max()  # the last row of an epoch has all its steps
    found: pd.Series = rows["step"] / per_epoch
    return found


def _list(test: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    found = test.get(key)
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def _short(name: str, most: int = 28) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"
