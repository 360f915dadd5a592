"""A data set as one CSV of ours: path,label,class,split."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from io import StringIO
from itertools import repeat
from pathlib import Path

from expander.data.annotations import Paths, VideoData, numbers_of, spelled
from expander.data.formats import OURS
from expander.errors import UsageError


def to_csv(data: VideoData, folder: Path) -> str:
    """The rows as our CSV, for a file in `folder`, which its paths start from.

    Raises UsageError for videos of several labels, for which it has no column.
    """
    if data.multi_label:
        raise UsageError("the index has one label a video, and these have several: their own lists are read "
                         "as they are")  # fmt: skip
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(OURS)
    for name, videos in (("train", data.train), ("val", data.val)):
        assert isinstance(videos.paths, Paths)
        paths = _started(videos.paths.names, videos.paths.root, folder)
        classes = (data.classes[number] for label in videos.labels for number in numbers_of(label))
        writer.writerows(zip(paths, videos.labels, classes, repeat(name), strict=False))
    return text.getvalue()


def _started(names: Sequence[str], root: Path, folder: Path) -> list[str]:
    """Paths below `root` as paths from `folder`."""
    way = os.path.relpath(os.path.realpath(root), os.path.realpath(folder))
    start = "" if way == os.curdir else f"{way}{os.sep}"
    # Spelled first: `..` at the start of the way itself needs nothing, and is there more often than not.
    paths = [path if path[0] == os.sep else start + path for path in spelled(list(names))]
    return [os.path.normpath(path) for path in paths] if any(".." in name for name in names) else paths
