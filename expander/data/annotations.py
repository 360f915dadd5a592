"""Annotation lists: `path label` a line, as MMAction2 and SlowFast write them.

The label follows the LAST white space, since class folders may have spaces. A byte order mark,
CRLF, blank lines and `#` comments are tolerated. Faults are told as file:line.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from expander.errors import DataError

MOST_CLASSES = 1_000_000
"""More than any data set has: a label beyond it is another column."""


@dataclass(frozen=True, slots=True)
class VideoList:
    """Videos of one split, in list order. labels: class numbers from 0."""

    paths: tuple[Path, ...]
    labels: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.paths)


@dataclass(frozen=True, slots=True)
class VideoData:
    """A training and a validation list with the names of their classes.

    fingerprint: SHA-256 of the parsed rows.
    """

    train: VideoList
    val: VideoList
    classes: tuple[str, ...]
    fingerprint: str


def read_list(file: Path, root: Path) -> VideoList:
    """Parses a list; its paths start from `root`. Raises DataError with file:line."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise DataError(f"{file}: cannot be read: {reason}") from None
    paths, labels = [], []
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        row = line.strip()
        if row and not row.startswith("#"):
            path, label = _row(row, f"{file}:{number}")
            paths.append(root / path)
            labels.append(label)
    if not paths:
        raise DataError(f"{file}: lists no videos")
    return VideoList(tuple(paths), tuple(labels))


def _row(row: str, place: str) -> tuple[str, int]:
    path, _, label = row.replace("\t", " ").rpartition(" ")
    if not path or not label.isdecimal():
        raise DataError(f"{place}: expected 'path label' with a label from 0 on, found {row!r}")
    return path.strip(), int(label)


def read_data(train: Path, val: Path, root: Path, classes: tuple[str, ...] = ()) -> VideoData:
    """Both lists. Without `classes`, there are as many as the training list's labels need.

    Raises DataError: a root that is no folder, a validation label that training does not have, a
    video in both lists, no video present on disk.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; --data-root is where the listed paths start")
    lists = read_list(train, root), read_list(val, root)
    if max(lists[0].labels) >= MOST_CLASSES:
        raise DataError(f"{train}: label {max(lists[0].labels)} is beyond {MOST_CLASSES} classes")
    names = classes or tuple(str(label) for label in range(max(lists[0].labels) + 1))
    unknown = sorted(set(lists[1].labels) - set(lists[0].labels))
    if max(lists[0].labels) >= len(names):
        raise DataError(f"{train}: label {max(lists[0].labels)}, but there are {len(names)} classes")
    if unknown:
        raise DataError(f"{val}: label {unknown[0]} has no video in {train}")
    shared = sorted(set(lists[0].paths) & set(lists[1].paths))
    if shared:
        raise DataError(f"{val}: {shared[0]} is in {train} too; validation must not be trained on")
    for file, videos in zip((train, val), lists, strict=True):
        if not any(path.exists() for path in videos.paths):
            raise DataError(f"{file}: none of its videos exists, the first is {videos.paths[0]}")
    return VideoData(*lists, names, _fingerprint(lists, root, names))


def _fingerprint(lists: tuple[VideoList, VideoList], root: Path, names: tuple[str, ...]) -> str:
    # Relative to the root: the same data set in another place is the same data set.
    def name(path: Path) -> str:
        return str(path.relative_to(root) if path.is_relative_to(root) else path)

    rows = [[[name(path) for path in videos.paths], videos.labels] for videos in lists]
    return hashlib.sha256(json.dumps([rows, names]).encode()).hexdigest()
