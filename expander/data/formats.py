"""Annotation files of one label a video to one table: path, label, split, line.

A label is a class number (`numbers`), or a class name that gets its number from the order of `classes`.
Faults are told as file:line with the text of the line.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from expander.config import reading
from expander.data.rows import NUMBER, Rows, csv_of, fault, fault_of_columns, lines_of, read_text, table_of
from expander.errors import DataError

KINETICS = ["label", "youtube_id", "time_start", "time_end", "split"]
OURS = ["path", "label", "class", "split"]
LONGEST = 1_000_000
"""Seconds that six digits of a name can tell."""
SPLITS = {"train": "train", "val": "val", "validate": "val", "validation": "val", "test": "test"}


NOTHING = r"[ \t]*"  # a line that says nothing; a line with # is a row: no format has comments
LIST_ROW = re.compile(rf"^(?:([^\s,](?:.*[^ \t\n,])?)[ \t,]+([0-9]{{1,7}})|{NOTHING})$", re.MULTILINE)
FRAMES_ROW = re.compile(
    rf"^(?:([^\s](?:.*[^ \t\n])?)[ \t]+([0-9]{{1,9}})[ \t]+([0-9]{{1,7}})|{NOTHING})$", re.MULTILINE
)
SEVERAL = re.compile(r".*\.[A-Za-z][A-Za-z0-9]{1,3}(?:[ \t,]+[0-9]+)+")
"""What a list takes for a path in a row of several labels: `x.mp4 3 5`."""
ONE = "one label a row (--ann-format multilabel reads several)"


def _numbered(file: Path, row: re.Pattern[str], expected: str) -> pd.DataFrame:
    """Path and class number, the first and last group of a pattern that every line must match."""
    text = read_text(file)
    found = [(number, *groups) for number, groups in enumerate(row.findall(text), 1)]
    # All lines in one go; one by one, for faults and for spaces around a line, takes five times as long.
    if len(found) != text.count("\n") + 1 or not any(line[1] for line in found):
        lines = lines_of(file)
        matches = [row.fullmatch(line) for line in lines]
        fault(file, pd.Series([match is None for match in matches], lines.index), lines, expected)
        found = [(n, *match.groups()) for n, match in zip(lines.index, matches, strict=True) if match]
    found = [line for line in found if line[1]]
    index = pd.Index([line[0] for line in found])
    paths = pd.Series([line[1] for line in found], index, dtype=object)
    table = table_of(paths, pd.Series(np.array([int(line[-1]) for line in found]), index))
    return table.assign(frames=[int(line[2]) for line in found]) if row.groups > 2 else table


def listed(file: Path) -> tuple[Rows, list[bool]]:
    """`path label` a line (MMAction2, SlowFast): the label follows the LAST space, tab or comma.

    And of each row whether it seems to have several labels. Raises DataError.
    """
    table = _numbered(file, LIST_ROW, "'path label' with a label from 0 on")
    several = [path[-1].isdigit() and SEVERAL.fullmatch(path) is not None for path in table["path"].tolist()]
    return Rows("list", table, numbers=True), several


def read_list(file: Path) -> Rows:
    """The rows of `listed`, refused where they have several labels."""
    rows, several = listed(file)
    fault_of_columns(file, rows.table, several, ("path", "label"),
                     ONE)  # fmt: skip
    return rows


def read_rawframes(file: Path) -> Rows:
    """`folder total_frames label` a line (MMAction2): a folder of pictures each."""
    return Rows("rawframes", _numbered(file, FRAMES_ROW, "'folder frames label'"), numbers=True)


def read_kinetics(file: Path) -> Rows:
    """The official CSV: label,youtube_id,time_start,time_end,split; paths are stems to be found on disk."""
    table = csv_of(file, KINETICS)
    times = table[["time_start", "time_end"]].apply(pd.to_numeric, errors="coerce")
    bad = ~((times >= 0) & (times < LONGEST)).all(axis=1) | (table["label"] == "")
    fault(file, bad, table[KINETICS], "label,youtube_id,start,end,split")
    start, end = (times[name].astype(int).map("{:06d}".format) for name in times)
    split = table["split"].str.lower().map(SPLITS).fillna("")
    stem = table["youtube_id"] + "_" + start + "_" + end
    return Rows("kinetics", table_of(stem, table["label"], split), numbers=False)


def read_ours(file: Path) -> Rows:
    """What `expander data index` writes: path,label,class,split."""
    table = csv_of(file, OURS)
    label = table["label"]
    right = [text for text in label.unique() if NUMBER.fullmatch(text)]
    bad = ~label.isin(right) | (table["path"] == "") | ~table["split"].isin(["train", "val", "test"])
    fault(file, bad, table[OURS], "path,number,class,train|val|test")
    numbers = label.astype(int)
    named = dict(zip(numbers, table["class"], strict=True))
    classes = tuple(named.get(number, str(number)) for number in range(int(numbers.max()) + 1))
    return Rows("expander", table_of(table["path"], numbers, table["split"]), True, classes)


def read_ssv2(file: Path) -> Rows:
    """Something-Something V2: a JSON list of {id, label, template}; labels.json beside it has the numbers."""
    rows, names = _json(file), _ssv2_classes(_labels_of(file))
    if not isinstance(rows, list) or not rows:
        raise DataError(f"{file}: expected a JSON list of objects with id and template")
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict) or not isinstance(row.get("id"), str | int):
            raise DataError(f"{file}: entry {number}: expected an object with id and template")
        if not isinstance(row.get("template"), str):
            said = "has no template, so no label, as in the official test list: a list with labels is needed"
            raise DataError(f"{file}: entry {number}: {said}")
    index = pd.RangeIndex(1, len(rows) + 1)
    table = pd.DataFrame([{"id": row["id"], "template": row["template"]} for row in rows], index)
    label = table["template"].str.replace(r"[\[\]]", "", regex=True)
    fault(file, ~label.isin(list(names)), label, f"a template of {_labels_of(file).name}")
    classes = tuple(sorted(names, key=names.__getitem__))
    return Rows("ssv2", table_of(table["id"].astype(str), label), False, classes)


def _ssv2_classes(file: Path) -> dict[str, int]:
    found = _json(file)
    if not isinstance(found, dict) or not all(NUMBER.fullmatch(str(number)) for number in found.values()):
        raise DataError(f"{file}: expected a JSON object of class names and their numbers")
    return {name: int(number) for name, number in found.items()}


def _labels_of(file: Path) -> Path:
    for name in ("labels.json", "something-something-v2-labels.json"):
        if (file.parent / name).is_file():
            return file.parent / name
    raise DataError(f"{file}: no labels.json beside it")


def _json(file: Path) -> Any:
    try:
        return reading.parse_json(read_text(file))
    except ValueError as error:
        raise DataError(f"{file}: not JSON: {error}") from None


def read_ucf101(file: Path) -> Rows:
    """`Class/v_x.avi [number]` a line; the class is the folder, numbers are those of classInd.txt less 1."""
    index = file.parent / "classInd.txt"
    ordered = lines_of(index).str.extract(r"^([0-9]+)\s+(\S+)$")
    fault(index, ordered[0].isna(), lines_of(index), "'number Class'")
    lines = lines_of(file)
    path = lines.str.extract(r"^(.*?\.\w+)(?:\s+[0-9]+)?$")[0].fillna("")
    label = path.str.partition("/")[0]
    fault(file, ~label.isin(ordered[1]), lines, "'Class/video.avi number' of a class of classInd.txt")
    return Rows("ucf101", table_of(path, label), False, tuple(ordered[1]))


def read_hmdb51(file: Path) -> Rows:
    """`video.avi 0|1|2` a line, 1 training, 2 test; the class is in the name of the file."""
    match = re.fullmatch(r"(.+)_test_split\d+", file.stem)
    if match is None:
        raise DataError(f"{file}: HMDB51 lists are named <class>_test_split<number>.txt")
    lines = lines_of(file)
    columns = lines.str.extract(r"^(.*?)\s+([012])$")
    fault(file, columns[1].isna(), lines, "'video.avi 0|1|2'")
    used = columns[columns[1] != "0"]
    split = used[1].map({"1": "train", "2": "val"})
    return Rows("hmdb51", table_of(match[1] + "/" + used[0], pd.Series(match[1], used.index), split), False)
