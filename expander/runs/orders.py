"""What a worker is told to do."""

from __future__ import annotations

from dataclasses import dataclass

from expander.config.settings import DataConfig, Recipe
from expander.runs.events import Trial


@dataclass(frozen=True, slots=True)
class TrialOrder:
    """What a worker needs to run a trial: plain values, no open files, no tensors.

    folder: its files go to trials/<id> below it, which all workers see. gpus: that the worker holds.
    """

    trial: Trial
    recipe: Recipe
    data: DataConfig
    classes: tuple[str, ...]
    data_fingerprint: str
    folder: str
    threads: int
    gpus: float = 0.0
    checkpoint_seconds: float = 60.0
