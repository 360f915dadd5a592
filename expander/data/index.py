"""A data set as one CSV of ours: path,label,class,split, or of several labels path,labels,classes,split."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from io import StringIO
from itertools import repeat
from pathlib import Path

from expander.data.annotations import Paths, VideoData, numbers_of, spelled
from expander.data.formats import OURS
from expander.data.multi_label import OURS_SEVERAL, SEPARATOR
from expander.errors import UsageError


def to_csv(data: VideoData, folder: Path) -> str:
    """The rows as our CSV, for a file in `folder`, which its paths start from.

    Several labels, and their names, are joined by semicolons: raises UsageError for a name that has one.
    """
    if data.multi_label and (odd := [name for name in data.classes if SEPARATOR in name]):
        raise UsageError(f"class {odd[0]!r}: the index joins the names of several classes by semicolons; "
                         "rename it in classes.txt")  # fmt: skip
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(OURS_SEVERAL if data.multi_label else OURS)
    for name, videos in (("train", data.train), ("val", data.val)):
        assert isinstance(videos.paths, Paths)
        paths = _started(videos.paths.names, videos.paths.root, folder)
        numbers = (SEPARATOR.join(map(str, numbers_of(label))) for label in videos.labels)
        classes = (SEPARATOR.join(data.classes[n] for n in numbers_of(label)) for label in videos.labels)
        writer.writerows(zip(paths, numbers, classes, repeat(name), strict=False))
    return text.getvalue()


def _started(names: Sequence[str], root: Path, folder: Path) -> list[str]:
    """Paths below `root` as paths from `folder`."""
    way = os.path.relpath(os.path.realpath(root), os.path.realpath(folder))
    start = "" if way == os.curdir else f"{way}{os.sep}"
    # Spelled first: `..` at the start of the way itself needs nothing, and is there more often than not.
    paths = [path if path[0] == os.sep else start + path for path in spelled(list(names))]
    return [os.path.normpath(path) for path in paths] if any(".." in name for name in names) else paths
