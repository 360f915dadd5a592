"""Which format an annotation file has, and its rows."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from expander.data.ava.rows import begins_boxes
from expander.data.formats import (
    KINETICS,
    ONE,
    OURS,
    listed,
    read_hmdb51,
    read_kinetics,
    read_list,
    read_ours,
    read_rawframes,
    read_ssv2,
    read_ucf101,
)
from expander.data.multi_label import (
    CHARADES,
    FRAMES,
    OURS_SEVERAL,
    read_charades,
    read_charades_frames,
    read_ours_several,
    read_several,
    seems_several,
)
from expander.data.prepared.manifest import SEVERAL, read_settings
from expander.data.rows import Rows, fault_of_columns, read_text, spoken
from expander.errors import DataError


def _read_index(file: Path) -> Rows:
    """The CSV of `expander data index`, whose header says whether videos have several labels."""
    first = next((line for _, line in spoken(read_text(file))), "")
    several = set(OURS_SEVERAL) <= {name.strip() for name in first.split(",")}
    return read_ours_several(file) if several else read_ours(file)


FORMATS: dict[str, Callable[[Path], Rows]] = {
    "list": read_list,
    "multilabel": read_several,
    "rawframes": read_rawframes,
    "kinetics": read_kinetics,
    "expander": _read_index,
    "ssv2": read_ssv2,
    "ucf101": read_ucf101,
    "hmdb51": read_hmdb51,
    "charades": read_charades,
    "charades_frames": read_charades_frames,
}
"""By name, as --ann-format takes it; `folders` has no file."""


FOUR = ("four columns may be an offset or several labels: --ann-format rawframes reads a folder with a space "
        "in its name, multilabel several labels")  # fmt: skip


VIDEO_ROW = re.compile(r".*\.[A-Za-z][A-Za-z0-9]{1,3}[ \t]")


def detect(file: Path) -> str:
    """The format of a file by its name and first lines. Raises DataError when two are possible."""
    if re.fullmatch(r".+_test_split\d+\.txt", file.name):
        return "hmdb51"
    if re.fullmatch(r"(train|test)list\d+\.txt", file.name) and (file.parent / "classInd.txt").is_file():
        return "ucf101"
    if file.suffix == ".json":
        return "ssv2"
    first = next((line for _, line in spoken(read_text(file))), None)
    if first is None:
        raise DataError(f"{file}: lists no videos")
    head = [name.strip() for name in first.split(",")]
    for form, columns in (("kinetics", KINETICS), ("expander", OURS), ("expander", OURS_SEVERAL),
                          ("charades", CHARADES)):  # fmt: skip
        if set(columns) <= set(head):
            return form
    if begins_boxes(first):
        raise DataError(f"{file}:1: has boxes of people, which are data for detection: train and test read "
                        "their folder with --task detection, and data check does")  # fmt: skip
    if first.split() == FRAMES:
        return "charades_frames"
    if re.fullmatch(r".*\S[ \t]+[0-9]+[ \t]+[0-9]+[ \t]+[0-9]+", first) and not VIDEO_ROW.match(first):
        raise DataError(f"{file}: {FOUR}")
    return "rawframes" if re.fullmatch(r"[^.]*\S[ \t]+[0-9]+[ \t]+[0-9]+", first) else "list"


def read_rows(file: Path, form: str = "auto") -> Rows:
    """The rows of an annotation file. Raises DataError with file:line."""
    if form == "folders":
        raise DataError(f"{file}: class folders have no annotation file: name the folder itself as the data")
    kind = detect(file) if form == "auto" else form
    if form == "auto" and kind == "list":
        return _one_or_several(file)
    rows = FORMATS[kind](file)
    if form == "auto" and rows.form == "rawframes":
        four = rows.table["path"].str.fullmatch(r".*\S[ \t]+[0-9]+")
        columns = "path", "frames", "label"
        fault_of_columns(file, rows.table, four, columns, f"'folder frames label': {FOUR}")
    return rows


def _prepared_several(folder: Path) -> bool:
    try:
        return (read_settings(folder) or {}).get(SEVERAL) is True
    except DataError:  # a file of that name that is something else
        return False


def _one_or_several(file: Path) -> Rows:
    """A list of one label a row, or of several. `x.mp4 120 3` in every row may be a count of frames, and a
    single row of several in a long list a slip. Of prepared videos their settings say which.
    """
    if _prepared_several(file.parent):
        return read_several(file)
    try:
        rows, several = listed(file)
    except DataError:  # a row without a label, which a video of a list of several may be
        if not seems_several(file):
            raise
        return read_several(file)
    if not any(several):
        return rows
    if seems_several(file):
        return read_several(file)
    fault_of_columns(file, rows.table, several, ("path", "label"), ONE)
    return rows
