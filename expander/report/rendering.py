"""Tables as people read them on a page: rounded, with units, and with the value that sorting goes by."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from expander.report.tables import macs_text
from expander.specs.cost_kinds import duration_text

PERCENT = ("accuracy", "accuracy_low", "accuracy_high", "video_top1", "best_video_top1", "mAP", "best_mAP",
           "data_wait")  # fmt: skip
POINTS = ("score", "behind", "lead", "low", "high")
COSTS = ("cost", "macs_per_video")

STEP_ORDER = (
    "step", "kind", "axis", "cost", "ratio", "accuracy", "accuracy_low", "accuracy_high", "runner_up",
    "lead", "low", "high", "tie", "frames", "stride", "crop", "widths", "inner_widths", "depths", "params",
    "activations", "seeds", "seconds",
)  # fmt: skip
DECISION_ORDER = (
    "step", "axis", "chosen", "accuracy", "score", "behind", "low", "high", "tie", "cost", "ratio", "params",
    "activations", "latency", "seeds", "seconds", "loss", "reason", "spec",
)  # fmt: skip
BASELINE_ORDER = (
    "kind", "name", "accuracy", "cost", "params", "activations", "seeds", "seconds", "loss", "spec",
)  # fmt: skip
TRAINING_ORDER = (
    "run", "state", "best_video_top1", "best_mAP", "best_epoch", "video_top1", "mAP", "epochs", "val_loss",
    "cost", "params", "clips_per_second", "data_wait", "spec",
)  # fmt: skip
TEST_ORDER = (
    "run", "test", "metric", "value", "low", "high", "views", "videos", "failed", "protocol",
    "macs_per_video", "videos_per_second", "spec",
)  # fmt: skip
"""The columns of a page's tables, what people decide by first; the others are in the CSV."""


def cells(table: pd.DataFrame, order: tuple[str, ...]) -> dict[str, Any]:
    """columns, and rows of (text, sort key, whether a number); columns without any value are left out."""
    kept = [str(name) for name in order if _says(table[name])]
    # In a table of tests these are metrics, elsewhere scores.
    shares = {"value", "low", "high"} if "metric" in kept else set()
    units = ["accuracy" if name in shares else name for name in kept]
    rows = [[_cell(unit, value) for unit, value in zip(units, row, strict=True)]
            for row in table[kept].itertuples(index=False)]  # fmt: skip
    return {"columns": kept, "rows": rows}


def _says(column: pd.Series[Any]) -> bool:
    if isinstance(column.dtype, pd.StringDtype):
        return bool((column != "").any())
    return bool(column.notna().any())


def _cell(name: str, value: Any) -> tuple[str, str, bool]:
    if isinstance(value, str):
        return value, value, False
    if pd.isna(value):
        return "", "", True
    if isinstance(value, bool | np.bool_):
        return ("yes" if value else ""), str(int(value)), False
    return _number(name, value), repr(float(value)), True


def _number(name: str, value: Any) -> str:
    if name in COSTS:
        return macs_text(value)
    if name in PERCENT:
        return f"{value:.1%}"
    if name in POINTS:
        return f"{value * 100:+.1f}"
    if name == "seconds":
        return duration_text(value)
    return f"{value:.3g}" if isinstance(value, float) else f"{value:,}"
