"""Figures of a run (matplotlib)."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from expander.engine import started
from expander.report.tables import candidates, contraction, steps
from expander.store import Run

# Okabe and Ito's colours: told apart by colour-blind readers; markers tell them apart in grey.
AXIS_STYLE = {
    "base": ("#000000", "o"),
    "temporal": ("#0072B2", "s"),
    "frame_rate": ("#56B4E9", "D"),
    "spatial": ("#009E73", "^"),
    "width": ("#E69F00", "v"),
    "bottleneck": ("#D55E00", "P"),
    "depth": ("#CC79A7", "X"),
}


def trajectory(run: Run) -> Figure:
    """Accuracy against cost: the chosen path, what it was chosen from, the contraction."""
    table, tried = steps(run), candidates(run).dropna(subset=["accuracy"])
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    grown = table[table["kind"] != "contraction"]
    unit = 1e9 if table["cost"].max() >= 1e9 else 1e6
    table, tried, grown = (t.assign(cost=t["cost"] / unit) for t in (table, tried, grown))
    _losers(axes, tried[~tried["chosen"].astype(bool)])
    axes.plot(grown["cost"], grown["accuracy"] * 100, color="0.25", lw=1.5, zorder=2)
    _contraction(axes, table)
    for row in table.to_dict("records"):
        colour, marker = AXIS_STYLE[row["axis"]]
        place = (row["cost"], row["accuracy"] * 100)
        axes.plot(*place, marker, color=colour, ms=10, mec="black", zorder=3)
        contracted = row["kind"] == "contraction"
        name = f"contract {row['axis']}" if contracted else row["axis"]
        axes.annotate(name, place, xytext=(-9, 6), textcoords="offset points", ha="right",
                      fontsize=9, fontweight="bold")  # fmt: skip
    _target(axes, run, unit)
    _dress(axes, len(tried), "G" if unit == 1e9 else "M")
    return figure


def _losers(axes: Axes, losers: pd.DataFrame) -> None:
    for axis, group in losers.groupby("axis"):
        colour, marker = AXIS_STYLE[str(axis)]
        axes.plot(group["cost"], group["accuracy"] * 100, marker, color=colour, ms=6,
                  alpha=0.55, label=f"{axis}, not chosen", zorder=1)  # fmt: skip


def _contraction(axes: Axes, table: pd.DataFrame) -> None:
    last = table.tail(2)
    if len(last) == 2 and last.iloc[1]["kind"] == "contraction":
        axes.plot(last["cost"], last["accuracy"] * 100, ":", color="0.25", lw=1.5, zorder=2)


def _target(axes: Axes, run: Run, unit: float) -> None:
    contracted = contraction(run)
    if contracted is not None and started(run).problem.cost == "flops":
        place = contracted.target / unit
        axes.axvline(place, ls="--", color="0.5", lw=1)
        axes.annotate("target", (place, 0.98), xycoords=("data", "axes fraction"), rotation=90, va="top",
                      ha="right", fontsize=8, color="0.35")  # fmt: skip


def _dress(axes: Axes, tried: int, unit: str) -> None:
    axes.set_xscale("log")
    for ticks in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        ticks(lambda value, _: f"{value:g}")
    axes.set_xlabel(f"multiply-adds of one view at the training crop, {unit}")
    axes.set_ylabel("proxy validation accuracy (video_top1), %")
    axes.set_title(f"Expansion, one axis at a time ({tried} candidates trained)")
    axes.grid(True, which="both", color="0.9", lw=0.5)
    axes.margins(x=0.08, y=0.15)
    handles, _ = axes.get_legend_handles_labels()
    if handles:
        axes.legend(fontsize=8, loc="lower right", framealpha=0.9)


def save_trajectory(run: Run, path: Path) -> Path:
    """Writes `trajectory` as a PNG; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure = trajectory(run)
    figure.savefig(path, dpi=150)
    plt.close(figure)
    return path
