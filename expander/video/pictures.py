"""A folder of numbered pictures, one a frame: which they are, in order, and whether any is missing."""

from __future__ import annotations

import os
import re
import stat
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from expander.video.filenames import is_utf8
from expander.video.tar_members import span_of

PICTURE = re.compile(r"(.*?)([0-9]+)\.(jpg|jpeg|png|bmp|webp)", re.IGNORECASE)
USUAL = ("img_", "image_", "")
"""What stands before the number where there is a choice: pictures of flow may lie beside those of colour."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """names: of the frames in order. fault: why they are no video, or nothing."""

    names: tuple[str, ...]
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Stamp:
    """Of a file, or of a folder's: bytes, the latest change of content and of anything (ns), its number."""

    size: int
    changed: int
    touched: int
    inode: int


def stamp(path: Path) -> Stamp:
    """What is another once a video (file, member of a tar, folder of pictures) is written to.

    Raises OSError.
    """
    if (span := span_of(path)) is not None:
        own = span.tar.stat()
        return Stamp(span.size, own.st_mtime_ns, own.st_ctime_ns, own.st_ino)
    own = path.stat()
    if not stat.S_ISDIR(own.st_mode):
        return Stamp(own.st_size, own.st_mtime_ns, own.st_ctime_ns, own.st_ino)
    with os.scandir(path) as entries:
        found = [own, *(entry.stat() for entry in entries)]
    changed, touched = max(one.st_mtime_ns for one in found), max(one.st_ctime_ns for one in found)
    return Stamp(sum(one.st_size for one in found[1:]), changed, touched, own.st_ino)


def survey(folder: Path) -> Pictures:
    """The pictures of a folder, numbered from 1 or 0, whatever stands before the number.

    Raises OSError for a folder that cannot be read.
    """
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.name[0] != "." and is_utf8(entry.name)]
    series: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for match in filter(None, map(PICTURE.fullmatch, names)):
        series[match[1]].append((int(match[2]), match[0]))
    chosen = next((start for start in USUAL if start in series), None)
    if chosen is None and len(series) > 1:
        firsts = ", ".join(min(one)[1] for _, one in sorted(series.items())[:3])
        return Pictures((), f"its pictures are of several series ({firsts}); one is read")
    if not series:
        return Pictures((), "no numbered pictures in it, such as img_00001.jpg")
    return _checked(sorted(series[next(iter(series)) if chosen is None else chosen]))


def _checked(numbered: list[tuple[int, str]]) -> Pictures:
    """Their names, and the first fault of the numbers."""
    names = tuple(name for _, name in numbered)
    first, last = numbered[0], numbered[-1]
    if first[0] > 1:
        return Pictures(names, f"its pictures begin with {first[1]}, and with number 1 or 0 they must")
    for before, after in pairwise(numbered):
        if after[0] == before[0]:
            return Pictures(names, f"{before[1]} and {after[1]} have one number")
    if len(names) != last[0] - first[0] + 1:
        there = {number for number, _ in numbered}
        gap = next(number for number in range(first[0], last[0]) if number not in there)
        lost = last[0] - first[0] + 1 - len(names)
        return Pictures(names, f"picture {gap} is missing ({lost} of {first[1]} to {last[1]} are): "
                               "extract the frames again")  # fmt: skip
    return Pictures(names)


def fault_of(folder: Path, listed: int | None = None) -> str:
    """What is wrong with a folder of pictures, by names, sizes and the number that its list gives."""
    try:
        pictures = survey(folder)
        empty = [name for name in pictures.names if not os.path.getsize(folder / name)]
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    there = len(pictures.names)
    count = f"{listed} listed, {there} there" if listed not in (None, there) else ""
    if pictures.fault:
        return f"{pictures.fault}; {count}" if count else pictures.fault
    if empty:
        return f"{empty[0]} is empty, as are {len(empty)} of {there}"
    return f"pictures: {count}; extract them again, or correct the list" if count else ""
