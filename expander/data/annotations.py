"""From tables of annotation rows to the training and validation videos of a run, checked.

Paths start from a root; classes are numbered by the format's own order or by the sorted names of the
training rows, never by the validation rows.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt
import pandas as pd

from expander.config.reading import is_folder
from expander.data.leakage import same, stats, tell_copies, tell_links
from expander.data.rows import Rows
from expander.data.store.addresses import is_remote
from expander.errors import DataError
from expander.video.filenames import is_utf8, printable, unusable_paths

Label = int | tuple[int, ...]
"""A class number from 0, or of videos with several labels all of them, sorted; () for none."""

MOST_CLASSES = 1_000_000
"""More than any data set has: a label beyond it is another column."""


@dataclass(frozen=True, slots=True)
class Paths(Sequence[Path]):
    """`names` below `root`, made into paths one at a time: a list may have a million."""

    root: Path
    names: tuple[str, ...]

    @overload
    def __getitem__(self, index: int) -> Path: ...
    @overload
    def __getitem__(self, index: slice) -> list[Path]: ...
    def __getitem__(self, index: int | slice) -> Path | list[Path]:
        if isinstance(index, slice):
            return [self.root / name for name in self.names[index]]
        return _below(self.root, self.names[index])

    def __len__(self) -> int:
        return len(self.names)


@lru_cache(maxsize=10_000)  # trials ask for the same again and again
def _below(root: Path, name: str) -> Path:
    return root / name


@dataclass(frozen=True, slots=True)
class VideoList:
    """Videos of one split, in list order. labels: all of one kind, see `Label`.

    frames: how many pictures each has by the list, for folders of pictures; otherwise empty.
    """

    paths: Sequence[Path]
    labels: tuple[Label, ...]
    frames: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def multi_label(self) -> bool:
        """Whether videos have several labels each."""
        return any(isinstance(label, tuple) for label in self.labels[:1])

    def truth(self, classes: int) -> npt.NDArray[np.bool_]:
        """(V, classes) whether the video has the label."""
        return multi_hot(self.labels, classes)


def numbers_of(label: Label) -> tuple[int, ...]:
    """The classes of a video."""
    return label if isinstance(label, tuple) else (label,)


def multi_hot(labels: Sequence[Label], classes: int) -> npt.NDArray[np.bool_]:
    """(N, classes) whether each has the label."""
    found = np.zeros((len(labels), classes), bool)
    for row, label in enumerate(labels):
        found[row, list(numbers_of(label))] = True
    return found


@dataclass(frozen=True, slots=True)
class VideoData:
    """A training and a validation list with the names of their classes.

    fingerprint: SHA-256 of the parsed rows. form: of the annotation files.
    """

    train: VideoList
    val: VideoList
    classes: tuple[str, ...]
    fingerprint: str
    form: str = "list"

    @property
    def multi_label(self) -> bool:
        """Whether videos have several labels each."""
        return self.train.multi_label


@dataclass(frozen=True)
class Split:
    """Rows with the file they are from, which errors name. root: of their paths, if it is their own."""

    file: Path
    rows: Rows
    root: Path | None = None

    @cached_property
    def names(self) -> list[str]:
        """The paths in one spelling each."""
        return spelled(self.rows.table["path"].tolist())

    def only(self, split: str) -> Split:
        """The rows of one split, where the file has several."""
        table = self.rows.table
        found = table[(table["split"] == split) | (table["split"] == "")]
        if found.empty:
            raise DataError(f"{self.file}: has no rows of the split {split!r}")
        return replace(self, rows=replace(self.rows, table=found))

    def fault(self, bad: Sequence[bool] | pd.Series, what: str) -> None:
        """Raises DataError for the first row where `bad` is true."""
        if np.any(bad):
            row = self.rows.table[np.asarray(bad)].iloc[0]
            raise DataError(f"{self.file}:{row['line']}: {what}: {row['path']!r}")


def assemble(
    train: Split, val: Split, root: Path, classes: tuple[str, ...] = (), outside: bool = False,
    again: bool = False,
) -> VideoData:  # fmt: skip
    """Both lists with class numbers. outside: whether videos may lie outside of the root. again: whether
    links within a list and copies were looked for before.

    Raises DataError: a label out of range or unknown to training, one list of several labels a video and one
    of one, a video listed twice or in both lists, by whatever path or link, a path that leaves the root, no
    video present on disk, a root that is no folder. Copies of training videos in the validation list are
    told.
    """
    roots = train.root or root, val.root or root
    for place in roots:
        check_root(place)
    if train.rows.multi_label != val.rows.multi_label:
        one, other = (val, train) if train.rows.multi_label else (train, val)
        raise DataError(f"{one.file}: it has one label a video and {other.file} several; --ann-format "
                        "multilabel reads both as lists of several")  # fmt: skip
    names = class_names(train, classes)
    lists = numbered(train, names, roots[0], outside), numbered(val, names, roots[1], outside)
    known = {number for label in set(lists[0].labels) for number in numbers_of(label)}
    strange = [not known.issuperset(numbers_of(label)) for label in lists[1].labels]
    val.fault(strange, f"its class has no video in {train.file}")
    if roots[0] == roots[1]:
        shared = set(train.names).intersection(val.names)
        twice = [name in shared for name in val.names]
        val.fault(twice, f"in {train.file} too; validation must not be trained on")
    found = (stats(roots[0], train.rows.table["path"].tolist()),
             stats(roots[1], val.rows.table["path"].tolist()))  # fmt: skip
    for split, videos, there in zip((train, val), lists, found, strict=True):
        if not any(there):
            raise DataError(f"{split.file}: none of its videos exists, the first is {videos.paths[0]}")
        if not again:
            tell_links(split.file, videos.paths, videos.labels, there)
    val.fault(same(*found), f"the same file, by a link, is in {train.file} too; "
                            "validation must not be trained on")  # fmt: skip
    if not again:
        tell_copies(lists[0].paths, lists[1].paths, *found)
    return VideoData(*lists, names, _fingerprint(lists, root, names), train.rows.form)


def check_root(root: Path) -> None:
    """Raises DataError unless it is a folder whose name can be written."""
    if is_remote(root):
        return
    if not is_utf8(str(root)):
        raise DataError(f"{printable(str(root))}: the name of the folder is not UTF-8; rename it")
    if not is_folder(root):
        raise DataError(f"{root}: no such folder; --data-root is where the listed paths start")


def class_names(train: Split, given: tuple[str, ...]) -> tuple[str, ...]:
    """Those given, or the format's own, or what the training rows have. Raises DataError."""
    if given or train.rows.classes:
        return given or train.rows.classes
    label = train.rows.table["label"]
    if not train.rows.numbers:
        return tuple(sorted(set(label)))
    highest = _highest(train.rows)
    train.fault(highest >= MOST_CLASSES, f"a label beyond {MOST_CLASSES} classes")
    seen = _seen(train.rows)
    train.fault([not seen] * len(label), "no video has a label")
    # All of 1 to N and no 0: N classes numbered from 1, of which ours would be off by one.
    if seen == set(range(1, max(seen) + 1)):
        train.fault([True] * len(label), "labels start at 1, and classes at 0: subtract 1 "
                    "from every label, or name all classes, 0 too, in classes.txt beside them")  # fmt: skip
    return tuple(str(number) for number in range(max(seen) + 1))


