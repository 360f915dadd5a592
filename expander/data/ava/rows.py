"""Files of boxes to rows, checked: AVA's ground truth and detections, and ours, which has a header.

    video,second,x1,y1,x2,y2,action,person          AVA's ground truth: no header, a row a box and action
    video,second,x1,y1,x2,y2,action,score           AVA's detections: no header
    video,second,x1,y1,x2,y2,labels[,score]         ours, with this header: names of classes, with ; between

Faults are told as file:line with the text of the line.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from expander.data.ava.keyframes import Boxes
from expander.data.rows import read_text
from expander.errors import DataError

CORNERS = ["x1", "y1", "x2", "y2"]
HEADER = ["video", "second", *CORNERS, "labels"]
DETECTED = ["video", "second", *CORNERS, "score"]
"""Without labels: nobody says what people do before the network does."""
ASKED = ["second", *CORNERS]
BEYOND = 0.05
"""Share of the picture by which a box may lie outside of it; it is clipped."""
DIGITS = 3
"""Of a second: key frames are told apart to the millisecond."""
LATEST = 1_000_000
"""Seconds: no video is longer."""
MOST_CLASSES = 10_000
"""More than any data set of actions has: an id beyond it is another column."""


DECIMAL = re.compile(r"\s*[0-9]+(\.[0-9]*)?(e-?[0-9]+)?\s*")


def begins_boxes(first: str) -> bool:
    """Whether the first line of a file is a header or a row of boxes."""
    cells = [cell.strip() for cell in first.split(",")]
    return set(HEADER) <= set(cells) or (len(cells) in (7, 8) and all(map(DECIMAL.fullmatch, cells[1:6])))


@dataclass(frozen=True, slots=True, eq=False)
class BoxRows:
    """N rows: video (N,) str, second (N,), boxes (N, 4), label (N,) str, empty where there is none, score
    (N,), line (N,). numbered: whether labels are AVA's ids, from 1 on, and not names. detected: whether the
    file has scores.
    """

    file: Path
    video: NDArray[np.object_]
    second: NDArray[np.float64]
    boxes: Boxes
    label: NDArray[np.object_]
    score: NDArray[np.float64]
    line: NDArray[np.int64]
    numbered: bool
    detected: bool

    def fault(self, bad: NDArray[np.bool_], what: str) -> None:
        """Raises DataError for the first row where `bad` is true."""
        if bad.any():
            number = int(bad.argmax())
            place, second = f"{self.file}:{self.line[number]}", f"{self.second[number]:g}"
            raise DataError(f"{place}: {what}: {self.video[number]}, second {second}, "
                            f"label {self.label[number]!r}")  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class _Lines:
    """The rows of a file as text: table, by number of line, and the whole lines for errors."""

    file: Path
    table: pd.DataFrame
    texts: Sequence[str]

    def fault(self, bad: pd.Series | NDArray[np.bool_] | np.bool_, what: str) -> None:
        """Raises DataError for the first row where `bad` is true."""
        bad = np.asarray(bad)
        if bad.any():
            number = int(self.table.index[int(bad.argmax())])
            raise DataError(f"{self.file}:{number}: {what}, found {self.texts[number - 1].strip()[:200]!r}")

    def numbers(self, columns: list[str]) -> Any:
        """(N, columns) floats; not a number where it is none."""
        found = [pd.to_numeric(self.table[name], errors="coerce") for name in columns]
        return np.stack([column.to_numpy(np.float64) for column in found], axis=1)


def read_asked(file: Path, video: str) -> BoxRows:
    """Boxes of one video that are asked about: ours with a header, of which second and corners suffice, or
    AVA's detections. Rows of other videos are left out. Raises DataError with file:line.

    video: its file name; rows may have a folder before it, the same one in all rows.
    """
    head = _columns(file, read_text(file).split("\n"))
    rows = read_boxes(file, detected="score" in head or "second" not in head, wanted=ASKED)
    own = np.array([not name or Path(name).name in (video, Path(video).stem) for name in rows.video])
    if not own.any():
        first = rows.video[0]
        raise DataError(f"{file}: none of its {len(own)} boxes is of {video}, the first is of {first}")
    named = list(dict.fromkeys(Path(name).as_posix() for name in rows.video[own] if name))
    if len(named) > 1:
        raise DataError(f"{file}: has boxes of {named[0]} and of {named[1]}, and both may be {video}: keep "
                        "the rows of one")  # fmt: skip
    columns = ("video", "second", "boxes", "label", "score", "line")
    return replace(rows, **{name: getattr(rows, name)[own] for name in columns}, detected=True)


def read_boxes(file: Path, detected: bool, wanted: Sequence[str] = ()) -> BoxRows:
    """The rows of a file of ground truth, or of detections, with AVA's columns or with a header.

    wanted: columns that a header must have; none: all that are usual. Raises DataError with file:line.
    """
    texts = read_text(file).split("\n")
    ours = "second" in _columns(file, texts)
    wanted_here = wanted or (DETECTED if detected else HEADER)
    lines = _ours(file, texts, wanted_here) if ours else _ava(file, texts, detected)
    table = lines.table
    lines.fault((table["video"] == "") & (not wanted), "expected the name of a video in the first column")
    second = lines.numbers(["second"])[:, 0]
    lines.fault(~((second >= 0) & (second < LATEST)), "expected a second from 0 on in the second column")
    boxes, label, score = _corners(lines), table["labels"].to_numpy(object), np.ones(len(table))
    if not ours:
        label = _ids(lines)
    if "person" in table:
        whole = table["person"].str.fullmatch("-?[0-9]*")
        lines.fault(~whole, "expected a person's whole number in the last column (detections have a score "
                    "there)")  # fmt: skip
    if detected:
        score = lines.numbers(["score"])[:, 0]
        lines.fault(~((score >= 0) & (score <= 1)), "expected a score from 0 to 1 in the last column (ground "
                    "truth has a person's number there)")  # fmt: skip
    return BoxRows(file, table["video"].to_numpy(object), second.round(DIGITS), boxes, label, score,
                   table.index.to_numpy(np.int64), not ours, detected)  # fmt: skip


def _columns(file: Path, texts: Sequence[str]) -> list[str]:
    """The cells of the first line that is not blank: the header, if there is one."""
    first = next((text for text in texts if text.strip()), None)
    if first is None:
        raise DataError(f"{file}: has no rows")
    return [name.strip() for name in first.split(",")]


def _corners(lines: _Lines) -> Boxes:
    """(N, 4), clipped to the picture."""
    boxes: Boxes = lines.numbers(CORNERS)
    lines.fault(~np.isfinite(boxes).all(axis=1), "expected numbers for x1, y1, x2, y2")
    lines.fault((boxes > 1 + BEYOND).any(axis=1), "expected x1, y1, x2, y2 as shares of the picture, from "
                "0 to 1 (pixels are divided by its width and height)")  # fmt: skip
    lines.fault((boxes < -BEYOND).any(axis=1), "expected a box within the picture")
    lines.fault((boxes[:, :2] > boxes[:, 2:]).any(axis=1), "expected x1 <= x2 and y1 <= y2 (the upper left "
                "and the lower right corner, not width and height)")  # fmt: skip
    return np.clip(boxes, 0, 1)


def _ava(file: Path, texts: Sequence[str], detected: bool) -> _Lines:
    """AVA's columns, which no header names."""
    kept = [(number, text) for number, text in enumerate(texts, 1) if text.strip()]
    commas = np.array([text.count(",") for _, text in kept])
    index = pd.Index([number for number, _ in kept])
    last = "score" if detected else "person"
    columns = ["video", "second", *CORNERS, "labels", last]
    said = f"expected the columns {', '.join(columns)}"
    lines = _Lines(file, pd.DataFrame(index=index), texts)
    few = commas != 7
    if not detected:  # AVA 1.0 has no numbers of persons
        few &= commas != 6
    lines.fault(few, said)
    joined = StringIO("\n".join(text for _, text in kept))
    table = pd.read_csv(joined, header=None, names=columns, dtype=object, keep_default_na=False,
                        quoting=csv.QUOTE_NONE, skip_blank_lines=False)  # fmt: skip
    table = table.fillna("").set_index(index)
    return _Lines(file, table.apply(lambda column: column.str.strip()), texts)


