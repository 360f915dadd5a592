"""From the data settings of a run to videos: a user's lists, or the embedded data set."""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from queue import SimpleQueue
from typing import Literal, Protocol, TypeVar

import numpy as np

from expander.config.settings import DataConfig
from expander.data.annotations import Paths, Split, VideoData, assemble, check_root, numbers_of
from expander.data.discovery import find, named_below, present, read
from expander.data.embedded import synthetic
from expander.data.embedded.detection import ensure_scenes
from expander.data.prepared import manifest
from expander.data.rows import read_text
from expander.data.shards.order import buffered
from expander.data.shards.tables import root_of
from expander.data.store import remote
from expander.data.store.addresses import address_of
from expander.data.store.kept import Kept
from expander.data.store.lists import localized, mirrored
from expander.errors import DataError, EnvironmentFault
from expander.runs.events import SourceLimits
from expander.runs.machine import cache_folder, cores
from expander.runs.threads import in_order
from expander.video import verdict_cache
from expander.video.decoder import Decoder, VideoError
from expander.video.tar_members import span_of

log = logging.getLogger(__name__)
Found = TypeVar("Found")

PROBED = 100
"""Videos looked at for the length and size that a data set gives."""

WEIGHED, AT_ONCE = 200, 16
"""Videos whose bytes are asked for, and how many at a time."""


def embedded(progress: Callable[[int, int], None] | None = None) -> Path:
    """The folder of the embedded data set, made on first use. Raises EnvironmentFault."""
    with _made():
        return synthetic.ensure(cache_folder(), progress=progress)


def embedded_detection(progress: Callable[[int, int], None] | None = None) -> Path:
    """The folder of the embedded set for action detection, made on first use. Raises EnvironmentFault."""
    with _made():
        return ensure_scenes(cache_folder(), progress=progress)


@contextlib.contextmanager
def _made() -> Iterator[None]:
    """Tells in one line what the cache folder refuses. Raises EnvironmentFault."""
    try:
        yield
    except OSError as error:
        reason = f"{cache_folder()}: the embedded data set cannot be made: {error.strerror}"
        raise EnvironmentFault(f"{reason}; set XDG_CACHE_HOME to a writable folder") from None


def open_data(
    config: DataConfig, progress: Callable[[int, int], None] | None = None, again: bool = False
) -> VideoData:
    """The videos of a run, checked. again: their run opened them before, and told of rows that are left out,
    of links and of copies. Raises DataError or EnvironmentFault.
    """
    if config.folder is None and config.train_ann is None:
        root = embedded(progress)
        train, val = find(root)
        return assemble(train, val, root, listed_classes(root))
    train, val, root = own_rows(config, again)
    kept, look = [], cache(partial(named_below, again=again))  # both splits may lie in one place
    for split in (train, val):
        start = split.root or root
        check_root(start)
        found, lost = present(split, start, look)
        if lost and not again:
            log.warning("%s: %d rows have no video below %s and are left out", split.file, lost,
                        address_of(start) or start)  # fmt: skip
        kept.append(found)
    data = assemble(kept[0], kept[1], root, listed_classes(lists_folder(config)), config.allow_outside, again)
    _check_learnable(data, train.file, val.file)
    buffered(data.train, config)  # refused now, not by every trial
    return data


def _check_learnable(data: VideoData, train: Path, val: Path) -> None:
    """Raises DataError for labels that nothing can be learnt from or measured by."""
    if data.multi_label and not any(map(numbers_of, data.val.labels)):
        raise DataError(f"{val}: none of its videos has a label, so there is no average precision")
    if len(set(data.train.labels)) < 2:
        which = "have the same labels" if data.multi_label else "are all of one class"
        raise DataError(f"{train}: its videos {which}, of which accuracy is 100 % whatever is learnt; list "
                        "videos of a second class")  # fmt: skip


def own_rows(config: DataConfig, again: bool = False) -> tuple[Split, Split, Path]:
    """The rows of a user's data, and the folder that paths start from, where a split has none of its own.

    again: see `localized`. Raises DataError.
    """
    config = localized(config, again)
    form = config.ann_format
    if config.folder is not None:
        place = Path(config.folder)
        train, val = find(place, form, again)
        root = Path(config.root or (place.parent if os.path.isfile(place) else place))
    else:
        files = Path(config.train_ann or ""), Path(config.val_ann or "")
        train, val = read(files[0], form).only("train"), read(files[1], form).only("val")
        root = Path(config.root or ".")
    return _rooted(train, config.train_root), _rooted(val, config.val_root), root


def _rooted(split: Split, root: str | None) -> Split:
    return split if root is None else replace(split, root=Path(root))


def lists_folder(config: DataConfig, split: Literal["train", "val"] = "train") -> Path:
    """Where the lists or class folders of a user's data lie, and so its classes.txt."""
    config = localized(config, again=True)
    if config.folder is not None:
        place = Path(config.folder)
        if place.name.endswith(".tar"):
            return root_of(place)
        return place.parent if os.path.isfile(place) else place
    return Path((config.train_ann if split == "train" else config.val_ann) or "").parent


