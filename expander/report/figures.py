"""Figures of a search: its trajectory, what each axis gave, how the spec grew, several runs' frontiers.

Each takes `width` in inches, so that a page can show a narrow one on a phone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from expander.report.label_layout import place
from expander.report.reader import History, history
from expander.report.results import baselines
from expander.report.style import (
    GRID,
    INK,
    LINES,
    MUTED,
    PAGE,
    bare_axis,
    drawing,
    log_ticks,
    save,
    sheet,
    style,
)
from expander.report.tables import axis_text, decisions, frontier, macs_text, steps
from expander.runs.journal import Run
from expander.specs.spec import AXES

BASELINE_MARKS = {"random": "1", "compound": "*", "single-axis": "+"}
MEASURED = {"accuracy": "proxy validation accuracy\n(video_top1), %", "mAP": "proxy validation mAP, %"}
"""What the height of a figure is, by what the run measures."""


def trajectory(run: Run | History, width: float = 7.6) -> Figure:
    """Accuracy or mAP against cost: the chosen path, what it was chosen from, the contraction, baselines."""
    past = history(run)
    table, tried, others = steps(past), decisions(past).dropna(subset=["accuracy"]), baselines(past)
    scale, unit = _unit(pd.concat([tried["cost"], others["cost"]]))
    table, tried, others = (_scaled(t, scale) for t in (table, tried, others))
    with drawing():
        figure = sheet(width, 4.7)
        axes = figure.add_subplot()
        _spokes(axes, table, tried)
        _path(axes, table)
        _others(axes, others)
        doubles = past.problem is not None and past.problem.cost == "flops"
        goal = past.problem.target / scale if past.problem and doubles else None
        _extent(axes, [*tried["cost"], *others["cost"], *([goal] if goal else [])], width)
        if goal is not None:
            _target(axes, goal, f"target {macs_text(goal * scale)}")
        axes.set_xlabel(f"{unit} multiply-adds of one view at the training crop")
        axes.set_ylabel(MEASURED[past.measure])
        _legend(figure, tried["axis"], list(dict.fromkeys(others["kind"])), width)
        place(axes, _names(table), list(zip(tried["cost"], tried["percent"], strict=True)))
    return figure


def _unit(costs: pd.Series[Any]) -> tuple[float, str]:
    return (1e9, "G") if not costs.empty and costs.max() >= 1e9 else (1e6, "M")


def _scaled(table: pd.DataFrame, scale: float) -> pd.DataFrame:
    """Costs in the figure's unit, accuracies in per cent; rows without either left out."""
    whole = table.dropna(subset=["cost", "accuracy"])
    return whole.assign(cost=whole["cost"].astype(float) / scale, percent=whole["accuracy"] * 100)


def _order(axis: str) -> int:
    return AXES.index(axis) if axis in AXES else -1


def _spokes(axes: Axes, table: pd.DataFrame, tried: pd.DataFrame) -> None:
    """Every candidate that was not chosen, tied by a thin line to the spec it was expanded from."""
    before = table.set_index("step")
    for row in tried[~tried["chosen"]].to_dict("records"):
        colour, marker = style(row["axis"])
        if row["step"] - 1 in before.index:
            parent = before.loc[row["step"] - 1]
            axes.plot([parent["cost"], row["cost"]], [parent["percent"], row["percent"]],
                      color=GRID, lw=0.8, zorder=1)  # fmt: skip
        axes.plot(row["cost"], row["percent"], marker, color=colour, ms=6, mec=PAGE, mew=0.5, zorder=2)


def _path(axes: Axes, table: pd.DataFrame) -> None:
    grown = table[table["kind"] != "contraction"]
    axes.plot(grown["cost"], grown["percent"], color=INK, lw=1.8, zorder=3)
    last = table.tail(2)
    if len(last) == 2 and last.iloc[1]["kind"] == "contraction":
        axes.plot(last["cost"], last["percent"], ":", color=INK, lw=1.8, zorder=3)
    for row in table.to_dict("records"):
        colour, marker = style(row["axis"])
        down, up = row["accuracy"] - row["accuracy_low"], row["accuracy_high"] - row["accuracy"]
        error = None if math.isnan(down) else [[down * 100], [up * 100]]
        axes.errorbar(row["cost"], row["percent"], yerr=error, fmt=marker, color=colour, ms=10, mec=INK,
                      mew=1.2, ecolor=MUTED, elinewidth=1, capsize=3, zorder=4)  # fmt: skip


