"""Settings of a run: proxy recipe, data, choice, contraction and backend. Frozen, checked here.

Every class refuses unknown keys and raises ValueError for a value out of range, so a setting that
is accepted is a setting that has an effect.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import ConfigDict

STRICT = ConfigDict(extra="forbid")


def _require(ok: bool, message: str) -> None:
    if not ok:
        raise ValueError(message)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a candidate is trained and validated; the same for all candidates of a run.

    steps: optimiser steps. batch: clips a step. lr: peak learning rate for this batch. warmup:
    share of the steps. he_head: He initialisation of the head's first linear, for heads
    narrower than the published 2048. views: uniform clips per validation video, their probabilities
    averaged.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT
    steps: int = 200
    batch: int = 32
    lr: float = 0.1
    warmup: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-5
    dropout: float = 0.5
    he_head: bool = False
    flip: bool = True
    views: int = 2

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "views"):
            _require(getattr(self, name) >= 1, f"{name} must be at least 1")
        _require(0 < self.lr < math.inf, "lr must be a positive number")
        _require(0 <= self.weight_decay < math.inf, "weight_decay must not be negative")
        for name in ("warmup", "momentum", "dropout"):
            _require(0 <= getattr(self, name) < 1, f"{name} must be at least 0 and below 1")


@dataclass(frozen=True, slots=True)
class DataConfig:
    """Where the videos are. With neither folder nor annotation files: the embedded data set.

    folder: with lists or class folders in it, or a CSV of `data index`. train_ann, val_ann: annotation
    files. root: folder the paths start from (default: `folder`). ann_format: a key of
    data.formats.FORMATS, `folders`, or `auto`. allow_outside: whether paths may leave the root.
    workers: loader processes per trial. cache_gb: decoded frames kept on disk, GB (0: none).
    decode_timeout: seconds a video may take to decode before it counts as unreadable.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT
    folder: str | None = None
    train_ann: str | None = None
    val_ann: str | None = None
    root: str | None = None
    ann_format: str = "auto"
    allow_outside: bool = False
    workers: int = 0
    cache_gb: float = 8.0
    decode_timeout: float = 60.0
    max_bad_fraction: float = 0.01

    def __post_init__(self) -> None:
        both = (self.train_ann is None) == (self.val_ann is None)
        _require(both, "train_ann and val_ann go together: give both, or neither for embedded data")
        _require(not (self.folder and self.train_ann), "give a folder, or train_ann and val_ann, not both")
        own = self.folder is not None or self.train_ann is not None
        _require(self.root is None or own, "root needs a folder, or train_ann and val_ann")
        _require(self.workers >= 0, "workers must not be negative")
        _require(0 <= self.cache_gb < math.inf, "cache_gb must not be negative")
        _require(0 < self.decode_timeout < math.inf, "decode_timeout must be a positive number")
        _require(0 <= self.max_bad_fraction < 1, "max_bad_fraction must be at least 0 and below 1")


@dataclass(frozen=True, slots=True)
class Selection:
    """How a step is decided.

    score: accuracy gained per doubling of cost (`gain`), or the accuracy itself (`accuracy`).
    seeds: trainings per candidate. confidence, resamples: of the paired bootstrap.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT
    score: Literal["gain", "accuracy"] = "gain"
    seeds: int = 1
    confidence: float = 0.95
    resamples: int = 2000

    def __post_init__(self) -> None:
        _require(self.seeds >= 1, "seeds must be at least 1")
        _require(0 < self.confidence < 1, "confidence must lie between 0 and 1")
        _require(self.resamples >= 100, "resamples must be at least 100")


@dataclass(frozen=True, slots=True)
class BackendConfig:
    """Where trials run.

    log: trackers told of every trial, by Ray Tune's callbacks. cpus_per_trial: its torch threads too.
    gpus_per_trial: none says one where there are any. address: of a Ray cluster; `local` starts one
    here. max_failures: retries of a crashed trial.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT
    kind: Literal["ray", "inline"] = "ray"
    log: tuple[Literal["tensorboard", "mlflow", "wandb"], ...] = ()
    cpus_per_trial: int = 1
    gpus_per_trial: float | None = None
    address: str = "local"
    max_failures: int = 1

    def __post_init__(self) -> None:
        _require(self.cpus_per_trial >= 1, "cpus_per_trial must be at least 1")
        _require(0 <= (self.gpus_per_trial or 0) < math.inf, "gpus_per_trial must not be negative")
        _require(self.max_failures >= 0, "max_failures must not be negative")
