"""The confusions of a multi-view test: counts, the table, the figure, the pairs that are confused most.

A test says them as [true, predicted, count] entries, the class of each by its number.
"""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from expander.report.formats import csv_text
from expander.report.style import INK, PAGE, drawing, sheet, style
from expander.runs.journal import write_atomic
from expander.runs.sealed_lines import sealed_document

WRITTEN, READABLE, NAMED = 16, 30, 40
"""Classes up to which cells have room for their numbers; a page for the figure; the figure for names."""

BLUE = style("temporal")[0]
Counts = npt.NDArray[np.int64]


def counts(test: Mapping[str, Any]) -> Counts | None:
    """(true, predicted) videos of a test's result; none where it has no confusions."""
    size, entries = len(_names(test)), test.get("confusion")
    if not isinstance(entries, list) or not entries or not size:
        return None
    found = np.zeros((size, size), np.int64)
    for entry in entries:
        if isinstance(entry, list) and len(entry) == 3:
            true, predicted, count = (int(value) for value in entry)
            if 0 <= true < size and 0 <= predicted < size:
                found[true, predicted] += count
    return found


def _names(test: Mapping[str, Any]) -> list[str]:
    return [str(name) for name in test.get("classes") or []]


def matrix(test: Mapping[str, Any]) -> pd.DataFrame:
    """Counts as a table: a row a true class, a column a predicted one; empty without confusions."""
    found, names = counts(test), _names(test)
    if found is None:
        return pd.DataFrame()
    return pd.DataFrame(found, index=pd.Index(names, name="true \\ predicted"), columns=names)


def figure(test: Mapping[str, Any], width: float, title: str = "") -> Figure | None:
    """Shares of each true class's videos; the diagonal is right. None without confusions.

    width: inches. Up to READABLE classes its colours are those that a page can change.
    """
    found, names = counts(test), _names(test)
    if found is None:
        return None
    shares = found / np.maximum(1, found.sum(axis=1, keepdims=True))
    with drawing():
        drawn = sheet(width, width * 0.98)
        axes = drawn.add_subplot()
        if len(names) <= READABLE:
            _cells(axes, shares)
        else:
            _pixels(axes, shares)
        axes.set(xlim=(-0.5, len(names) - 0.5), ylim=(len(names) - 0.5, -0.5), aspect="equal")
        told = "cells: % of it" if len(names) <= WRITTEN else "a stronger colour: more of it"
        axes.set(xlabel="predicted class", ylabel=f"true class ({told})")
        if len(names) <= NAMED:
            short = [name if len(name) <= 28 else f"{name[:27]}…" for name in names]
            axes.set_xticks(range(len(names)), short, rotation=90)
            axes.set_yticks(range(len(names)), short)
        axes.tick_params(labelsize=9 if len(names) <= WRITTEN else 7)
        axes.grid(False)
        if title:
            drawn.suptitle(title, fontsize=10, wrap=True)
    return drawn


def _cells(axes: Axes, shares: npt.NDArray[np.float64]) -> None:
    """A square a pair, with its number where there is room."""
    for row, column in np.argwhere(shares > 0):
        share = float(shares[row, column])
        axes.add_patch(Rectangle((column - 0.48, row - 0.48), 0.96, 0.96, lw=0,
                                 color=BLUE, alpha=_depth(share)))  # fmt: skip
        if len(shares) <= WRITTEN:
            axes.annotate(f"{share * 100:.0f}", (column, row), ha="center", va="center", fontsize=8,
                          color=INK if share < 0.5 else PAGE)  # fmt: skip


def _pixels(axes: Axes, shares: npt.NDArray[np.float64]) -> None:
    """A pixel a pair: hundreds of classes."""
    depths = np.where(shares > 0, _depth(shares), 0.0)
    axes.imshow(depths, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")


def _depth(share: Any) -> Any:
    """How strong its colour is: the smallest share can be seen."""
    return 0.12 + 0.88 * share


def pairs(test: Mapping[str, Any], most: int = 10) -> list[dict[str, Any]]:
    """The pairs that are taken for each other most often: true, predicted, count, share of the true."""
    found, names = counts(test), _names(test)
    if found is None:
        return []
    wrong = found - np.diag(np.diag(found))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    places = [divmod(int(place), len(names)) for place in order]
    return [{"true": names[t], "predicted": names[p], "count": int(wrong[t, p]),
             "share": float(wrong[t, p] / found[t].sum())} for t, p in places if wrong[t, p]]  # fmt: skip


def write(out: Path, found: Mapping[str, Any], title: str) -> None:
    """A test's result as JSON, and its confusion matrix, if any, beside it as CSV and PNG.

    Raises EnvironmentFault.
    """
    width = min(12.0, 4.3 + 0.25 * len(found["classes"]))
    if (drawn := figure(found, width, title)) is not None:
        write_atomic(out.with_suffix(".confusion.csv"), csv_text(matrix(found).reset_index()).encode())
        png = BytesIO()
        drawn.savefig(png, format="png", dpi=120)
        write_atomic(out.with_suffix(".confusion.png"), png.getvalue())
    write_atomic(out, sealed_document(found))
