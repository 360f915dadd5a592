"""A confusion matrix as a table and as a figure (matplotlib)."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure

NAMED = 40
"""Classes up to which the figure has room for their names."""


def matrix(entries: Sequence[Sequence[int]], classes: Sequence[str]) -> pd.DataFrame:
    """Counts from [true, predicted, count] entries: a row a true class, a column a predicted one."""
    counts = np.zeros((len(classes), len(classes)), np.int64)
    for true, predicted, count in entries:
        counts[true, predicted] = count
    names = list(classes)
    return pd.DataFrame(counts, index=pd.Index(names, name="true \\ predicted"), columns=names)


def figure(table: pd.DataFrame, title: str) -> Figure:
    """Shares of each true class's videos, dark is many; the diagonal is right."""
    counts: npt.NDArray[np.int64] = table.to_numpy()
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    size = min(12.0, 3.5 + 0.25 * len(table))
    drawn, axes = plt.subplots(figsize=(size + 0.8, size), layout="constrained")
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    drawn.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    axes.set(title=title, xlabel="predicted", ylabel="true")
    if len(table) <= NAMED:
        places, names = range(len(table)), [str(name) for name in table.index]
        axes.set_xticks(places, names, rotation=90, fontsize=8)
        axes.set_yticks(places, names, fontsize=8)
    return drawn
