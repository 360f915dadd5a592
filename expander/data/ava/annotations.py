"""From rows of boxes to key frames: rows of the same box are one box with several labels.

Shapes: N rows, n boxes of a key frame, C classes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from expander.data.ava.keyframes import Boxes, KeyFrame, Moment
from expander.data.ava.rows import MOST_CLASSES, BoxRows
from expander.errors import DataError


def class_names(
    train: BoxRows, label_map: Mapping[int, str], listed: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """Of classes 0 to C - 1: those listed, or the sorted names of the training rows; of AVA's ids, up to the
    highest of the map, or of training where there is none. An id without a name is named by its number.

    Raises DataError: an id beyond MOST_CLASSES, no label in any row.
    """
    used = set(train.label) - {""}
    if not used:
        raise DataError(f"{train.file}: no box in it has a label, so there is nothing to learn")
    if not train.numbered:
        return listed or tuple(sorted(used))
    beyond = np.array([len(label) > 5 or int(label or 0) > MOST_CLASSES for label in train.label])
    train.fault(beyond, f"an action beyond {MOST_CLASSES}")
    highest = max(label_map or map(int, used))
    return tuple(label_map.get(number, str(number)) for number in range(1, highest + 1))


def key_frames(
    rows: BoxRows, classes: tuple[str, ...], excluded: Collection[Moment] = ()
) -> tuple[KeyFrame, ...]:
    """The key frames of the rows by video and second; labels of detections are not taken.

    Raises DataError with file:line for a label that is none of the classes.
    """
    numbers = _class_numbers(rows, classes)
    order = _by_moment(rows)
    video, second = rows.video[order], rows.second[order]
    another = (video[1:] != video[:-1]) | (second[1:] != second[:-1])
    moment = np.concatenate([[0], np.cumsum(another)])
    head = _first_of_same(moment, rows.boxes[order])
    heads = np.flatnonzero(head == np.arange(len(head)))
    labels = None
    if not rows.detected:
        number, has = numbers[order], numbers[order] >= 0
        labels = np.zeros((len(heads), len(classes)), np.bool_)
        labels[np.searchsorted(heads, head[has]), number[has]] = True
    boxes, scores, lines = rows.boxes[order[heads]], rows.score[order[heads]], rows.line[order]
    starts = [*np.flatnonzero(np.diff(moment[heads], prepend=-1)).tolist(), len(heads)]
    found = []
    for begin, end in pairwise(starts):
        row = heads[begin]
        if (video[row], second[row]) not in excluded:
            own = None if labels is None else labels[begin:end]
            found.append(KeyFrame(video[row], float(second[row]), boxes[begin:end], own, scores[begin:end],
                                  int(lines[row])))  # fmt: skip
    return tuple(found)


def _by_moment(rows: BoxRows) -> NDArray[np.int64]:
    """Numbers of rows by video and second, as listed within."""
    videos, _ = pd.factorize(rows.video, sort=True)
    return np.lexsort((rows.second, videos)).astype(np.int64)


def _first_of_same(moment: NDArray[np.int64], boxes: Boxes) -> NDArray[np.int64]:
    """(N,) the number of the first row with the same moment and the same box."""
    order = np.lexsort((*boxes.T, moment))  # stable: of the same the first row is first
    another = (np.diff(moment[order]) != 0) | (np.diff(boxes[order], axis=0) != 0).any(axis=1)
    first = order[np.concatenate([[True], another])]
    found = np.empty(len(order), np.int64)
    found[order] = first[np.concatenate([[0], np.cumsum(another)])]
    return found


def _class_numbers(rows: BoxRows, classes: tuple[str, ...]) -> NDArray[np.int64]:
    """(N,) from 0 on, -1 where a row has no label."""
    if rows.detected:
        return np.full(len(rows.label), -1)
    known = {name: number for number, name in enumerate(classes)}
    if rows.numbered:
        known = {str(number): number - 1 for number in range(1, len(classes) + 1)}
    known[""] = -1
    found = pd.Series(rows.label).map(known)
    said = "a label that is none of classes.txt; or, where there is none, of the training boxes"
    if rows.numbered:
        said = f"an action beyond {len(classes)}, the last of the label map, or of training without a map"
    rows.fault(found.isna().to_numpy(), said)
    return found.to_numpy().astype(np.int64)
