"""Annotation files whose videos have several labels each, or none: lists, Charades' two forms, our CSV."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd

from expander.data.rows import NUMBER, Rows, csv_of, fault, lines_of, read_text, table_of
from expander.errors import DataError

Labels = tuple[int, ...]

PATH = re.compile(r"[^\s,](?:.*[^\s,])?")
BEHIND = re.compile(r"(?:[0-9]{1,7}[ \t,]+)*")
"""The numbers at the end of a line, of the line from its end: forwards every place would be tried."""
COMMON = 0.05
"""Share of the rows of a list that have several labels, where it is meant so."""
CHARADES = ["id", "actions"]
CHARADES_CLASSES = 157
ACTION = re.compile(r"\s*c([0-9]{3})\s+([0-9.]+)\s+([0-9.]+)\s*")
FRAMES = ["original_vido_id", "video_id", "frame_id", "path", "labels"]  # the first spelled as in the files
OURS_SEVERAL = ["path", "labels", "classes", "split"]
SEPARATOR = ";"
NUMBERS = f"(?:{NUMBER.pattern}(?:{SEPARATOR}{NUMBER.pattern})*)?"
SHORTENED = re.compile(r"[0-9]{1,7}(?:,[0-9]{1,7})*|")
LONGEST = 10_000
"""Characters of a line of frames: two paths and all labels have room."""


def read_several(file: Path) -> Rows:
    """`path label label …` a line (MMAction2's multi_class), any number of labels, also none."""
    lines = lines_of(file)
    ends = [len(line) - len(found[0]) if (found := BEHIND.match(line[::-1])) else 0 for line in lines]
    paths = pd.Series([line[:end] for line, end in zip(lines, ends, strict=True)], lines.index, dtype=object)
    fault(file, pd.Series([PATH.fullmatch(path) is None for path in paths], lines.index), lines,
          "'path label label …' with labels from 0 on")  # fmt: skip
    labels = [_sorted(re.findall("[0-9]+", line[end:])) for line, end in zip(lines, ends, strict=True)]
    return _rows("multilabel", paths, labels)


def seems_several(file: Path) -> bool:
    """Whether a list is one of several labels: rows differ in their number, so none of them counts frames,
    and more have several than slips would explain.
    """
    table = read_several(file).table
    counts = table["label"].map(len)
    # Behind a name without an ending numbers may be part of it.
    several = (counts > 1) & table["path"].str.contains(r"\.[A-Za-z][A-Za-z0-9]{1,3}$")
    return counts.nunique() > 1 and several.sum() >= COMMON * len(counts)


def read_charades(file: Path) -> Rows:
    """Charades' own CSV: id, …, actions such as `c092 11.90 21.20;c147 0.00 12.60`; paths are stems.

    A video has the classes of its actions, whenever they take place; one without actions has none. Names
    are those of Charades_v1_classes.txt beside it, if it is there.
    """
    table = csv_of(file, CHARADES)
    actions = table["actions"].str.split(";").map(lambda cell: [text for text in cell if text.strip()])
    bad = actions.map(lambda cell: not all(_is_action(text) for text in cell)) | (table["id"] == "")
    fault(file, bad, table[CHARADES], "a row 'id,…,actions' with actions 'c092 11.90 21.20;c147 0.00 12.60'")
    labels = [_sorted([text.strip()[1:4] for text in cell]) for cell in actions]
    return _rows("charades", table["id"].astype(object), labels, _charades_names(file.parent))


def _is_action(text: str) -> bool:
    found = ACTION.fullmatch(text)
    if found is None or int(found[1]) >= CHARADES_CLASSES:
        return False
    times = pd.to_numeric([found[2], found[3]], errors="coerce")
    return bool(np.isfinite(times).all())


def _charades_names(folder: Path) -> tuple[str, ...]:
    """The lines `c000 Holding some clothes`, without the numbers. Raises DataError."""
    file = folder / "Charades_v1_classes.txt"
    if not file.is_file():
        return tuple(f"c{number:03d}" for number in range(CHARADES_CLASSES))
    lines = lines_of(file)
    found = lines.str.extract(r"^(c[0-9]{3})\s+(\S.*)$")
    wrong = found[0].fillna("") != [f"c{number:03d}" for number in range(len(lines))]
    fault(file, wrong, lines, "the classes c000 to c156 in order, each with its name")
    if len(lines) != CHARADES_CLASSES:
        raise DataError(f"{file}: {len(lines)} classes, Charades has {CHARADES_CLASSES}")
    return tuple(found[1])


def read_charades_frames(file: Path) -> Rows:
    """SlowFast's frame lists: a line a frame, `video number index path "labels"`, after a header.

    A video is the folder of its frames; it has the labels of all of them.
    """
    lines = [(number, line) for number, line in enumerate(read_text(file).split("\n"), 1) if line.strip()]
    if not lines or lines[0][1].split() != FRAMES:
        raise DataError(f"{file}:1: expected the header {' '.join(FRAMES)!r}")
    places: dict[str, int] = {}
    labels: dict[str, set[str]] = {}
    counts: dict[str, int] = {}
    for number, line in lines[1:]:
        # Each line alone: a quote that is not closed would else run on into the next ones.
        row = next(csv.reader([line], delimiter=" ")) if len(line) < LONGEST else []
        if len(row) != len(FRAMES) or "/" not in row[3] or not SHORTENED.fullmatch(row[4]):
            raise DataError(f"{file}:{number}: expected 'video number index folder/frame.jpg \"labels\"', "
                            f"found {line[:LONGEST]!r}")  # fmt: skip
        folder = row[3].rpartition("/")[0]
        places.setdefault(folder, number)
        labels.setdefault(folder, set()).update(filter(None, row[4].split(",")))
        counts[folder] = counts.get(folder, 0) + 1
    if not places:
        raise DataError(f"{file}: lists no videos")
    paths = pd.Series(list(places), pd.Index(places.values()), dtype=object)
    found = _rows("charades_frames", paths, [_sorted(labels[folder]) for folder in places])
    return Rows(found.form, found.table.assign(frames=[counts[folder] for folder in places]),
                numbers=True, multi_label=True)  # fmt: skip


def read_ours_several(file: Path) -> Rows:
    """What `expander data index` writes of several labels: path,labels,classes,split."""
    table = csv_of(file, OURS_SEVERAL)
    numbers, names = (table[name].map(_parts) for name in ("labels", "classes"))
    bad = ~table["labels"].str.fullmatch(NUMBERS).astype(bool) | (numbers.map(len) != names.map(len))
    bad |= (table["path"] == "") | ~table["split"].isin(["train", "val", "test"])
    fault(file, bad, table[OURS_SEVERAL], "path,number;number,class;class,train|val|test")
    pairs = zip(chain.from_iterable(numbers), chain.from_iterable(names), strict=True)
    named = {int(number): name for number, name in pairs}
    classes = tuple(named.get(number, str(number)) for number in range(max(named, default=-1) + 1))
    found = _rows("expander", table["path"], [_sorted(row) for row in numbers], classes)
    return replace(found, table=found.table.assign(split=table["split"]))


def _parts(cell: str) -> list[str]:
    return cell.split(SEPARATOR) if cell else []


def _sorted(labels: list[str] | set[str]) -> Labels:
    return tuple(sorted({int(label) for label in labels}))


def _rows(form: str, paths: pd.Series, labels: list[Labels], classes: tuple[str, ...] = ()) -> Rows:
    column = pd.Series(labels, paths.index, dtype=object)
    return Rows(form, table_of(paths, column), numbers=True, classes=classes, multi_label=True)