def _others(axes: Axes, others: pd.DataFrame) -> None:
    for kind, group in others.groupby("kind"):
        mark = BASELINE_MARKS.get(str(kind), "x")
        axes.plot(group["cost"], group["percent"], mark, color=MUTED, ms=8, mew=1.5, zorder=2)


def _extent(axes: Axes, costs: list[float], width: float) -> None:
    if not costs:
        return
    room = max(1.25, (max(costs) / min(costs)) ** 0.07)
    log_ticks(axes, min(costs) / room, max(costs) * room, max(4, int(width * 1.3)))
    axes.margins(y=0.12)


def _target(axes: Axes, goal: float, name: str) -> None:
    axes.axvline(goal, ls="--", color=MUTED, lw=1, zorder=1)
    axes.annotate(name, (goal, 0.015), xycoords=("data", "axes fraction"), xytext=(3, 0), rotation=90,
                  textcoords="offset points", va="bottom", ha="left", fontsize=8.5, color=MUTED)  # fmt: skip


def _legend(figure: Figure, tried: pd.Series[Any], kinds: list[str], width: float) -> None:
    axes = sorted({bare_axis(axis) for axis in tried}, key=_order)
    handles = [Line2D([], [], color=style(a)[0], marker=style(a)[1], ls="", ms=7, label=a) for a in axes]
    handles += [Line2D([], [], color=MUTED, marker=BASELINE_MARKS.get(kind, "x"), ls="", ms=8, mew=1.5,
                       label=f"baseline: {kind}") for kind in kinds]  # fmt: skip
    handles.append(Line2D([], [], color=INK, marker="o", mfc="none", ms=9, label="chosen, 95 % interval"))
    figure.legend(handles=handles, loc="outside lower center", ncols=max(2, int(width / 1.45)),
                  handletextpad=0.4, columnspacing=1.2)  # fmt: skip


def _names(table: pd.DataFrame) -> list[tuple[str, tuple[float, float], tuple[float, float]]]:
    """What is written at each segment: its name, and the two ends of the segment."""
    rows = table.to_dict("records")
    if not rows:
        return []
    first = (rows[0]["cost"], rows[0]["percent"])
    names = [(axis_text(rows[0]["kind"], rows[0]["axis"]), first, first)]
    for before, row in pairwise(rows):
        ends = [(r["cost"], r["percent"]) for r in (before, row)]
        # On two lines the longest name, of the shortest segment, stays beside it.
        names.append((axis_text(row["kind"], row["axis"]).replace(" ", "\n"), ends[0], ends[1]))
    return names


def gains(run: Run | History, width: float = 7.6) -> Figure | None:
    """What each axis gave in each step, with the interval of its difference to the winner; none without."""
    past = history(run)
    table = decisions(past)
    table = table[(table["kind"] == "expansion") & table["decided"]]
    numbers = list(dict.fromkeys(table["step"]))
    if not numbers or past.problem is None:
        return None
    axes_shown = [a for a in (*AXES, *sorted(set(table["axis"]) - set(AXES))) if a in set(table["axis"])]
    columns = min(len(numbers), max(2, int(width / 1.9)))
    rows = math.ceil(len(numbers) / columns)
    with drawing():
        figure = sheet(width, 0.6 + rows * (0.75 + 0.24 * len(axes_shown)))
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for panel, number in zip(grid.flat, numbers, strict=False):
            _gains_panel(panel, table[table["step"] == number], axes_shown)
            panel.set_title(f"step {number}")
        for panel in list(grid.flat)[len(numbers) :]:
            panel.set_visible(False)
        score = past.problem.selection.score
        told = (f"{past.measure}, %" if score == "accuracy"
                else f"points of {past.measure} per doubling of the cost")  # fmt: skip
        figure.supxlabel(told, fontsize=10)
        grid[0, 0].invert_yaxis()
    return figure


