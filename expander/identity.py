"""Whether a checkpoint belongs to a training: what both must have in common."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from expander.errors import DataError, UsageError
from expander.records import to_json
from expander.trainings import Training

HARMLESS = ("checkpoint_minutes", "compile")
"""Settings of a recipe that change nothing of the result, or (`compile`) its rounding alone."""


def identity(training: Training) -> dict[str, Any]:
    """Plain values that decide what a training computes."""
    recipe = json.loads(to_json(training.recipe))
    return {
        "classes": list(training.classes),
        "data": training.data_fingerprint,
        "spec": json.loads(to_json(training.spec)),
        "recipe": {key: value for key, value in recipe.items() if key not in HARMLESS},
        "seed": training.seed,
        "overfit_batches": training.overfit_batches,
        "workers": training.workers,
    }


def check_identity(found: dict[str, Any], wanted: dict[str, Any], folder: Path) -> None:
    """Raises DataError or UsageError naming what the checkpoint has and the training has not."""
    remedy = "start another training with --run"
    if len(found["classes"]) != len(wanted["classes"]):
        counts = f"{len(found['classes'])} classes, the training has {len(wanted['classes'])}"
        raise DataError(f"{folder}: the checkpoint has {counts}; {remedy}")
    if found["data"] != wanted["data"] or found["classes"] != wanted["classes"]:
        raise DataError(f"{folder}: the checkpoint is of another data set; {remedy}")
    for what in ("spec", "recipe"):
        differing = _differences(found[what], wanted[what])
        if differing:
            raise UsageError(f"{folder}: the checkpoint is of another {what}: {differing}; {remedy}")
    differing = _differences(found, wanted)
    if differing:
        raise UsageError(f"{folder}: the checkpoint is of another training: {differing}; {remedy}")


def _differences(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    """The first three keys that differ, with both values."""
    flat = _flat(found), _flat(wanted)
    keys = [key for key in flat[1] | flat[0] if flat[0].get(key) != flat[1].get(key)]
    return ", ".join(f"{key} {flat[0].get(key)} instead of {flat[1].get(key)}" for key in keys[:3])


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in values.items():
        out |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return out