def _ids(lines: _Lines) -> NDArray[np.object_]:
    """AVA's ids of actions as text; empty where a person does none of them, -1 too."""
    text = lines.table["labels"]
    whole = text.str.fullmatch(r"(-1|[0-9]{1,9})?(\.0)?")
    lines.fault(~whole, "expected a whole number of an action, or nothing")
    text = text.str.removesuffix(".0").str.lstrip("0").where(~text.isin(["", "-1"]), "-1")
    lines.fault(text == "", "expected an action from 1 on: 0 is none of AVA's")
    found: NDArray[np.object_] = text.where(text != "-1", "").to_numpy(object)
    return found


def _ours(file: Path, texts: Sequence[str], wanted: Sequence[str]) -> _Lines:
    """A header names the columns; of several labels each gets a row."""
    head, found, numbers = list[str](), list[list[str]](), list[int]()
    for number, text in enumerate(texts, 1):
        cells = _cells(f"{file}:{number}", text)
        if not any(cells):
            continue
        if not head:
            head = cells
            missing = [name for name in wanted if name not in head]
            if missing:
                raise DataError(f"{file}:{number}: the header lacks {', '.join(missing)}")
            if twice := [name for place, name in enumerate(head) if name in head[:place]]:
                raise DataError(f"{file}:{number}: the header names {twice[0]!r} twice")
        elif len(cells) != len(head):
            raise DataError(f"{file}:{number}: expected {len(head)} columns as in the header, found "
                            f"{text.strip()[:200]!r}")  # fmt: skip
        else:
            found.append(cells)
            numbers.append(number)
    if not found:
        raise DataError(f"{file}: has no rows")
    table = pd.DataFrame(found, index=pd.Index(numbers), columns=head, dtype=object)
    for name in ("video", "labels"):
        if name not in table:
            table[name] = ""
    table = table.assign(labels=table["labels"].str.split(";")).explode("labels")
    return _Lines(file, table.assign(labels=table["labels"].str.strip()), texts)


def _cells(place: str, text: str) -> list[str]:
    """Of one line: a quote that is not closed takes no further lines with it."""
    try:
        return [cell.strip() for cell in next(csv.reader([text]))]
    except csv.Error as error:
        raise DataError(f"{place}: {error}") from None
