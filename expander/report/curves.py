"""The loss and accuracy of a full training over its steps (matplotlib)."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from expander.trainings import Training, TrainingFolder

BLUE, ORANGE = "#0072B2", "#D55E00"  # told apart by colour-blind readers


def curves(folder: TrainingFolder) -> Figure:
    """Above: training and validation loss; below: video_top1, the best one marked."""
    training, table = folder.read(), pd.DataFrame(folder.rows())
    table["at"] = table["step"] / training.steps_per_epoch
    figure, (loss, accuracy) = plt.subplots(2, 1, figsize=(7, 6), sharex=True, layout="constrained")
    _draw(loss, table, "loss", "training", BLUE, "-")
    _draw(loss, table, "val_loss", "validation", ORANGE, "o-")
    loss.set_ylabel("cross-entropy")
    loss.legend(fontsize=8)
    loss.set_title(f"{folder.folder.name}: {training.spec}", fontsize=10)
    _accuracy(accuracy, table, training)
    for axes in (loss, accuracy):
        axes.grid(True, color="0.9", lw=0.5)
    return figure


def _draw(axes: Axes, table: pd.DataFrame, column: str, label: str, colour: str, form: str) -> None:
    if column in table:
        rows = table.dropna(subset=[column])
        axes.plot(rows["at"], rows[column], form, color=colour, ms=4, lw=1.2, label=label)


def _accuracy(axes: Axes, table: pd.DataFrame, training: Training) -> None:
    if "video_top1" in table:
        table = table.assign(percent=table["video_top1"] * 100)
        _draw(axes, table, "percent", "validation", ORANGE, "o-")
    if training.best is not None:
        at, best = training.best.step / training.steps_per_epoch, training.best.video_top1 * 100
        axes.plot(at, best, "*", color="black", ms=12)
        axes.annotate(f"best {best:.1f} %", (at, best), xytext=(-8, -14), textcoords="offset points",
                      ha="right", fontsize=9)  # fmt: skip
    axes.set_xlabel("epoch")
    axes.set_ylabel("video_top1, %")


def save_curves(folder: TrainingFolder, path: Path) -> Path:
    """Writes `curves` as a PNG; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure = curves(folder)
    figure.savefig(path, dpi=150)
    plt.close(figure)
    return path
