"""Fills the cache of decoded frames of a machine: once, whoever asks for it."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from expander.config.settings import DataConfig
from expander.data.sources import Films, decoder, every
from expander.video.decoder import Decoder, VideoError

SAMPLE = 8
"""Videos whose size is taken for that of all."""
UNREADABLE = "unreadable"
"""A file in the cache: how many videos could not be decoded when it was filled."""


def fill_cache(
    data: Films, config: DataConfig, progress: Callable[[int, int], None] | None = None
) -> int:
    """Decodes every video once into the cache, on all CPUs, if the cache has room for all of them; how many
    it decoded.

    Trials would do the same one by one; together it is done before the first of them waits. Of the
    processes of a machine that ask at the same time one decodes, and the others wait for it.
    """
    paths = [*data.train.paths, *data.val.paths]
    with contextlib.closing(decoder(config, data.fingerprint)) as frames:
        # Of a large set a few are looked at, not all: every trial asks.
        few = [path for path in _few(paths) if frames.lacks(path)]
        if frames.cache is None or len(paths) * _typical_bytes(frames, few) > frames.cache.budget:
            return 0
        if not _missing(frames, paths):
            return 0
        cache = frames.cache.folder
    with _alone(cache), contextlib.closing(decoder(config, data.fingerprint)) as frames:
        missing = _missing(frames, paths)
        if not missing or not frames.make_room(len(missing) * _typical_bytes(frames, _few(missing))):
            return 0
        # An unreadable video is the business of the trial that needs it: it is counted there.
        kept = sum(every(missing, config, data.fingerprint, _keep, progress))
        with contextlib.suppress(OSError):
            (cache / UNREADABLE).write_text(str(len(missing) - kept))
    return kept


def _missing(frames: Decoder, paths: Sequence[Path]) -> list[Path]:
    """The videos that the cache does not hold; none if just as many could not be decoded before."""
    missing = [path for path in paths if frames.lacks(path)]
    with contextlib.suppress(OSError):
        if frames.cache is not None and (frames.cache.folder / UNREADABLE).read_text() == str(len(missing)):
            return []
    return missing


def _keep(frames: Decoder, path: Path) -> bool:
    with contextlib.suppress(VideoError):
        frames.read(path, lambda _: np.zeros(1, np.int64))
    return not frames.lacks(path)


def _few(paths: Sequence[Path]) -> Sequence[Path]:
    return paths[:: max(1, len(paths) // SAMPLE)]


def _typical_bytes(frames: Decoder, paths: Sequence[Path]) -> float:
    """Of a decoded video: the mean."""
    sizes = []
    for path in paths:
        with contextlib.suppress(VideoError):
            length, height, width = frames.probe(path)
            sizes.append(3 * length * height * width)
    return sum(sizes) / len(sizes) if sizes else 0.0


@contextlib.contextmanager
def _alone(cache: Path) -> Iterator[None]:
    """While no other process of this machine fills a cache. A process that is killed lets the next one in."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # without a lock it is only slower
            lock = stack.enter_context((cache.parent / ".lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
