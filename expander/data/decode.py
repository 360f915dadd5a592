"""Frames of a video file: decord, guarded, behind a cache of decoded frames.

A reader is opened where it is used and dropped at once; none is kept, shared or pickled. Indices go
to decord sorted and unique (several times faster) and are gathered after.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from expander.data.sampling import Indices

log = logging.getLogger(__name__)
Frames = npt.NDArray[np.uint8]
SHAPE = re.compile(r"(\d+)x(\d+)x(\d+)\.rgb")
Pick = Callable[[int], Indices]
"""From the number of frames of a video to the frames wanted."""


class VideoError(Exception):
    """A video that cannot be read; the message names it and the reason."""


def _open(path: Path) -> Any:
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    if not path.is_file():
        raise VideoError(f"{path}: no such file")
    try:
        reader = decord.VideoReader(os.fspath(path), num_threads=1)
    except (RuntimeError, decord.DECORDError) as error:
        raise VideoError(f"{path}: cannot be decoded: {_reason(error)}") from None
    if len(reader) == 0:
        raise VideoError(f"{path}: holds no frames")
    return reader


def _reason(error: Exception) -> str:
    return str(error).strip().splitlines()[-1][:200] if str(error).strip() else "unknown"


def _gather(path: Path, reader: Any, indices: Indices) -> Frames:
    import decord

    unique, inverse = np.unique(indices, return_inverse=True)
    if unique[0] < 0 or unique[-1] >= len(reader):
        raise IndexError(f"{path}: frame {unique[-1]} asked of {len(reader)}")
    try:
        frames: Frames = reader.get_batch(unique.tolist()).asnumpy()
    except (RuntimeError, decord.DECORDError) as error:
        raise VideoError(f"{path}: cannot be decoded: {_reason(error)}") from None
    return frames[inverse]


def _bytes(path: Path, reader: Any) -> int:
    return len(reader) * _gather(path, reader, np.zeros(1, np.int64)).nbytes


def _size(folder: Path) -> int:
    """Bytes of the files in a folder that others may be writing to."""
    total = 0
    for entry in os.scandir(folder):
        with contextlib.suppress(FileNotFoundError):
            total += entry.stat().st_size
    return total


def probe(path: Path) -> tuple[int, int, int]:
    """Frames, height and width of a video. Raises VideoError."""
    reader = _open(path)
    height, width = _gather(path, reader, np.zeros(1, np.int64)).shape[1:3]
    return len(reader), height, width


class Decoder:
    """Reads chosen frames of videos; keeps decoded videos in `cache` up to `budget` bytes.

    `cache` is the folder of one data set; the budget holds for it and its siblings together. A
    decoded video is a file of raw bytes whose name tells its shape, so that a frame is one read. What
    is returned never depends on the cache: it holds whole videos at their native size. Several
    processes may share a cache; files appear in it whole.
    """

    def __init__(self, cache: Path | None = None, budget: float = 0) -> None:
        self.cache = cache if budget > 0 else None
        self.budget = budget
        self.shapes: dict[str, tuple[int, int, int]] = {}
        self.keys: dict[Path, str] = {}
        self.room = budget - self._survey() if self.cache else 0.0

    def read(self, path: Path, pick: Pick) -> Frames:
        """(T, H, W, 3) bytes: the frames `pick` chooses. Raises VideoError."""
        if self.cache is not None and (shape := self.shapes.get(self._key(path))) is not None:
            kept = self._load(self._file(path, shape), shape, pick(shape[0]))
            if kept is not None:
                return kept
        reader = _open(path)
        indices = pick(len(reader))
        # Weighed before it is decoded: an hour of video must not fill the memory.
        if self.cache is None or self.room <= 0 or _bytes(path, reader) > self.room:
            return _gather(path, reader, indices)
        video = _gather(path, reader, np.arange(len(reader)))
        self._store(path, video)
        return video[indices]

    def lacks(self, path: Path) -> bool:
        """Whether there is a cache, and it does not hold this video."""
        with contextlib.suppress(VideoError):
            return self.cache is not None and self._key(path) not in self.shapes
        return False

    def make_room(self, needed: float) -> bool:
        """Whether `needed` more bytes fit, after deleting other data sets' frames, oldest first."""
        if self.cache is None or needed > self.budget:
            return False
        others = [folder for folder in self.cache.parent.iterdir() if folder != self.cache]
        for folder in sorted(others, key=lambda folder: folder.stat().st_mtime):
            if needed <= self.room:
                break
            self.room += _size(folder)
            shutil.rmtree(folder, ignore_errors=True)
        return needed <= self.room

    def _survey(self) -> int:
        """Takes in what the cache holds; bytes of it and its siblings."""
        assert self.cache is not None
        try:
            self.cache.mkdir(parents=True, exist_ok=True)
            for entry in os.scandir(self.cache):
                key, _, sizes = entry.name.partition(".")
                if match := SHAPE.fullmatch(sizes):
                    self.shapes[key] = (int(match[1]), int(match[2]), int(match[3]))
            return sum(_size(folder) for folder in self.cache.parent.iterdir())
        except OSError as error:
            log.warning("%s: no cache of decoded frames: %s", self.cache, error.strerror)
            self.cache = None
            return 0

    def _key(self, path: Path) -> str:
        """Of a video by its place, size and time: a changed file is another video."""
        if path not in self.keys:
            try:
                stat = path.stat()
            except OSError:
                raise VideoError(f"{path}: no such file") from None
            name = f"{path.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}"
            self.keys[path] = hashlib.sha256(name.encode()).hexdigest()[:32]
        return self.keys[path]

    def _file(self, path: Path, shape: tuple[int, ...]) -> Path:
        assert self.cache is not None
        return self.cache / f"{self._key(path)}.{shape[0]}x{shape[1]}x{shape[2]}.rgb"

    def _load(self, file: Path, shape: tuple[int, int, int], indices: Indices) -> Frames | None:
        frames = np.empty((len(indices), *shape[1:], 3), np.uint8)
        size = frames[0].nbytes
        try:
            with file.open("rb", buffering=0) as raw:
                for row, index in enumerate(indices):
                    raw.seek(int(index) * size)
                    if raw.readinto(memoryview(frames[row]).cast("B")) != size:
                        raise OSError("cut short")
        except OSError:
            # Deleted by another run, or cut short by a full disk or a crash: decode again.
            file.unlink(missing_ok=True)
            return None
        return frames

    def _store(self, path: Path, video: Frames) -> None:
        file = self._file(path, video.shape)
        temporary = file.with_suffix(f".{os.getpid()}.tmp")
        try:
            video.tofile(temporary)
            os.replace(temporary, file)
            self.room -= video.nbytes
            self.shapes[self._key(path)] = (video.shape[0], video.shape[1], video.shape[2])
        except OSError as error:
            log.warning("%s: cache of decoded frames is full: %s", file.parent, error.strerror)
            temporary.unlink(missing_ok=True)
            self.room = 0
