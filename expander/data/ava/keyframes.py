"""Key frames as values: where people are in a second of a video, what they do, and where its frames lie.

Shapes: n boxes of a key frame, C classes. A box is x1, y1, x2, y2 in shares of the picture's width and
height, from its upper left corner. Class i of C is the one whose id in the files is i + 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float64]
Moment = tuple[str, float]
"""A video and a second of it."""


@dataclass(frozen=True, slots=True, eq=False)
class KeyFrame:
    """The boxes of one second of a video.

    boxes: (n, 4) shares. labels: (n, C) bool, several may be true of a box and all may be false; none: the
    boxes of a detector of people. scores: (n,) of that detector in 0..1, 1 for ground truth. line: of its
    first row in the file.
    """

    video: str
    second: float
    boxes: Boxes
    labels: NDArray[np.bool_] | None
    scores: NDArray[np.float64]
    line: int = 0

    @property
    def moment(self) -> Moment:
        """By which ground truth and detections of a key frame find each other."""
        return self.video, self.second

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True, slots=True)
class Footage:
    """Frames of a video: a file or a folder of pictures.

    begins: second of the first frame, as key frames count. fps: frames a second of pictures; none: the file
    tells it.
    """

    path: Path
    begins: float = 0.0
    fps: Fraction | None = None


@dataclass(frozen=True, slots=True, eq=False)
class DetectionSplit:
    """Key frames of training or of validation, by video and second.

    file: of the ground truth, which errors name. truth: every key frame that is counted. detected: boxes of
    a detector of people at any of them or elsewhere; none: the data set has no such file. footage: by video,
    of all videos in `truth`. excluded: moments that are neither counted nor predicted, and are in neither.
    missing: videos of the list that are not on disk, in none of these.
    """

    file: Path
    truth: tuple[KeyFrame, ...]
    detected: tuple[KeyFrame, ...] | None
    footage: Mapping[str, Footage]
    excluded: frozenset[Moment] = frozenset()
    missing: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def paths(self) -> tuple[Path, ...]:
        """Of its videos."""
        return tuple(footage.path for footage in self.footage.values())


@dataclass(frozen=True, slots=True, eq=False)
class DetectionData:
    """Training and validation key frames with the names of their C classes.

    evaluated: numbers of the classes that the measure counts, rising. fingerprint: SHA-256 of all rows that
    are used. files: what was read, as found. numbered: whether labels in the files are AVA's ids.
    """

    train: DetectionSplit
    val: DetectionSplit
    classes: tuple[str, ...]
    evaluated: tuple[int, ...]
    fingerprint: str
    files: tuple[Path, ...] = ()
    numbered: bool = False
