"""From the data settings of a run to videos: a user's lists, or the embedded data set."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from expander.config import DataConfig
from expander.data import synthetic
from expander.data.annotations import VideoData, read_data
from expander.data.decode import Decoder, VideoError, probe
from expander.errors import DataError, EnvironmentFault
from expander.records import SourceLimits

log = logging.getLogger(__name__)

PROBED = 100
"""Videos looked at for the length and size that a data set gives."""


def cache_folder() -> Path:
    """$XDG_CACHE_HOME/expander, by default ~/.cache/expander."""
    root = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(root) if root else Path.home() / ".cache") / "expander"
    except RuntimeError:
        raise EnvironmentFault("no home folder: set XDG_CACHE_HOME to a writable folder") from None


def embedded(progress: Callable[[int, int], None] | None = None) -> Path:
    """The folder of the embedded data set, made on first use. Raises EnvironmentFault."""
    try:
        return synthetic.ensure(cache_folder(), progress=progress)
    except OSError as error:
        reason = f"{cache_folder()}: the embedded data set cannot be made: {error.strerror}"
        raise EnvironmentFault(f"{reason}; set XDG_CACHE_HOME to a writable folder") from None


def open_data(
    config: DataConfig, progress: Callable[[int, int], None] | None = None
) -> VideoData:
    """The videos of a run, checked. Raises DataError or EnvironmentFault."""
    if config.train_ann is None or config.val_ann is None:
        root = embedded(progress)
        classes = tuple((root / "classes.txt").read_text().split("\n")[:-1])
        return read_data(root / "train.txt", root / "val.txt", root, classes)
    root = Path(config.root or ".")
    return read_data(Path(config.train_ann), Path(config.val_ann), root)


def source_limits(data: VideoData) -> SourceLimits:
    """What a seeded sample of the training videos allows: 19 in 20 are as long and as large.

    Raises DataError when none of the sample can be read.
    """
    rng = np.random.default_rng(0)
    count = min(PROBED, len(data.train))
    sizes = []
    for index in rng.choice(len(data.train), count, replace=False):
        try:
            sizes.append(probe(data.train.paths[index]))
        except VideoError as error:
            log.warning("%s", error)
    if not sizes:
        raise DataError(f"none of {count} training videos can be read; the first is "
                        f"{data.train.paths[0]}")
    frames = int(np.quantile([f for f, _, _ in sizes], 0.05, method="lower"))
    short = int(np.quantile([min(h, w) for _, h, w in sizes], 0.05, method="lower"))
    return SourceLimits(frames, short)


def decoder(config: DataConfig) -> Decoder:
    """A decoder on this process's cache of decoded frames."""
    return Decoder(cache_folder() / "frames", config.cache_gb * 1e9)
