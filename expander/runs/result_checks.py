"""Results of trainings and tests, weighed when they are read: within range, and in accord with themselves.

What a file does not say is not asked of it: files of earlier versions say less.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from expander.runs.checks import NEAR, amount, require, share

FINITE = ("epoch", "step", "lr", "clips_per_second", "data_wait")


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def check_metrics(row: Mapping[str, Any]) -> None:
    """Raises ValueError for a row of metrics.jsonl whose values cannot be."""
    for name in FINITE:
        if (value := _number(row.get(name))) is not None:
            amount(value, name)
    for name in ("video_top1", "mAP"):
        if (value := _number(row.get(name))) is not None:
            share(value, name)
    if (value := _number(row.get("val_loss"))) is not None:
        require(-NEAR <= value < math.inf, f"val_loss {value} is no finite number of at least 0")


def check_best(epoch: int, step: int, goodness: float) -> None:
    """Raises ValueError for a best validation that cannot be."""
    amount(epoch, "best.epoch")
    amount(step, "best.step")
    share(goodness, "best.goodness")


def check_test(found: Mapping[str, Any]) -> None:
    """Raises ValueError for the result of a test whose parts contradict each other."""
    metrics = found.get("metrics")
    for name, parts in (metrics if isinstance(metrics, dict) else {}).items():
        for key, value in (parts if isinstance(parts, dict) else {"value": parts}).items():
            if _number(value) is not None:
                share(value, f"{name}: {key}")
    counts = _counts(found)
    if counts is not None:
        _check_counts(found, counts)
    _check_cost(found)


def _counts(found: Mapping[str, Any]) -> dict[tuple[int, int], int] | None:
    """Videos by (true, predicted) class; none where the result does not say."""
    rows = found.get("confusion")
    if not isinstance(rows, list) or not rows or not isinstance(found.get("n"), int):
        return None
    plain = all(isinstance(row, list) and len(row) == 3 and all(type(x) is int for x in row) for row in rows)
    return {(true, predicted): count for true, predicted, count in rows} if plain else None


def _check_counts(found: Mapping[str, Any], counts: Mapping[tuple[int, int], int]) -> None:
    """Whole numbers first: the videos, then what is a share of them."""
    videos, right = sum(counts.values()), sum(n for (true, said), n in counts.items() if true == said)
    require(min(counts.values()) >= 0, "confusion: a count below 0")
    require(videos == found["n"], f"n {found['n']}, the confusion has {videos} videos")
    top1 = (found.get("metrics") or {}).get("top1")
    value = _number(top1.get("value") if isinstance(top1, dict) else top1)
    if value is not None and videos:
        require(abs(value - right / videos) <= NEAR, f"top1 {value}, {right} of {videos} videos are right")
    names = found.get("classes")
    for row in found.get("per_class") or []:
        if isinstance(row, dict) and isinstance(names, list) and row.get("class") in names:
            _check_class(row, names.index(row["class"]), counts)


def _check_class(row: Mapping[str, Any], label: int, counts: Mapping[tuple[int, int], int]) -> None:
    videos = sum(n for (true, _), n in counts.items() if true == label)
    value = _number(row.get("accuracy"))
    require(row.get("n") == videos, f"{row['class']}: n {row.get('n')}, the confusion has {videos}")
    if value is not None and videos:
        right = counts.get((label, label), 0)
        require(abs(value - right / videos) <= NEAR, f"{row['class']}: accuracy {value}, {right} of {videos}")


def _check_cost(found: Mapping[str, Any]) -> None:
    cost, views = found.get("cost"), found.get("views")
    if not isinstance(cost, dict):
        return
    each, count, whole = (cost.get(name) for name in ("macs_per_view", "views", "macs_per_video"))
    if type(each) is int and type(count) is int and type(whole) is int:
        require(each * count == whole, f"macs_per_video {whole}, {count} views of {each}")
    if isinstance(views, dict) and {"clips", "crops"} <= set(views) and type(count) is int:
        require(views["clips"] * views["crops"] == count, f"{count} views, not {views['clips']} x "
                f"{views['crops']}")  # fmt: skip
