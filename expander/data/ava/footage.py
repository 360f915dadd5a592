"""Where the frames of AVA's videos lie: pictures or films, and the second that they begin with.

    frames/ or rawframes/<video>/     pictures at 30 a second from second 900 on
    videos_15min/<video>.mp4          from second 900 on
    videos/<video>.mkv                from second 0 on

The first that has a video is taken. Videos of a list of one's own are paths, from second 0 on.
"""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import numpy as np

from expander.config.reading import is_folder, is_there
from expander.data.ava.keyframes import Footage
from expander.data.ava.rows import BoxRows
from expander.data.folders import VIDEOS
from expander.errors import DataError
from expander.specs.spec import Spec
from expander.video.filenames import unusable
from expander.video.sampling import Indices

BEGIN = 900.0
"""Second of a film with which AVA's quarter of an hour begins."""
PICTURES_FPS = Fraction(30)
"""Frames a second at which AVA's pictures are extracted."""
PLACES = (("frames", BEGIN), ("rawframes", BEGIN), ("videos_15min", BEGIN), ("videos", 0.0))
"""Folders in the order in which they are looked into, and the second that their frames begin with."""


def ava_footage(root: Path) -> dict[str, Footage]:
    """All that lies in the folders of PLACES below `root`, by the name of the video. Raises DataError."""
    found: dict[str, Footage] = {}
    for place, begins in PLACES:
        try:
            entries = sorted(os.scandir(root / place), key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise DataError(f"{root / place}: cannot be read: {error.strerror}") from None
        for entry in entries:
            stem, ending = os.path.splitext(entry.name)
            if entry.is_dir():
                found.setdefault(entry.name, Footage(root / place / entry.name, begins, PICTURES_FPS))
            elif ending.lower() in VIDEOS:
                found.setdefault(stem, Footage(root / place / entry.name, begins))
    return found


def own_footage(rows: BoxRows, root: Path, outside: bool) -> dict[str, Footage]:
    """Of the videos of a list with a header: paths that start from `root`; those that are not there are left
    out. outside: whether they may leave it. Raises DataError with file:line.
    """
    top = os.path.realpath(root) + os.sep
    found = {}
    for name in dict.fromkeys(rows.video):
        if why := unusable(name):
            rows.fault(rows.video == name, f"{why}: is another column taken for it?")
        path = root / name
        if is_there(path):
            if not outside and not os.path.realpath(path).startswith(top):
                rows.fault(rows.video == name, "outside of the data root; --allow-outside permits it")
            found[name] = Footage(path, 0.0, PICTURES_FPS if is_folder(path) else None)
    return found


def centre(second: float, footage: Footage, fps: float) -> int:
    """The number of the frame that is shown at a second, if the video reaches so far."""
    return round((second - footage.begins) * fps)


def indices_around(place: int, spec: Spec, length: int) -> Indices:
    """(T,) frame numbers of the clip around frame `place` of a video of `length` frames; that frame is its
    middle one, of an even T the one after the middle. SlowFast's begins T * stride / 2 before it, which for
    an even T is the same.
    """
    start = place - spec.frames // 2 * spec.stride
    return np.clip(start + spec.stride * np.arange(spec.frames), 0, length - 1)
