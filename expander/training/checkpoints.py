"""Checkpoints of a training: whole or not there, known by their SHA-256, the newest valid one counts.

A checkpoint is a file and a manifest of the same name that is written after it, so a file without a
manifest was never finished. Tensors and plain values only: nothing that runs code is read back.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from expander.config.reading import parse_json
from expander.errors import DataError, EnvironmentFault, UsageError
from expander.runs.events import to_json
from expander.runs.journal import write_atomic
from expander.training.training_folder import Training

log = logging.getLogger(__name__)

KEPT = 2
"""One to go on from, and the one before it, should the disk have damaged it."""


class Checkpoints:
    """Of one training, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, step: int, state: Mapping[str, Any], keep: int = KEPT) -> None:
        """Writes the state after `step` optimiser steps; durable on return. Raises EnvironmentFault."""
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        content = buffer.getvalue()
        file = self.folder / f"step-{step:08d}.pt"
        write_atomic(file, content)
        facts = {"step": step, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        write_atomic(file.with_suffix(".json"), json.dumps(facts).encode())
        for old in self._manifests()[keep:]:
            _delete(old)

    def newest(self) -> dict[str, Any] | None:
        """The newest state that is undamaged; None when there is none. Damaged ones are warned of."""
        return next(self.valid(), None)

    def clear(self) -> None:
        """Deletes all of them: the training is finished."""
        for manifest in self._manifests():
            _delete(manifest)

    def valid(self) -> Iterator[dict[str, Any]]:
        """All undamaged states, the newest first. Damaged ones are warned of."""
        for manifest in self._manifests():
            try:
                facts = parse_json(manifest.read_bytes())
                content = manifest.with_suffix(".pt").read_bytes()
                if hashlib.sha256(content).hexdigest() != facts["sha256"]:
                    raise ValueError("its SHA-256 is not the manifest's")
                yield torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            except (OSError, ValueError, KeyError, TypeError, pickle.UnpicklingError) as error:
                log.warning("%s: damaged checkpoint, an older one is used: %s", manifest, error)

    def _manifests(self) -> list[Path]:
        """The newest first."""
        return sorted(self.folder.glob("step-*.json"), reverse=True)


def _delete(manifest: Path) -> None:
    # The manifest first: what a kill leaves in between is a file that does not count.
    try:
        manifest.unlink(missing_ok=True)
        manifest.with_suffix(".pt").unlink(missing_ok=True)
    except OSError as error:
        raise EnvironmentFault(f"{manifest}: cannot be deleted: {error.strerror}") from None


HARMLESS = ("checkpoint_minutes", "compile")
"""Settings of a recipe that change nothing of the result, or (`compile`) its rounding alone."""
LATER = ("dilation", "validate_stride")
"""Settings that old checkpoints do not have: where they are 1 they are as before, and not said."""


def identity(training: Training) -> dict[str, Any]:
    """Plain values that decide what a training computes."""
    recipe = json.loads(to_json(training.recipe))
    recipe = {name: value for name, value in recipe.items() if value != 1 or name not in LATER}
    # As these it is said only where it is another than before.
    task = {} if training.task == "classification" else {"task": training.task}
    return task | {
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
    parts = [(what, found[what], wanted[what]) for what in ("spec", "recipe")]
    for what, old, new in (*parts, ("training", found, wanted)):
        if differing := _differences(old, new):
            raise UsageError(f"{folder}: the checkpoint is of another {what}: {differing}; {remedy}")


def _differences(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    """The first three keys that differ, with both values."""
    flat = _flat(found), _flat(wanted)
    told = {key: [of.get(key, 1 if key in LATER else None) for of in flat] for key in flat[1] | flat[0]}
    differ = [f"{key} {own} instead of {other}" for key, (own, other) in told.items() if own != other]
    return ", ".join(differ[:3])


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in values.items():
        out |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return out
