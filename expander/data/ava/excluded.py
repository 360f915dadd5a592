"""Seconds of videos that AVA neither counts nor has predicted."""

from __future__ import annotations

from pathlib import Path

from expander.data.ava.keyframes import Moment
from expander.data.ava.rows import DIGITS, LATEST
from expander.data.rows import read_text
from expander.errors import DataError


def read_excluded(file: Path) -> frozenset[Moment]:
    """`video,second` a line; a file without lines excludes nothing. Raises DataError with file:line."""
    found = set[Moment]()
    for number, line in enumerate(read_text(file).split("\n"), 1):
        if not line.strip():
            continue
        video, _, text = (part.strip() for part in line.partition(","))
        try:
            second = float(text)
        except ValueError:
            second = -1.0
        if not video or not 0 <= second < LATEST:
            raise DataError(f"{file}:{number}: expected 'video,second', found {line.strip()[:200]!r}")
        found.add((video, round(second, DIGITS)))
    return frozenset(found)
