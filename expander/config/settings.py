"""Settings of a run: proxy and full recipe, data, choice, contraction and backend. Frozen, checked here.

Every class refuses unknown keys and raises ValueError for a value out of range, so a setting that
is accepted is a setting that has an effect.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

from pydantic import ConfigDict

from expander.config.bounds import check_bounds
from expander.config.storage import check_storage

STRICT = ConfigDict(extra="forbid")
Task = Literal["classification", "detection"]
"""What a network is asked: what a video shows, or what each person in a key frame does."""
PERSONS: dict[Task, int | None] = {"classification": None, "detection": 1}
"""Persons of a view whose boxes its cost counts."""
MOST_RUNGS = 100
LR_CLIPS = 128
"""Clips of a batch for which TrainRecipe.lr is meant."""


def _require(ok: bool, message: str) -> None:
    if not ok:
        raise ValueError(message)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a candidate is trained and validated; the same for all candidates of a run.

    steps: optimiser steps. batch: clips a step. lr: peak learning rate for this batch. warmup:
    share of the steps. he_head: He initialisation of the head's first linear, for heads
    narrower than the published 2048. views: uniform clips per validation video, their probabilities
    averaged. dilation: of detection, as in TrainRecipe. inherit: share of the steps that a candidate trains
    which begins with the weights of the spec it grew from; 0: every candidate begins from scratch. What a
    search ends with is trained from scratch.
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
    dilation: int = 1
    inherit: float = 0.0

    def __post_init__(self) -> None:
        check_bounds(self)
        _require(0 <= self.inherit <= 1, "inherit must lie between 0 and 1")
        for name in ("steps", "batch", "views", "dilation"):
            _require(getattr(self, name) >= 1, f"{name} must be at least 1")
        _require(0 < self.lr < math.inf, "lr must be a positive number")
        _require(0 <= self.weight_decay < math.inf, "weight_decay must not be negative")
        for name in ("warmup", "momentum", "dropout"):
            _require(0 <= getattr(self, name) < 1, f"{name} must be at least 0 and below 1")


@dataclass(frozen=True, slots=True)
class TrainRecipe:
    """How a network is trained to the end. The defaults: X3D's, as in SlowFast's configurations.

    epochs: passes over the training videos. batch: clips a step, over all processes. lr: peak
    learning rate per LR_CLIPS clips of the batch. warmup: share of the training that it rises in. he_head:
    as in Recipe; none: for heads narrower than the published 2048. label_smoothing: share of the target
    spread over all classes. mixup: alpha of Beta(alpha, alpha), 0 for none. clip_norm: largest
    gradient norm, 0 for no limit. accumulate: parts that a step's clips are computed in. ema: decay of
    the averaged weights that are validated and kept, 0 for none. precise_bn: batches (at most an epoch's)
    whose mean statistics batch norm gets before each validation, 0 for the running ones. views: clips
    a validation video. dilation: of detection, rows and columns between neighbouring taps of the last
    stage's convolutions. validate_every, patience: epochs; validations without a better video_top1 before
    the training stops, 0 for never. checkpoint_minutes: at most, between two checkpoints. precision:
    auto is bfloat16 autocast on a GPU that has it, float32 elsewhere. compile: torch.compile. sync_bn:
    batch norm over the clips of all processes. validate_stride: of detection, validations score the key
    frames of every so many seconds, the one after the last epoch all; 1: each scores all.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT
    epochs: int = 300
    batch: int = 128
    lr: float = 0.1
    warmup: float = 0.1167
    momentum: float = 0.9
    weight_decay: float = 5e-5
    dropout: float = 0.5
    he_head: bool | None = None
    flip: bool = True
    label_smoothing: float = 0.0
    mixup: float = 0.0
    clip_norm: float = 0.0
    accumulate: int = 1
    ema: float = 0.0
    precise_bn: int = 200
    views: int = 3
    dilation: int = 1
    validate_every: int = 10
    patience: int = 0
    checkpoint_minutes: float = 5.0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: bool = False
    sync_bn: bool = False
    validate_stride: int = 1

    def __post_init__(self) -> None:
        check_bounds(self)
        whole = ("epochs", "batch", "accumulate", "views", "dilation", "validate_every", "validate_stride")
        for name in whole:
            _require(getattr(self, name) >= 1, f"{name} must be at least 1")
        for name in ("precise_bn", "patience"):
            _require(getattr(self, name) >= 0, f"{name} must not be negative")
        for name in ("weight_decay", "mixup", "clip_norm", "checkpoint_minutes"):
            _require(0 <= getattr(self, name) < math.inf, f"{name} must not be negative")
        for name in ("warmup", "momentum", "dropout", "label_smoothing", "ema"):
            _require(0 <= getattr(self, name) < 1, f"{name} must be at least 0 and below 1")
        _require(0 < self.lr < math.inf, "lr must be a positive number")
        _require(self.batch % self.accumulate == 0, "accumulate must divide batch")

    def loop(self, steps: int, he_head: bool) -> Recipe:
        """The recipe of the training loop, for so many steps: the learning rate scaled to the batch."""
        return Recipe(
            steps=steps,
            batch=self.batch,
            lr=self.lr * self.batch / LR_CLIPS,
            warmup=self.warmup,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            dropout=self.dropout,
            he_head=he_head,
            flip=self.flip,
            views=self.views,
            dilation=self.dilation,
        )


@dataclass(frozen=True, slots=True)
class DataConfig:
    """Where the videos are. With neither folder nor annotation files: the embedded data set.

    folder: with lists or class folders in it, or a CSV of `data index`. train_ann, val_ann: annotation
    files. root: folder the paths start from (default: `folder`). train_root, val_root: of one list, in place
    of `root`. ann_format: a key of
    data.format_detection.FORMATS, `folders`, or `auto`. allow_outside: whether paths may leave the root.
    shuffle_buffer: from how many videos a pass over shards draws the next (0: from all).
    workers: loader processes per trial. cache_gb: decoded frames kept on disk, GB (0: none).
    store_gb: videos of a store kept on disk, GB.
    decode_timeout: seconds a video may take to decode before it counts as unreadable; a large one that is
        read from the start may take longer, in proportion.
    train_score, test_score: of detection, the least score of a detected person that is trained on and tested.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT
    folder: str | None = None
    train_ann: str | None = None
    val_ann: str | None = None
    root: str | None = None
    train_root: str | None = None
    val_root: str | None = None
    ann_format: str = "auto"
    allow_outside: bool = False
    shuffle_buffer: int = 0
    workers: int = 0
    cache_gb: float = 8.0
    store_gb: float = 50.0
    decode_timeout: float = 60.0
    max_bad_fraction: float = 0.01
    train_score: float = 0.9
    test_score: float = 0.8

    def __post_init__(self) -> None:
        check_bounds(self)
        both = (self.train_ann is None) == (self.val_ann is None)
        _require(both, "train_ann and val_ann go together: give both, or neither for embedded data")
        _require(not (self.folder and self.train_ann), "give a folder, or train_ann and val_ann, not both")
        own = self.folder is not None or self.train_ann is not None
        for place in (self.root, self.train_root, self.val_root):
            _require(place is None or own, "a root needs a folder, or train_ann and val_ann")
        _require(self.shuffle_buffer >= 0, "shuffle_buffer must not be negative")
        _require(self.workers >= 0, "workers must not be negative")
        _require(0 <= self.cache_gb < math.inf, "cache_gb must not be negative")
        _require(0 < self.store_gb < math.inf, "store_gb must be a positive number")
        _require(0 < self.decode_timeout < math.inf, "decode_timeout must be a positive number")
        _require(0 <= self.max_bad_fraction < 1, "max_bad_fraction must be at least 0 and below 1")
        for name in ("train_score", "test_score"):
            _require(0 <= getattr(self, name) <= 1, f"{name} must lie between 0 and 1")


@dataclass(frozen=True, slots=True)
class Selection:
    """How a step is decided.

    score: accuracy gained per doubling of cost (`gain`), or the accuracy itself (`accuracy`).
    seeds: trainings per candidate. max_seeds: so many for the candidates that are still tied with
    the leader (none: no more than `seeds`). base_seeds: trainings of the base at the least; they show how
    far seeds lie apart, which every interval counts. seed_spread: what that is taken to be before the
    run shows it, as a share of sqrt(p (1 - p)) at accuracy p; 0: only what the run shows counts.
    rungs: shares of the steps after which the candidates that are beaten beyond doubt stop.
    confidence, resamples: of the paired bootstrap; with rungs or max_seeds, of the whole decision.
    contraction: train one along every axis and choose, or take the `nearest` to the target.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT
    score: Literal["gain", "accuracy"] = "gain"
    seeds: int = 1
    confidence: float = 0.95
    resamples: int = 2000
    max_seeds: int | None = None
    base_seeds: int = 3
    seed_spread: float = 0.08
    rungs: tuple[float, ...] = ()
    contraction: Literal["trained", "nearest"] = "trained"

    def __post_init__(self) -> None:
        check_bounds(self)
        _require(self.seeds >= 1, "seeds must be at least 1")
        _require(0 < self.confidence < 1, "confidence must lie between 0 and 1")
        _require(self.resamples >= 100, "resamples must be at least 100")
        _require(self.most_seeds >= self.seeds, "max_seeds must not be below seeds")
        _require(self.base_seeds >= 1, "base_seeds must be at least 1")
        _require(0 <= self.seed_spread <= 1, "seed_spread must lie between 0 and 1")
        blind = self.seeds == 1 and self.seed_spread == 0 and self.most_seeds > 1
        _require(not blind, "a race from one seed needs a seed_spread: one training says nothing of the "
                 "spread between trainings")  # fmt: skip
        few = f"rungs must be at most {MOST_RUNGS}: at each, trials stop and are weighed"
        _require(len(self.rungs) <= MOST_RUNGS, few)
        rising = all(low < high for low, high in pairwise((0.0, *self.rungs, 1.0)))
        _require(rising, "rungs must rise between 0 and 1, e.g. [0.25, 0.5]")

    @property
    def most_seeds(self) -> int:
        """Trainings that a candidate may get."""
        return self.seeds if self.max_seeds is None else self.max_seeds


@dataclass(frozen=True, slots=True)
class BackendConfig:
    """Where trials run.

    cpus_per_trial: its torch threads too. gpus_per_trial: none says one where there are any.
    address: of a Ray cluster; `local` starts one here. max_failures: retries of a crashed trial;
    the loss of a node counts only if neither it nor its step came on since the last.
    storage: folder for the trials' files that every node sees at the same path, or an address in
    a store (none: the run's own). checkpoint_seconds: between two checkpoints of a trial, which
    shorter trials do without. log: trackers told of every trial, by Ray Tune's callbacks.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT
    kind: Literal["ray", "processes", "inline"] = "ray"
    log: tuple[Literal["tensorboard", "mlflow", "wandb"], ...] = ()
    cpus_per_trial: int = 1
    gpus_per_trial: float | None = None
    address: str = "local"
    max_failures: int = 1
    storage: str | None = None
    checkpoint_seconds: float = 60.0

    def __post_init__(self) -> None:
        check_bounds(self)
        _require(self.cpus_per_trial >= 1, "cpus_per_trial must be at least 1")
        _require(0 <= (self.gpus_per_trial or 0) < math.inf, "gpus_per_trial must not be negative")
        _require(self.max_failures >= 0, "max_failures must not be negative")
        _require(0 <= self.checkpoint_seconds < math.inf, "checkpoint_seconds must not be negative")
        client = "address: Ray Client (ray://) cannot carry a search; take auto or HEAD:6379 on a node"
        _require(not self.address.startswith("ray://"), f"{client}, or submit it as a Ray job")
        check_storage(self.storage)


@dataclass(frozen=True, slots=True)
class Budget:
    """What a search may spend before it stops; none: no limit.

    hours: wall time of one call. trials: trained in the whole run, reused ones not counted.
    gpu_hours: hours of all trials of the run times the GPUs that each held.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT
    hours: float | None = None
    trials: int | None = None
    gpu_hours: float | None = None

    def __post_init__(self) -> None:
        check_bounds(self)
        for name in ("hours", "trials", "gpu_hours"):
            value = getattr(self, name)
            _require(value is None or 0 < value < math.inf, f"{name} must be a positive number")
