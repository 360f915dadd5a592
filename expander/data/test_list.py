"""The videos of a test: the validation rows of a data set, numbered as the checkpoint numbers its classes.

Training videos need not be there: only their list is looked at, for the order of the classes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from expander.config.settings import DataConfig
from expander.data.annotations import (
    Label,
    Paths,
    Split,
    VideoList,
    check_root,
    class_names,
    numbered,
    numbers_of,
)
from expander.data.discovery import present, read
from expander.data.leakage import stats
from expander.data.sources import listed_classes, lists_folder, open_data, own_rows
from expander.errors import DataError


@dataclass(frozen=True, slots=True)
class HeldOut:
    """names: of the videos as they are listed. lost: listed ones that have no file at all."""

    videos: VideoList
    names: tuple[str, ...]
    lost: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of names and labels."""
        return hashlib.sha256(json.dumps([self.names, self.videos.labels]).encode()).hexdigest()


def open_held_out(config: DataConfig, classes: tuple[str, ...]) -> HeldOut:
    """What to test on; `classes` are the checkpoint's. Equal annotation files: there is no training list.

    Raises DataError: rows that cannot be read, a class that the checkpoint does not know, no video at all.
    """
    if config.folder is None and config.train_ann is None:
        data = open_data(config)
        return _named(data.val, data.classes, classes, "the embedded data set", ())
    train, val, root = _rows(config)
    start = val.root or root
    check_root(start)
    found, _ = present(val, start)
    kept = set(found.rows.table["line"])
    lost = tuple(val.rows.table["path"][~val.rows.table["line"].isin(kept)])
    names = _names(train, found, listed_classes(lists_folder(config, "val")), classes)
    videos = numbered(found, names, start, config.allow_outside)
    assert isinstance(videos.paths, Paths)
    if not any(stats(start, videos.paths.names)):
        raise DataError(f"{val.file}: none of its videos exists, the first is {videos.paths[0]}")
    return _named(videos, names, classes, str(val.file), lost)


def _rows(config: DataConfig) -> tuple[Split, Split, Path]:
    """As `own_rows`; without a training list, the rows to test on stand for it too."""
    if config.train_ann is None or config.train_ann != config.val_ann:
        return own_rows(config)
    whole = read(Path(config.train_ann), config.ann_format)
    splits = set(whole.rows.table["split"])
    kept = whole.only("test" if "test" in splits and "val" not in splits else "val")
    kept = replace(kept, root=Path(config.val_root)) if config.val_root else kept
    return kept, kept, Path(config.root or ".")


def _names(train: Split, val: Split, given: tuple[str, ...], classes: tuple[str, ...]) -> tuple[str, ...]:
    """What the labels of the rows mean."""
    if given or val.rows.classes or train is not val:
        return class_names(train, given or val.rows.classes)
    if val.rows.numbers or not _plain(classes):
        return classes
    raise DataError(f"{val.file}: labels are names, and the checkpoint has only numbers: give it names with "
                    "expander weights import --labels, or test with --train-ann too")  # fmt: skip


def _named(
    videos: VideoList, names: tuple[str, ...], classes: tuple[str, ...], where: str, lost: tuple[str, ...]
) -> HeldOut:
    """With the checkpoint's class numbers."""
    if _plain(names) or _plain(classes):
        enough = len(names) <= len(classes) if _plain(names) else len(names) == len(classes)
        if not enough:
            raise DataError(f"{where}: {len(names)} classes; the checkpoint has {len(classes)}")
        numbers = {number: number for number in range(len(names))}
    else:
        known = {name: number for number, name in enumerate(classes)}
        used = sorted({number for label in set(videos.labels) for number in numbers_of(label)})
        for number in used:
            if names[number] not in known:
                raise DataError(f"{where}: class {names[number]!r} is none of the checkpoint's "
                                f"{len(classes)}, the first of which is {classes[0]!r}")  # fmt: skip
        numbers = {number: known[names[number]] for number in used}
    assert isinstance(videos.paths, Paths)
    labels = tuple(_translated(label, numbers) for label in videos.labels)
    return HeldOut(VideoList(videos.paths, labels), videos.paths.names, lost)


def _translated(label: Label, numbers: Mapping[int, int]) -> Label:
    if isinstance(label, tuple):
        return tuple(sorted(numbers[number] for number in label))
    return numbers[label]


def _plain(names: tuple[str, ...]) -> bool:
    """Whether the names are numbers in order, so no names."""
    return names == tuple(map(str, range(len(names))))