def listed_classes(folder: Path) -> tuple[str, ...]:
    """The lines of classes.txt, where there is one in this folder. Raises DataError: one name twice."""
    address = address_of(folder)
    file = (mirrored(address) if address else folder) / "classes.txt"
    if not os.path.isfile(file):
        return ()
    names = tuple(read_text(file).rstrip("\n").split("\n"))
    for number, name in enumerate(names):
        if name in names[:number]:
            raise DataError(f"{file}:{number + 1}: the class {name!r} is named before; name each once")
    return names


def source_limits(data: Films, config: DataConfig) -> SourceLimits:
    """What a seeded sample of the training videos allows, or all of them where a manifest tells their sizes:
    19 in 20 are as long and as large. Raises DataError when none of the sample can be read.
    """
    if isinstance(data, VideoData) and (sizes := _prepared(data, config)):
        return _limits(sizes)
    frames = decoder(config, data.fingerprint)
    rng = np.random.default_rng(0)
    paths = data.train.paths
    count = min(PROBED, len(paths))
    sizes, faults = [], list[str]()
    for index in rng.choice(len(paths), count, replace=False):
        try:
            sizes.append(frames.probe(paths[index]))
        except VideoError as error:
            log.warning("%s", error)
            faults.append(str(error))
    if not sizes:
        raise DataError(f"none of {count} training videos (a sample) can be read; the first: {faults[0]}")
    frames.close()
    return _limits(sizes)


def _prepared(data: VideoData, config: DataConfig) -> list[tuple[int, int, int]]:
    """Frames, height and width of the training videos, if they were prepared; else nothing."""
    config = localized(config, again=True)
    folder = Path(config.folder or "")
    if config.folder is None or manifest.read_head(folder) is None:
        return []
    table = manifest.read(folder, ("path", "frames", "height", "width")).dropna()
    assert isinstance(data.train.paths, Paths)
    kept = table[table["path"].isin(data.train.paths.names)]
    return [(int(f), int(h), int(w)) for f, h, w in kept[["frames", "height", "width"]].to_numpy()]


def mean_bytes(paths: Sequence[Path]) -> float | None:
    """Of a video, mean over some: files, members of tars, objects; none where one cannot be looked at.

    Raises EnvironmentFault when a store does not answer.
    """
    some = paths[:: -(-len(paths) // WEIGHED)]
    try:
        return statistics.mean(in_order(_bytes_of, some, AT_ONCE))
    except (OSError, DataError):
        return None


def _bytes_of(path: Path) -> int:
    if (span := span_of(path)) is not None:
        return span.size
    if (address := address_of(path)) is not None:
        return remote.entry(address).size
    state = os.stat(path)
    if not stat.S_ISREG(state.st_mode):  # of a folder of pictures nothing is known at once
        raise IsADirectoryError(path)
    return state.st_size


def _limits(sizes: Sequence[tuple[int, int, int]]) -> SourceLimits:
    length = int(np.quantile([f for f, _, _ in sizes], 0.05, method="lower"))
    short = int(np.quantile([min(h, w) for _, h, w in sizes], 0.05, method="lower"))
    return SourceLimits(length, short)


def decoder(config: DataConfig, fingerprint: str) -> Decoder:
    """A decoder on the cache of decoded frames of a data set."""
    place = cache_folder()
    return Decoder(
        place / "frames" / f"{fingerprint[:16]}-{verdict_cache.VERSION}",
        config.cache_gb * 1e9,
        place / verdict_cache.NAME,
        config.decode_timeout,
        place / "decoder.log",
        Kept(place / "store" / "objects", config.store_gb * 1e9),
    )


class Films(Protocol):
    """Data of any task, of which the videos matter alone."""

    @property
    def train(self) -> Listed:
        """Of training."""

    @property
    def val(self) -> Listed:
        """Of validation."""

    @property
    def fingerprint(self) -> str:
        """Of the data."""


class Listed(Protocol):
    """A list of videos."""

    @property
    def paths(self) -> Sequence[Path]:
        """Where they are."""


def every(
    paths: Sequence[Path],
    config: DataConfig,
    fingerprint: str,
    work: Callable[[Decoder, Path], Found],
    progress: Callable[[int, int], None] | None = None,
) -> list[Found]:
    """What `work` gives for each path, in order; a decoder, and so a decoding process, for each CPU."""
    threads = cores()
    free: SimpleQueue[Decoder] = SimpleQueue()
    for _ in range(threads):
        free.put(decoder(config, fingerprint))

    def one(path: Path) -> Found:
        frames = free.get()
        try:
            return work(frames, path)
        finally:
            free.put(frames)

    found = []
    for done, result in enumerate(in_order(one, paths, threads), 1):
        found.append(result)
        if progress is not None:
            progress(done, len(paths))
    for _ in range(threads):
        free.get().close()
    return found
