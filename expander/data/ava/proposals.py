"""MMAction2's proposals, boxes of a detector of people as a pickle, to AVA's columns as a CSV.

    {"-5KQ66BBWC4,0902": array of (n, 5) x1, y1, x2, y2, score in shares of the picture, ...}

A pickle can run what it likes when it is read. Here it may name what arrays are made of and nothing else.
"""

from __future__ import annotations

import csv
import io
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from expander.config.reading import read_bytes
from expander.errors import DataError

ARRAYS = {(f"numpy.{core}.{module}", name) for core in ("core", "_core") for module, name in
          (("multiarray", "_reconstruct"), ("multiarray", "scalar"), ("numeric", "_frombuffer"))}  # fmt: skip
PARTS = ARRAYS | {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode"), ("__builtin__", "bytes"),
                  ("collections", "OrderedDict")}  # fmt: skip
"""All that a file may name: parts of arrays, and bytes as Python 2 wrote them."""
KEY = re.compile(r"(.+),([0-9]{1,7})")
"""A video and a second of it."""


class _Arrays(pickle.Unpickler):
    """Reads arrays and plain values."""

    def find_class(self, module: str, name: str) -> Any:
        """See pickle."""
        if (module, name) not in PARTS:
            said = ascii(f"{module}.{name}")[1:-1][:80]
            raise pickle.UnpicklingError(f"it names {said}, and proposals are arrays and nothing else")
        return super().find_class(module, name)


def to_csv(file: Path) -> tuple[str, int, int]:
    """AVA's detections of a file of proposals, sorted; how many key frames and boxes there are.

    Numbers have the digits that bring them back exactly. Raises DataError for what is no such file, with the
    key of a faulty entry.
    """
    found = _read(file)
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    boxes = 0
    for video, second, key in sorted(_moment(file, key) for key in found):
        for *corners, score in _boxes(file, key, found[key]):
            rows.writerow([video, f"{second:04d}", *corners, "", score])
            boxes += 1
    return out.getvalue(), len(found), boxes


def _read(file: Path) -> Mapping[Any, Any]:
    try:
        found = _Arrays(io.BytesIO(read_bytes(file)), encoding="latin1").load()
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from None
    except pickle.UnpicklingError as error:
        raise DataError(f"{file}: no pickle of proposals: {error}") from None
    except Exception as error:  # whatever bytes that are no pickle make of one
        raise DataError(f"{file}: no pickle of proposals: {type(error).__name__}") from None
    if not isinstance(found, dict) or not found:
        raise DataError(f"{file}: expected boxes by 'video,second', found {type(found).__name__} of "
                        f"{len(found) if hasattr(found, '__len__') else 1}")  # fmt: skip
    return found


def _moment(file: Path, key: object) -> tuple[str, int, str]:
    match = KEY.fullmatch(key) if isinstance(key, str) else None
    if match is None:
        raise DataError(f"{file}: expected keys such as '-5KQ66BBWC4,0902', found {str(key)[:80]!r}")
    return match[1], int(match[2]), match[0]


def _boxes(file: Path, key: str, value: object) -> Any:
    """(n, 5) texts of numbers."""
    expected = f"{file}: {key!r}: expected an array of (n, 5): x1, y1, x2, y2 and a score"
    if not isinstance(value, np.ndarray) or value.ndim != 2 or value.shape[1] != 5:
        raise DataError(f"{expected}, found {getattr(value, 'shape', type(value).__name__)}")
    if value.dtype.kind != "f" or not np.isfinite(value).all():
        raise DataError(f"{expected}, found what are no numbers")
    if (value < 0).any() or (value > 1).any():
        raise DataError(f"{expected}, all from 0 to 1, found {value.min():g} to {value.max():g}")
    return value.astype(np.str_)
