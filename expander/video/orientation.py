"""How a frame is turned or mirrored when it is shown: the display matrix of phones and cameras."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

SIZE = 36  # bytes: nine numbers of 32 bits


@dataclass(frozen=True, slots=True)
class Orientation:
    """First rows and columns are swapped, then rows (up and down) and columns (left and right) reversed."""

    swap: bool = False
    reverse_rows: bool = False
    reverse_columns: bool = False

    def apply(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """(H, W, 3) as stored -> as shown."""
        if self.swap:
            picture = picture.transpose(1, 0, 2)
        return picture[:: -1 if self.reverse_rows else 1, :: -1 if self.reverse_columns else 1]


def orientation_of(frame: Any) -> Orientation:
    """Of a decoded frame. A matrix that does more than turn by right angles and mirror is not followed.

    x' = a x + c y and y' = b x + d y for x to the right and y down: the first numbers of the matrix are
    a, b, (u), c, d (ISO/IEC 14496-12, track header).
    """
    matrix = frame.side_data.get("DISPLAYMATRIX")
    content = bytes(matrix) if matrix is not None else b""
    if len(content) >= SIZE:
        a, b, _, c, d = struct.unpack("<5i", content[:20])
        if a and d and not b and not c:
            return Orientation(False, d < 0, a < 0)
        if b and c and not a and not d:
            return Orientation(True, b < 0, c < 0)
    return Orientation()
