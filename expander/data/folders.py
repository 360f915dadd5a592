"""Class folders: `[split/]<class>/<video>`, and what else lies in them, which is told and left out."""

from __future__ import annotations

import hashlib
import logging
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import pandas as pd

from expander.data.annotations import Split
from expander.data.rows import Rows
from expander.data.store.addresses import address_of, is_remote
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


@dataclass(frozen=True, slots=True)
class Item:
    """What lies in a folder."""

    name: str
    is_folder: bool


Look = Callable[[Sequence[Path]], list[list[Item]]]
"""What lies in each of some folders, by name. Raises DataError for one that cannot be read."""


def on_disk(folders: Sequence[Path]) -> list[list[Item]]:
    """See Look."""
    return [_entries(folder) for folder in folders]


def class_folders(folder: Path, look: Look = on_disk) -> tuple[Split, Split]:
    """`[split/]<class>/<video>`; without splits, one video in five, chosen by its name, validates.

    Raises DataError: no videos by class, a folder that cannot be read, a name that is not UTF-8.
    """
    place = address_of(folder) or folder
    (top,) = look([folder])
    inside = {item.name for item in top if item.is_folder}
    val = next((name for name in VAL_FOLDERS if name in inside), None)
    if "train" in inside and val is not None:
        return _split(folder, "train", look), _split(folder, val, look)
    table = _videos(folder, top, "", look)
    if table.empty or table["label"].nunique() < 2:
        raise DataError(f"{place}: no train and val lists, and no folders of videos by class in it "
                        "(two classes at least)")  # fmt: skip
    held = table.groupby("label")["path"].transform(_held_out)
    if not held.any():
        raise DataError(f"{place}: every class has one video only, and none is left to validate with; add "
                        "videos, or make folders train/ and val/")  # fmt: skip
    return (
        Split(folder, Rows("folders", table[~held], numbers=False)),
        Split(folder, Rows("folders", table[held], numbers=False)),
    )


def _held_out(paths: pd.Series) -> pd.Series:
    """True for a fifth of the videos of a class, at least one, at most all but one."""
    order = paths.map(lambda path: hashlib.sha256(path.encode()).hexdigest()).rank(method="first")
    return order <= min(max(1, len(paths) // HELD_OUT), len(paths) - 1)


def _split(folder: Path, name: str, look: Look) -> Split:
    place = folder / name
    (items,) = look([place])
    table = _videos(place, items, f"{name}/", look)
    if table.empty:
        raise DataError(f"{address_of(place) or place}: no folders of videos by class in it")
    return Split(place, Rows("folders", table, numbers=False))


def _videos(folder: Path, items: Sequence[Item], prefix: str, look: Look) -> pd.DataFrame:
    """Videos one folder down, sorted; the folder is the class. Tells what is left out."""
    left: Left = defaultdict(list)
    classes = list[str]()
    for item in _shown(folder, "", items, left):
        if item.is_folder:
            classes.append(item.name)
        elif is_video(item.name):
            left["in no class folder"].append(item.name)
    found: list[tuple[str, str]] = []
    for name, inside in zip(classes, look([folder / name for name in classes]), strict=True):
        names = _of_class(folder, name, inside, left)
        found += [(f"{prefix}{name}/{video}", name) for video in names]
        if not names:
            left["a folder without a video of its own"].append(f"{name}/")
    _tell(folder, left)
    table = pd.DataFrame(found, columns=["path", "label"], dtype=object)
    return table.assign(split="", line=range(1, len(table) + 1))


def _of_class(folder: Path, name: str, items: Sequence[Item], left: Left) -> list[str]:
    """The names of the videos right below a class folder."""
    names = []
    for item in _shown(folder / name, f"{name}/", items, left):
        path = f"{name}/{item.name}"
        if item.is_folder and is_remote(folder):  # each folder would be a question more
            left["deeper than <class>/<video>, not looked into"].append(f"{path}/")
        elif item.is_folder:
            left["deeper than <class>/<video>"] += _below(folder, path)
        elif is_video(item.name):
            names.append(item.name)
        else:
            left["no video by its ending"].append(path)
    return names


def _shown(folder: Path, path: str, items: Sequence[Item], left: Left) -> Iterator[Item]:
    """What is not hidden. Raises DataError for a name that is not UTF-8."""
    for item in items:
        if not is_utf8(item.name):
            raise DataError(f"{printable(str(folder / item.name))}: its name is not UTF-8; rename it "
                            "(convmv -f cp1252 -t utf8 renames whole folders)")  # fmt: skip
        if item.name.startswith("."):
            left["hidden"].append(f"{path}{item.name}")
        else:
            yield item


def _below(folder: Path, path: str) -> list[str]:
    """The videos at any depth below a path of a folder of this machine, links not followed."""
    found = []
    for place, _, names in os.walk(folder / path, onerror=_stop):
        start = os.path.relpath(place, folder)
        found += [f"{start}/{name}" for name in sorted(names) if is_video(name)]
    return found


def _tell(folder: Path, left: Left) -> None:
    """One line: how many of what, and the first of each."""
    told = [f"{len(paths)} {reason} (the first is {printable(paths[0])})"
            for reason, paths in left.items() if paths]  # fmt: skip
    if told:
        log.warning("%s: left out: %s", printable(str(address_of(folder) or folder)), ", ".join(told))


def is_video(name: str) -> bool:
    """Whether a file is a video, by its name; hidden ones are none."""
    return name.lower().endswith(VIDEOS) and not name.startswith(".")


def _entries(folder: Path) -> list[Item]:
    try:
        with os.scandir(folder) as found:
            # os.path.isdir, unlike entry.is_dir(), never raises: links may run in circles.
            listed = [Item(entry.name, os.path.isdir(entry.path)) for entry in found]
    except OSError as error:
        raise unreadable(folder, error) from None
    return sorted(listed, key=attrgetter("name"))


def _stop(error: OSError) -> None:
    raise unreadable(error.filename, error)


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
