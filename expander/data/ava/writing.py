"""Detections as a file: AVA's columns, which its official script takes, or ours with a header.

    video,second,x1,y1,x2,y2,action,score           AVA's, of data whose labels are numbers
    video,second,x1,y1,x2,y2,labels,score           ours: a header, names of classes

A row a box and class. Corners and scores have all their digits: a rounded score would tie with others, and
the mean average precision of the file would not be that of the test. `rows.read_boxes(file, detected=True)`
reads both back.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from io import StringIO

from expander.data.ava.keyframes import KeyFrame
from expander.data.ava.rows import HEADER
from expander.metrics.boxes import Floats

Scored = Iterable[tuple[KeyFrame, Floats]]
"""Key frames of n boxes with (n, C) scores; nan where there is none."""


def detections(scored: Scored, classes: Sequence[int], names: Sequence[str] = ()) -> str:
    """The text of the file. classes: numbers, from 0, of those that are written. names: of all of them; none
    writes AVA's ids, from 1.
    """
    out = StringIO()
    rows = csv.writer(out, lineterminator="\n")
    if names:
        rows.writerow([*HEADER, "score"])
    for frame, scores in scored:
        for box, of_box in zip(frame.boxes.tolist(), scores.tolist(), strict=True):
            place = [frame.video, _second(frame.second, bool(names)), *box]
            rows.writerows([*place, names[number] if names else number + 1, of_box[number]]
                           for number in classes if of_box[number] == of_box[number])  # fmt: skip
    return out.getvalue()


def _second(second: float, ours: bool) -> str:
    """As AVA has it, four digits, where it is whole; nine digits keep milliseconds apart."""
    return f"{second:.9g}" if ours or second != int(second) else f"{int(second):04d}"
