"""Decoded videos on disk: a folder for each data set, a file of raw bytes for each video.

Whoever uses a folder holds a lock on it, so that others who need room leave it alone until they are done.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from expander.video.readers import Frames
from expander.video.sampling import Indices

log = logging.getLogger(__name__)
SHAPE = re.compile(r"(\d+)x(\d+)x(\d+)\.rgb")
HELD = "in-use"
"""The file of a folder that those who use it have locked."""
Shape = tuple[int, int, int]
"""Frames, height and width of a video."""


class FrameCache:
    """The decoded videos of one data set, by key; the budget in bytes holds for it and its siblings together.

    A file's name tells its shape, so that a frame is one read. Several processes may share a folder; files
    appear in it whole.
    """

    def __init__(self, folder: Path, budget: float) -> None:
        self.folder, self.budget = folder, budget
        self.shapes: dict[str, Shape] = {}
        self.let_go: Callable[[], object] | None = None
        self.usable = True
        self.room = budget - self._survey()

    def __getstate__(self) -> dict[str, Any]:
        """Another process holds the folder by itself."""
        return {**self.__dict__, "let_go": None}

    def lacks(self, key: str) -> bool:
        """Whether a video could be kept, and is not."""
        return self.usable and key not in self.shapes

    def load(self, key: str, pick: Callable[[int], Indices]) -> Frames | None:
        """(T, H, W, 3) bytes of a kept video: the frames picked by its length; none if it is gone."""
        shape = self.shapes.get(key)
        if shape is None or not self._hold():
            return None
        file, indices = self._file(key, shape), pick(shape[0])
        frames = np.empty((len(indices), *shape[1:], 3), np.uint8)
        size = frames[0].nbytes
        try:
            _read(file, shape[0] * size, frames, indices)
        except OSError:
            # Deleted by another run, or cut short by a full disk or a crash: decode again.
            with contextlib.suppress(OSError):
                os.unlink(file)
            return None
        return frames

    def keep(self, key: str, shape: Shape, write: Callable[[Path], None]) -> bool:
        """Whether a video of this shape is kept now, by what `write` makes of a path. Raises as that does."""
        needed = shape[0] * shape[1] * shape[2] * 3
        # Weighed before it is decoded: an hour of video must not fill the disk.
        if needed > self.room or not self._hold():
            return False
        file = Path(self._file(key, shape))
        temporary = file.with_suffix(f".{os.getpid()}.{id(self)}.tmp")
        try:
            write(temporary)
            os.replace(temporary, file)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            self.fill_up(error)
            return False
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        self.room -= needed
        self.shapes[key] = shape
        return True

    def fill_up(self, error: Exception) -> None:
        """Nothing more is kept."""
        log.warning("%s: cache of decoded frames is full: %s", self.folder, error)
        self.room = 0

    def make_room(self, needed: float) -> bool:
        """Whether `needed` more bytes fit, after deleting frames of sets that nobody uses, oldest first."""
        if not self.usable or needed > self.budget or not self._hold():
            return False
        used = 0
        try:
            others = [one for one in self.folder.parent.iterdir() if one != self.folder and one.is_dir()]
            for folder in sorted(others, key=lambda folder: folder.stat().st_mtime):
                if needed <= self.room:
                    break
                size = _size(folder)
                if _deleted(folder):
                    self.room += size
                else:
                    used += size
        except OSError as error:  # another process makes room at the same time, or foreign files
            log.warning("%s: cannot make room for decoded frames: %s", self.folder.parent, error)
        if used and needed > self.room:
            log.warning("%s: %.1f GB are frames that others work with, so these videos are decoded anew each "
                        "time; data.cache_gb allows more", self.folder.parent, used / 1e9)  # fmt: skip
        return needed <= self.room

    def release(self) -> None:
        """Others may delete the folder; the next use holds it again."""
        if self.let_go is not None:
            self.let_go()
            self.let_go = None

    def _hold(self) -> bool:
        """Locks the folder against those who need room. Whether there is a folder to work with."""
        if self.usable and self.let_go is None:
            try:
                self.let_go = weakref.finalize(self, os.close, _locked(self.folder))
            except OSError as error:
                log.warning("%s: no cache of decoded frames: %s", self.folder, error.strerror)
                self.usable = False
        return self.usable

    def _survey(self) -> int:
        """Takes in what the cache holds; bytes of it and its siblings."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for entry in os.scandir(self.folder):
                key, _, sizes = entry.name.partition(".")
                if match := SHAPE.fullmatch(sizes):
                    self.shapes[key] = (int(match[1]), int(match[2]), int(match[3]))
            return sum(_size(folder) for folder in self.folder.parent.iterdir())
        except OSError as error:
            log.warning("%s: no cache of decoded frames: %s", self.folder, error.strerror)
            self.usable = False
            return 0

    def _file(self, key: str, shape: Shape) -> str:
        return os.path.join(self.folder, f"{key}.{shape[0]}x{shape[1]}x{shape[2]}.rgb")


def _read(file: str, nbytes: int, frames: Frames, indices: Indices) -> None:
    """Fills frames with those of a file of so many bytes. Raises OSError."""
    raw = os.open(file, os.O_RDONLY)
    try:
        if os.fstat(raw).st_size != nbytes:
            raise OSError("cut short, or of something else")
        for frame, index in zip(frames, indices.tolist(), strict=True):
            os.lseek(raw, index * frame.nbytes, os.SEEK_SET)
            if os.readv(raw, [frame]) != frame.nbytes:
                raise OSError("cut short")
    finally:
        os.close(raw)


def _locked(folder: Path) -> int:
    """An open file of the folder, locked beside others. Raises OSError."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            opened = os.open(folder / HELD, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except FileNotFoundError:
            continue
        fcntl.flock(opened, fcntl.LOCK_SH)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(opened), os.stat(folder / HELD)):
                return opened
        os.close(opened)  # it was deleted while it was waited for


def _deleted(folder: Path) -> bool:
    """Whether a folder of frames is gone: nobody was using it."""
    try:
        with (folder / HELD).open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        return False
    return True


def _size(folder: Path) -> int:
    """Bytes of the files in a folder that others may be writing to."""
    total = 0
    if not folder.is_dir():  # not ours
        return 0
    for entry in os.scandir(folder):
        with contextlib.suppress(FileNotFoundError):
            total += entry.stat().st_size
    return total
