"""Annotation files of eight kinds to one table: path, label, split, line.

A label is a class number (`numbers`), or a class name that gets its number from the order of `classes`.
Faults are told as file:line with the text of the line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from expander.config import reading
from expander.errors import DataError

KINETICS = ["label", "youtube_id", "time_start", "time_end", "split"]
OURS = ["path", "label", "class", "split"]
LONGEST = 1_000_000
"""Seconds that six digits of a name can tell."""
SPLITS = {"train": "train", "val": "val", "validate": "val", "validation": "val", "test": "test"}


@dataclass(frozen=True, slots=True)
class Rows:
    """table: path (str), label (int or str), split (str, empty: what the file is for), line (int).

    numbers: whether labels are class numbers. classes: names in order, where the format gives them.
    """

    form: str
    table: pd.DataFrame
    numbers: bool
    classes: tuple[str, ...] = ()


def read_text(file: Path) -> str:
    """A file as text, without byte order mark and carriage returns. Raises DataError."""
    try:
        return reading.read_text(file).replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise DataError(f"{file}: cannot be read: {reason}") from None


def _spoken(text: str) -> Iterator[tuple[int, str]]:
    """The lines that say something, stripped, with their numbers."""
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip()
        if stripped:
            yield number, stripped


def _lines(file: Path) -> pd.Series:
    """The lines that say something, by their number. Raises DataError when there are none."""
    numbers, lines = [], []
    for number, line in _spoken(read_text(file)):
        numbers.append(number)
        lines.append(line)
    if not lines:
        raise DataError(f"{file}: lists no videos")
    return pd.Series(lines, numbers, dtype=object)


def _fault(file: Path, bad: pd.Series, rows: pd.Series | pd.DataFrame, expected: str) -> None:
    """Raises DataError for the first row where `bad` is true."""
    if bad.any():
        place = int(bad.to_numpy().argmax())
        row = rows.iloc[place]
        text = row if isinstance(row, str) else ",".join(row)
        raise DataError(f"{file}:{rows.index[place]}: expected {expected}, found {text!r}")


def _fault_of_columns(
    file: Path, table: pd.DataFrame, bad: Sequence[bool] | pd.Series, columns: tuple[str, ...], expected: str
) -> None:
    """The same, of a row that its columns give back."""
    wrong = table[bad]
    if not wrong.empty:
        text = wrong[list(columns)].astype(str).agg(" ".join, axis=1)
        _fault(file, pd.Series(True, wrong.index), text, expected)


def _table(path: pd.Series, label: pd.Series, split: str | pd.Series = "") -> pd.DataFrame:
    """Text as objects: pandas' own strings are several times slower at what is done with them here."""
    of_rows = pd.Series(split, path.index, dtype=object) if isinstance(split, str) else split.astype(object)
    return pd.DataFrame({"path": path.astype(object), "label": label, "split": of_rows, "line": path.index})


NUMBER = re.compile(r"[0-9]{1,7}")
NOTHING = r"[ \t]*"  # a line that says nothing; a line with # is a row: no format has comments
LIST_ROW = re.compile(rf"^(?:([^\s,](?:.*[^ \t\n,])?)[ \t,]+([0-9]{{1,7}})|{NOTHING})$", re.MULTILINE)
FRAMES_ROW = re.compile(
    rf"^(?:([^\s](?:.*[^ \t\n])?)[ \t]+([0-9]{{1,9}})[ \t]+([0-9]{{1,7}})|{NOTHING})$", re.MULTILINE
)
SEVERAL = re.compile(r".*\.[A-Za-z][A-Za-z0-9]{1,3}(?:[ \t,]+[0-9]+)+")
"""What a list takes for a path in a row of several labels: `x.mp4 3 5`."""


def _numbered(file: Path, row: re.Pattern[str], expected: str) -> pd.DataFrame:
    """Path and class number, the first and last group of a pattern that every line must match."""
    text = read_text(file)
    found = [(number, *groups) for number, groups in enumerate(row.findall(text), 1)]
    # All lines in one go; one by one, for faults and for spaces around a line, takes five times as long.
    if len(found) != text.count("\n") + 1 or not any(line[1] for line in found):
        lines = _lines(file)
        matches = [row.fullmatch(line) for line in lines]
        _fault(file, pd.Series([match is None for match in matches], lines.index), lines, expected)
        found = [(n, *match.groups()) for n, match in zip(lines.index, matches, strict=True) if match]
    found = [line for line in found if line[1]]
    index = pd.Index([line[0] for line in found])
    paths = pd.Series([line[1] for line in found], index, dtype=object)
    table = _table(paths, pd.Series(np.array([int(line[-1]) for line in found]), index))
    return table.assign(frames=[int(line[2]) for line in found]) if row.groups > 2 else table


def read_list(file: Path) -> Rows:
    """`path label` a line (MMAction2, SlowFast): the label follows the LAST space, tab or comma."""
    table = _numbered(file, LIST_ROW, "'path label' with a label from 0 on")
    several = [path[-1].isdigit() and SEVERAL.fullmatch(path) is not None for path in table["path"].tolist()]
    _fault_of_columns(file, table, several, ("path", "label"),
                      "one label a row (several are not read: keep one, or list the video once)")  # fmt: skip
    return Rows("list", table, numbers=True)


def read_rawframes(file: Path) -> Rows:
    """`folder total_frames label` a line (MMAction2): a folder of pictures each."""
    return Rows("rawframes", _numbered(file, FRAMES_ROW, "'folder frames label'"), numbers=True)


