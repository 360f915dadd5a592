"""From the data settings of a run to videos: a user's lists, or the embedded data set."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
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


def decoder(config: DataConfig, fingerprint: str) -> Decoder:
    """A decoder on the cache of decoded frames of a data set."""
    return Decoder(cache_folder() / "frames" / fingerprint[:16], config.cache_gb * 1e9)


def fill_cache(
    data: VideoData, config: DataConfig, progress: Callable[[int, int], None] | None = None
) -> None:
    """Decodes every video once into the cache, on all CPUs, if the cache has room for all of them.

    Trials would do the same one by one; together it is done before the first of them waits.
    """
    frames = decoder(config, data.fingerprint)
    paths = [path for path in (*data.train.paths, *data.val.paths) if frames.lacks(path)]
    if not paths or not frames.make_room(len(paths) * _typical_bytes(paths)):
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), mp_context=context) as pool:
        for done, _ in enumerate(pool.map(partial(_decode, config, data.fingerprint), paths, chunksize=8), 1):
            if progress is not None:
                progress(done, len(paths))


def _decode(config: DataConfig, fingerprint: str, path: Path) -> None:
    # An unreadable video is the business of the trial that needs it: it is counted there.
    with contextlib.suppress(VideoError):
        _filling(config, fingerprint).read(path, lambda _: np.zeros(1, np.int64))


@cache
def _filling(config: DataConfig, fingerprint: str) -> Decoder:
    """One decoder a process of the pool: each new one looks through the whole cache."""
    return decoder(config, fingerprint)


def _typical_bytes(paths: Sequence[Path]) -> float:
    """Of a decoded video: the mean over a few."""
    sizes = []
    for path in paths[:: max(1, len(paths) // 8)]:
        with contextlib.suppress(VideoError):
            frames, height, width = probe(path)
            sizes.append(3 * frames * height * width)
    return sum(sizes) / len(sizes) if sizes else 0.0
