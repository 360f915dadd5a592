"""Folders of runs and trainings, by name."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from expander.errors import UsageError
from expander.runs.names import RULE, is_plain

if TYPE_CHECKING:
    from expander.training.training_folder import TrainingFolder


def run_folder(name: str | None, wanted: str) -> Path:
    """runs/NAME; without a name one of `wanted` and the time. Raises UsageError for no plain folder name."""
    from expander.engine.references import RUNS

    if name is None:
        plain = re.sub(r"[^A-Za-z0-9._-]", "", wanted)
        return RUNS / f"{plain}-{datetime.now():%Y%m%d-%H%M%S}"
    if not is_plain(name):
        raise UsageError(f"--run {name!r}: {RULE}")
    return RUNS / name


def training_folder(name: str | None, spec: str) -> TrainingFolder:
    """The folder of a training, named after its spec by default. Raises UsageError for no plain name."""
    from expander.training.training_folder import TrainingFolder

    plain = re.sub(r"[^A-Za-z0-9._-]", "-", Path(spec).stem).strip("-.")
    return TrainingFolder(run_folder(name, f"train-{plain}"))