def _csv(file: Path, columns: list[str]) -> pd.DataFrame:
    try:
        table = pd.read_csv(StringIO(read_text(file)), dtype=object, keep_default_na=False)
    except ValueError as error:
        raise DataError(f"{file}: not a CSV file: {str(error).splitlines()[0]}") from None
    missing = [name for name in columns if name not in table]
    if missing:
        raise DataError(f"{file}:1: the header lacks {', '.join(missing)}")
    if not isinstance(table.index, pd.RangeIndex):  # pandas took the first columns for names of rows
        raise DataError(f"{file}:2: it has more columns than the header")
    if table.empty:
        raise DataError(f"{file}: lists no videos")
    table.index += 2
    return table


def read_kinetics(file: Path) -> Rows:
    """The official CSV: label,youtube_id,time_start,time_end,split; paths are stems to be found on disk."""
    table = _csv(file, KINETICS)
    times = table[["time_start", "time_end"]].apply(pd.to_numeric, errors="coerce")
    bad = ~((times >= 0) & (times < LONGEST)).all(axis=1) | (table["label"] == "")
    _fault(file, bad, table[KINETICS], "label,youtube_id,start,end,split")
    start, end = (times[name].astype(int).map("{:06d}".format) for name in times)
    split = table["split"].str.lower().map(SPLITS).fillna("")
    stem = table["youtube_id"] + "_" + start + "_" + end
    return Rows("kinetics", _table(stem, table["label"], split), numbers=False)


def read_ours(file: Path) -> Rows:
    """What `expander data index` writes: path,label,class,split."""
    table = _csv(file, OURS)
    label = table["label"]
    right = [text for text in label.unique() if NUMBER.fullmatch(text)]
    bad = ~label.isin(right) | (table["path"] == "") | ~table["split"].isin(["train", "val", "test"])
    _fault(file, bad, table[OURS], "path,number,class,train|val|test")
    numbers = label.astype(int)
    named = dict(zip(numbers, table["class"], strict=True))
    classes = tuple(named.get(number, str(number)) for number in range(int(numbers.max()) + 1))
    return Rows("expander", _table(table["path"], numbers, table["split"]), True, classes)


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
    _fault(file, ~label.isin(list(names)), label, f"a template of {_labels_of(file).name}")
    classes = tuple(sorted(names, key=names.__getitem__))
    return Rows("ssv2", _table(table["id"].astype(str), label), False, classes)


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
    ordered = _lines(index).str.extract(r"^([0-9]+)\s+(\S+)$")
    _fault(index, ordered[0].isna(), _lines(index), "'number Class'")
    lines = _lines(file)
    path = lines.str.extract(r"^(.*?\.\w+)(?:\s+[0-9]+)?$")[0].fillna("")
    label = path.str.partition("/")[0]
    _fault(file, ~label.isin(ordered[1]), lines, "'Class/video.avi number' of a class of classInd.txt")
    return Rows("ucf101", _table(path, label), False, tuple(ordered[1]))


def read_hmdb51(file: Path) -> Rows:
    """`video.avi 0|1|2` a line, 1 training, 2 test; the class is in the name of the file."""
    match = re.fullmatch(r"(.+)_test_split\d+", file.stem)
    if match is None:
        raise DataError(f"{file}: HMDB51 lists are named <class>_test_split<number>.txt")
    lines = _lines(file)
    columns = lines.str.extract(r"^(.*?)\s+([012])$")
    _fault(file, columns[1].isna(), lines, "'video.avi 0|1|2'")
    used = columns[columns[1] != "0"]
    split = used[1].map({"1": "train", "2": "val"})
    return Rows("hmdb51", _table(match[1] + "/" + used[0], pd.Series(match[1], used.index), split), False)


FORMATS: dict[str, Callable[[Path], Rows]] = {
    "list": read_list,
    "rawframes": read_rawframes,
    "kinetics": read_kinetics,
    "expander": read_ours,
    "ssv2": read_ssv2,
    "ucf101": read_ucf101,
    "hmdb51": read_hmdb51,
}
"""By name, as --ann-format takes it; `folders` has no file."""


FOUR = ("four columns may be an offset or several labels, which are not read; "
        "--ann-format rawframes reads a folder with a space in its name")  # fmt: skip


def detect(file: Path) -> str:
    """The format of a file by its name and first lines. Raises DataError when two are possible."""
    if re.fullmatch(r".+_test_split\d+\.txt", file.name):
        return "hmdb51"
    if re.fullmatch(r"(train|test)list\d+\.txt", file.name) and (file.parent / "classInd.txt").is_file():
        return "ucf101"
    if file.suffix == ".json":
        return "ssv2"
    first = next((line for _, line in _spoken(read_text(file))), None)
    if first is None:
        raise DataError(f"{file}: lists no videos")
    head = [name.strip() for name in first.split(",")]
    for form, columns in (("kinetics", KINETICS), ("expander", OURS)):
        if set(columns) <= set(head):
            return form
    if re.fullmatch(r".*\S[ \t]+[0-9]+[ \t]+[0-9]+[ \t]+[0-9]+", first):
        raise DataError(f"{file}: {FOUR}")
    return "rawframes" if re.fullmatch(r"[^.]*\S[ \t]+[0-9]+[ \t]+[0-9]+", first) else "list"


def read_rows(file: Path, form: str = "auto") -> Rows:
    """The rows of an annotation file. Raises DataError with file:line."""
    if form == "folders":
        raise DataError(f"{file}: class folders have no annotation file: name the folder itself as the data")
    rows = FORMATS[detect(file) if form == "auto" else form](file)
    if form == "auto" and rows.form == "rawframes":
        four = rows.table["path"].str.fullmatch(r".*\S[ \t]+[0-9]+")
        columns = "path", "frames", "label"
        _fault_of_columns(file, rows.table, four, columns, f"'folder frames label': {FOUR}")
    return rows