def _highest(rows: Rows) -> pd.Series:
    """Of each row the highest of its class numbers; -1 for none."""
    label = rows.table["label"]
    return label.map(lambda labels: max(labels, default=-1)) if rows.multi_label else label


def _seen(rows: Rows) -> set[int]:
    """The class numbers that occur."""
    found = set(rows.table["label"])
    return {int(number) for labels in found for number in labels} if rows.multi_label else found


def numbered(split: Split, names: tuple[str, ...], root: Path, outside: bool) -> VideoList:
    """The rows with class numbers, checked: see `assemble`. Raises DataError with file:line."""
    table = split.rows.table
    unusable = unusable_paths(table["path"].tolist())
    if unusable:
        why = f"{next(iter(unusable.values()))}: is another column taken for it?"
        split.fault(table["path"].isin(list(unusable)), why)
    split.fault(pd.Series(split.names, dtype=object).duplicated(), "listed twice")
    if not outside:
        split.fault(_leaves(split, root), "outside of the data root; --allow-outside permits it")
    if split.rows.numbers:
        remedy = _from_one(_seen(split.rows), len(names))
        split.fault(_highest(split.rows) >= len(names), f"its label is beyond the {len(names)} classes, "
                    f"whose numbers are 0 to {len(names) - 1}{remedy}")  # fmt: skip
        numbers = table["label"]
    else:
        numbers = table["label"].map({name: number for number, name in enumerate(names)})
        split.fault(numbers.isna(), "its class is none of the training videos' or of classes.txt")
    frames = tuple(table["frames"].tolist()) if "frames" in table else ()
    labels = tuple(numbers) if split.rows.multi_label else tuple(numbers.astype(int).tolist())
    return VideoList(Paths(root, tuple(table["path"])), labels, frames)


def _from_one(seen: set[int], classes: int) -> str:
    """The remedy, where labels look like numbers from 1."""
    from_one = seen == set(range(1, classes + 1))
    return "; they seem to start at 1: subtract 1 from every label" if from_one else ""


def spelled(paths: list[str]) -> list[str]:
    """Without `.`, `..` and doubled slashes where that is possible."""
    text = "\n".join(["", *paths, ""])
    # Most lists need nothing: looking at all at once is many times faster than doing.
    if not any(odd in text for odd in ("//", "/.", "\n.", "/\n")):
        return paths
    return [os.path.normpath(path) for path in paths]


def _leaves(split: Split, root: Path) -> list[bool]:
    """Whether a path ends outside of the root: by `..`, by being absolute, or through a link."""
    top = os.path.realpath(root).rstrip(os.sep) + os.sep
    paths = split.rows.table["path"].tolist()
    folders = [path[: path.rfind("/") + 1] for path in paths]
    inside, links = {}, set[str]()
    for folder in set(folders):
        inside[folder] = (os.path.realpath(root / folder) + os.sep).startswith(top)
        links |= _links(root, folder)
    return [
        not inside[folder] or (path in links and not os.path.realpath(root / path).startswith(top))
        for folder, path in zip(folders, paths, strict=True)
    ]


def _links(root: Path, folder: str) -> set[str]:
    """The symbolic links in a folder, found by listing it: asking for each of a million files takes long."""
    try:
        return {folder + entry.name for entry in os.scandir(root / folder) if entry.is_symlink()}
    except OSError:  # not there, or not to be listed: its videos are found missing later
        return set()


def _fingerprint(lists: tuple[VideoList, VideoList], root: Path, names: tuple[str, ...]) -> str:
    # As listed, so relative to the root: the same data set in another place is the same data set.
    prefix, rows = f"{root}{os.sep}", []
    for videos in lists:
        assert isinstance(videos.paths, Paths)
        rows.append([[path.removeprefix(prefix) for path in videos.paths.names], videos.labels])
    return hashlib.sha256(json.dumps([rows, names]).encode()).hexdigest()