def _gains_panel(panel: Axes, table: pd.DataFrame, names: list[str]) -> None:
    panel.set_yticks(range(len(names)), names)
    panel.set_ylim(-0.6, len(names) - 0.4)
    panel.xaxis.set_major_locator(MaxNLocator(4))
    panel.axvline(0, color=MUTED, lw=0.8)
    best = table.loc[table["chosen"], "score"].max() * 100
    for row in table.to_dict("records"):
        height, (colour, marker) = names.index(row["axis"]), style(row["axis"])
        if math.isnan(row["score"]):
            panel.annotate("failed" if row["seeds"] == 0 and row["spec"] else "cannot move", (0.5, height),
                           xycoords=("axes fraction", "data"), va="center", ha="center", fontsize=8.5,
                           color=MUTED)  # fmt: skip
            continue
        if not row["chosen"]:
            ends = [best - row["high"] * 100, best - row["low"] * 100]
            panel.plot(ends, [height] * 2, color=colour, lw=1.6, solid_capstyle="butt", zorder=2)
        size, edge, wide = (9, INK, 1.6) if row["chosen"] else (6, PAGE, 0.5)
        panel.plot(row["score"] * 100, height, marker, color=colour, ms=size, mec=edge, mew=wide, zorder=3)


Values = Callable[[pd.DataFrame], "pd.Series[Any]"]
GROWN: tuple[tuple[str, str, Values], ...] = (
    ("temporal", "clip, source frames", lambda t: t["frames"] * t["stride"]),
    ("frame_rate", "stride, source frames", lambda t: t["stride"]),
    ("spatial", "crop, pixels", lambda t: t["crop"]),
    ("width", "channels, stage 1", lambda t: t["widths"].str.split("/").str[0].astype(int)),
    ("bottleneck", "bottleneck ratio", lambda t: t["bottleneck"]),
    ("depth", "blocks", lambda t: t["depths"].map(lambda text: sum(map(int, text.split("/"))))),
)
"""What each axis changes, in numbers that mean something."""


def growth(run: Run | History, width: float = 7.6) -> Figure | None:
    """How the chosen spec's six numbers grow from step to step; none before a step is decided."""
    table = steps(run)
    if table.empty:
        return None
    columns = 3 if width > 6 else 2
    with drawing():
        figure = sheet(width, 1.75 * 6 / columns + 0.3)
        panels = figure.subplots(6 // columns, columns, sharex=True, squeeze=False)
        for panel, (axis, meaning, value_of) in zip(panels.flat, GROWN, strict=True):
            values, (colour, marker) = value_of(table).astype(float), style(axis)
            panel.plot(table["step"], values, color=colour, lw=1.8, drawstyle="steps-mid")
            moved = values[table["axis"] == axis]
            panel.plot(table["step"][moved.index], moved, marker, color=colour, ms=8, mec=INK, mew=1)
            panel.set_title(meaning)
            panel.margins(x=0.06)
            panel.set_ylim(0, values.max() * 1.25)
            whole = bool((values % 1 == 0).all() or values.max() > 4)
            panel.yaxis.set_major_locator(MaxNLocator(4, integer=whole, min_n_ticks=1))
            panel.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        figure.supxlabel("step", fontsize=10)
    return figure


def frontiers(runs: list[Run | History], width: float = 7.6) -> Figure | None:
    """The best accuracy or mAP for every cost, of each run; none without a result."""
    pasts = [history(run) for run in runs]
    tried, table = decisions(*pasts).dropna(subset=["accuracy"]), frontier(*pasts)
    if table.empty:
        return None
    scale, unit = _unit(tried["cost"])
    tried, table = _scaled(tried, scale), _scaled(table, scale)
    looks = [style(axis) for axis in ("temporal", "bottleneck", "spatial", "depth", "width", "frame_rate")]
    with drawing():
        figure = sheet(width, 4.2)
        axes = figure.add_subplot()
        for index, (name, group) in enumerate(table.groupby("run", sort=False)):
            colour, marker = looks[index % len(looks)]
            other = tried[tried["run"] == name]
            axes.plot(other["cost"], other["percent"], marker, color=colour, ms=4, alpha=0.35, mew=0)
            axes.plot(group["cost"], group["percent"], color=colour, marker=marker, ms=7, mec=PAGE, lw=1.6,
                      drawstyle="steps-post", ls=LINES[index % len(LINES)], label=str(name))  # fmt: skip
        _extent(axes, list(tried["cost"]), width)
        axes.set_xlabel(f"{unit} multiply-adds of one view at the training crop")
        axes.set_ylabel("\nor ".join(MEASURED[name] for name in dict.fromkeys(table["measure"])))
        figure.legend(loc="outside lower center", ncols=max(1, int(width / 2.4)))
    return figure


def save_trajectory(run: Run | History, path: Path) -> Path:
    """Writes `trajectory` as a PNG; returns its path. Raises OSError."""
    return save(trajectory(run), path)
