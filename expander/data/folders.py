"""Class folders: `[split/]<class>/<video>`, and what else lies in them, which is told and left out."""

from __future__ import annotations

import hashlib
import logging
import os
from collections import defaultdict
from pathlib import Path

import pandas as pd

from expander.data.annotations import Split
from expander.data.rows import Rows
from expander.errors import DataError
from expander.video.filenames import is_utf8, printable

log = logging.getLogger(__name__)

VIDEOS = (".mp4", ".avi", ".mkv", ".webm", ".mov", ".m4v", ".ts", ".mpg", ".mpeg", ".m2v", ".mpv", ".vob",
          ".wmv", ".asf", ".flv", ".f4v", ".3gp", ".3g2", ".gif", ".mts", ".m2ts", ".ogv", ".ogg", ".divx",
          ".xvid", ".mxf", ".dv", ".rm", ".rmvb", ".qt", ".y4m", ".h264", ".264", ".hevc")  # fmt: skip
"""Endings of videos, in small letters."""
VAL_FOLDERS = ("val", "validation", "valid", "test")
HELD_OUT = 5  # one video in so many validates, where a set of class folders has no split

Left = defaultdict[str, list[str]]
"""Paths that are left out, by the reason."""


def class_folders(folder: Path) -> tuple[Split, Split]:
    """`[split/]<class>/<video>`; without splits, one video in five, chosen by its name, validates.

    Raises DataError: no videos by class, a folder that cannot be read, a name that is not UTF-8.
    """
    val = next((name for name in VAL_FOLDERS if os.path.isdir(folder / name)), None)
    if os.path.isdir(folder / "train") and val is not None:
        return _split(folder, "train"), _split(folder, val)
    table = _videos(folder, "")
    if table.empty or table["label"].nunique() < 2:
        raise DataError(f"{folder}: no train and val lists, and no folders of videos by class in it "
                        "(two classes at least)")  # fmt: skip
    held = table.groupby("label")["path"].transform(_held_out)
    if not held.any():
        raise DataError(f"{folder}: every class has one video only, and none is left to validate with; add "
                        "videos, or make folders train/ and val/")  # fmt: skip
    return (
        Split(folder, Rows("folders", table[~held], numbers=False)),
        Split(folder, Rows("folders", table[held], numbers=False)),
    )


def _held_out(paths: pd.Series) -> pd.Series:
    """True for a fifth of the videos of a class, at least one, at most all but one."""
    order = paths.map(lambda path: hashlib.sha256(path.encode()).hexdigest()).rank(method="first")
    return order <= min(max(1, len(paths) // HELD_OUT), len(paths) - 1)


def _split(folder: Path, name: str) -> Split:
    table = _videos(folder / name, f"{name}/")
    if table.empty:
        raise DataError(f"{folder / name}: no folders of videos by class in it")
    return Split(folder / name, Rows("folders", table, numbers=False))


def _videos(folder: Path, prefix: str) -> pd.DataFrame:
    """Videos one folder down, sorted; the folder is the class. Tells what is left out."""
    found: list[tuple[str, str]] = []
    left: Left = defaultdict(list)
    for entry in entries(folder):
        if entry.name.startswith("."):
            left["hidden"].append(entry.name)
        elif os.path.isdir(entry.path):  # unlike entry.is_dir(), never raises: links may run in circles
            names = _of_class(entry, left)
            found += [(f"{prefix}{entry.name}/{name}", entry.name) for name in names]
            if not names:
                left["a folder without a video of its own"].append(f"{entry.name}/")
        elif is_video(entry.name):
            left["in no class folder"].append(entry.name)
    _tell(folder, left)
    table = pd.DataFrame(found, columns=["path", "label"], dtype=object)
    return table.assign(split="", line=range(1, len(table) + 1))


def _of_class(folder: os.DirEntry[str], left: Left) -> list[str]:
    """The names of the videos right below a class folder."""
    names = []
    for entry in entries(Path(folder.path)):
        path = f"{folder.name}/{entry.name}"
        if entry.name.startswith("."):
            left["hidden"].append(path)
        elif os.path.isdir(entry.path):
            left["deeper than <class>/<video>"] += _below(Path(entry.path), path)
        elif is_video(entry.name):
            names.append(entry.name)
        else:
            left["no video by its ending"].append(path)
    return names


def _below(folder: Path, path: str) -> list[str]:
    """The videos at any depth below a folder, links not followed."""
    found = []
    for place, _, names in os.walk(folder, onerror=_stop):
        start = os.path.join(path, os.path.relpath(place, folder))
        found += [os.path.normpath(f"{start}/{name}") for name in sorted(names) if is_video(name)]
    return found


def _stop(error: OSError) -> None:
    raise unreadable(error.filename, error)


def _tell(folder: Path, left: Left) -> None:
    """One line: how many of what, and the first of each."""
    told = [f"{len(paths)} {reason} (the first is {printable(paths[0])})"
            for reason, paths in left.items() if paths]  # fmt: skip
    if told:
        log.warning("%s: left out: %s", printable(str(folder)), ", ".join(told))


def is_video(name: str) -> bool:
    """Whether a file is a video, by its name; hidden ones are none."""
    return name.lower().endswith(VIDEOS) and not name.startswith(".")


def entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder, by name. Raises DataError: it cannot be read, a name is not UTF-8."""
    try:
        with os.scandir(folder) as found:
            listed = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise unreadable(folder, error) from None
    for entry in listed:
        if not is_utf8(entry.name):
            raise DataError(f"{printable(entry.path)}: its name is not UTF-8; rename it "
                            "(convmv -f cp1252 -t utf8 renames whole folders)")  # fmt: skip
    return listed


def unreadable(folder: Path | str, error: OSError) -> DataError:
    """The error that says why a folder cannot be listed."""
    return DataError(f"{printable(str(folder))}: cannot be read: {error.strerror}; make it readable, "
                     "or move it out of the data")  # fmt: skip


def below(root: Path) -> dict[str, str]:
    """Every video below a folder, reached by links too: its path from there, by its name without the ending.

    Raises DataError for a folder that cannot be read.
    """
    files: dict[str, str] = {}
    seen: set[str] = set()
    for place, folders, names in os.walk(root, onerror=_stop, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # a link that leads back up would never end
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            if is_video(name) and is_utf8(name):
                files[os.path.splitext(name)[0]] = os.path.relpath(os.path.join(place, name), root)
    return files
