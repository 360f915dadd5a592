"""Frames of a video: decoded in a process of its own, behind a cache of decoded frames.

Indices go to the decoder sorted and unique (several times faster) and are gathered after.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np

from expander.errors import DataError
from expander.video.probe import NO_DECORD, Verdict
from expander.video.readers import Frames, Unreadable
from expander.video.sampling import Indices
from expander.video.verdict_cache import Verdicts, key_of
from expander.video.worker import Broken, DecodingProcess, Opened

log = logging.getLogger(__name__)
SHAPE = re.compile(r"(\d+)x(\d+)x(\d+)\.rgb")
CHUNK_BYTES = 64_000_000
"""Of frames that come from the decoding process at a time."""
TIMEOUT = 60.0
"""Seconds a video may take to decode, unless a run says otherwise."""


class Places(Protocol):
    """Where videos are: files of this machine, or what stands for them."""

    def at_hand(self, path: Path) -> Path:
        """A path of this machine with the bytes of a video. Raises OSError."""

    def key_of(self, path: Path) -> str:
        """As verdict_cache.key_of. Raises OSError."""


class Here:
    """Videos of this machine."""

    def at_hand(self, path: Path) -> Path:
        """The path itself."""
        return path

    def key_of(self, path: Path) -> str:
        """See Places."""
        return key_of(path)


Pick = Callable[[int], Indices]
"""From the number of frames of a video to the frames wanted."""


class VideoError(DataError):
    """A video that cannot be read; the message names it and the reason."""


def _size(folder: Path) -> int:
    """Bytes of the files in a folder that others may be writing to."""
    total = 0
    if not folder.is_dir():  # not ours
        return 0
    for entry in os.scandir(folder):
        with contextlib.suppress(FileNotFoundError):
            total += entry.stat().st_size
    return total


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Raises VideoError with the video for an OSError."""
    try:
        yield
    except FileNotFoundError:
        raise VideoError(f"{path}: no such file") from None
    except OSError as error:
        raise VideoError(f"{path}: {error.strerror or error}") from None


class Decoder:
    """Reads chosen frames of videos; keeps decoded videos in `cache` up to `budget` bytes.

    `cache` is the folder of one data set; the budget holds for it and its siblings together. A
    decoded video is a file of raw bytes whose name tells its shape, so that a frame is one read. What
    is returned never depends on the cache: it holds whole videos at their native size. Several
    processes may share a cache; files appear in it whole. verdicts: the file that remembers how each
    video must be decoded, and which ones hang or crash their decoder; they are not tried again.
    timeout: seconds for a video. places: where they are, if not on this machine.
    """

    def __init__(
        self,
        cache: Path | None = None,
        budget: float = 0,
        verdicts: Path | None = None,
        timeout: float = TIMEOUT,
        noise: Path | None = None,
        places: Places | None = None,
    ) -> None:
        self.cache = cache if budget > 0 else None
        self.budget = budget
        self.shapes: dict[str, tuple[int, int, int]] = {}
        self.keys: dict[Path, str] = {}
        self.rates: dict[Path, Fraction] = {}
        self.room = budget - self._survey() if self.cache else 0.0
        self.verdicts = Verdicts(verdicts)
        self.process = DecodingProcess(timeout, noise)
        self.places: Places = places or Here()

    def read(self, path: Path, pick: Pick) -> Frames:
        """(T, H, W, 3) bytes: the frames `pick` chooses. Raises VideoError."""
        if self.cache is not None and (shape := self.shapes.get(self._key(path))) is not None:
            kept = self._load(self._file(path, shape), shape, pick(shape[0]))
            if kept is not None:
                return kept
        video = self.open(path)
        indices = pick(video.length)
        # Weighed before it is decoded: an hour of video must not fill the disk.
        if self.cache is not None and video.nbytes <= self.room and self._keep(path, video):
            shape = (video.length, video.height, video.width)
            kept = self._load(self._file(path, shape), shape, indices)
            if kept is not None:
                return kept
        return self._gather(path, video, indices)

    def open(self, path: Path) -> Opened:
        """Opens a video, past the cache. Raises VideoError."""
        key = self._key(path)
        try:
            known = self._known(path, key)
            if known is not None and known.route == "bad":
                raise VideoError(f"{path}: {known.reason}")
            video = self.process.open(self._at_hand(path), known)
        except (Unreadable, Broken) as error:
            raise self._quarantined(path, error) from None
        self.verdicts.add(key, video.verdict)
        return video

    def stream(self, path: Path, video: Opened, unique: Indices) -> Iterator[Frames]:
        """(n, H, W, 3) bytes, n at a time so as to fill CHUNK_BYTES: sorted, unique frames of the video that
        was opened last, in one pass over it. Raises VideoError.
        """
        count = max(1, CHUNK_BYTES * video.length // video.nbytes)
        for start in range(0, len(unique), count):
            yield self._gather(path, video, unique[start : start + count])

    def probe(self, path: Path) -> tuple[int, int, int]:
        """Frames, height and width of a video. Raises VideoError."""
        video = self.open(path)
        return video.length, video.height, video.width

    def rate(self, path: Path) -> Fraction:
        """Mean frames a second of a video; opened once. Raises VideoError."""
        return self.rates.get(path) or self.rates.setdefault(path, self.open(path).fps)

    def examine(self, path: Path) -> Verdict:
        """How a video is decoded on this machine, from memory or by reading its packets."""
        try:
            key = self._key(path)
        except VideoError as error:
            return Verdict("bad", str(error).removeprefix(f"{path}: "))
        try:
            if (found := self._known(path, key)) is None:
                found = self.process.examine(self._at_hand(path))
                self.verdicts.add(key, found)
            if found.route == "decord" and not self.process.has_decord():
                return Verdict("pyav", NO_DECORD)  # not kept: other machines may read the same verdicts
        except Broken as error:
            return self._blamed(key, error)
        except VideoError as error:
            return Verdict("bad", str(error).removeprefix(f"{path}: "))
        return found

    def _known(self, path: Path, key: str) -> Verdict | None:
        """By its place, or else by its content, for which it is read once. Raises Broken."""
        if key not in self.verdicts.known:
            self.verdicts.recognise(key, self.process.content(self._at_hand(path)))
        return self.verdicts.known.get(key)

    def _blamed(self, key: str, error: Broken) -> Verdict:
        """The verdict on a file that broke its decoder, remembered for as long as the error says."""
        found = Verdict("bad", str(error))
        if error.remember != "never":
            self.verdicts.add(key, found, keep=error.remember == "always")
        return found

    def _quarantined(self, path: Path, error: Exception) -> VideoError:
        """What crashed its decoder is not tried a second time; what failed otherwise not by this run."""
        if isinstance(error, Broken):
            self._blamed(self._key(path), error)
        return VideoError(f"{path}: {error}")

    def _gather(self, path: Path, video: Opened, indices: Indices) -> Frames:
        unique, inverse = np.unique(indices, return_inverse=True)
        if unique[0] < 0 or unique[-1] >= video.length:
            raise IndexError(f"{path}: frame {unique[-1]} asked of {video.length}")
        try:
            return self.process.gather(video, unique)[inverse]
        except (Unreadable, Broken) as error:
            raise self._quarantined(path, error) from None

    def _keep(self, path: Path, video: Opened) -> bool:
        """Whether all frames of the open video are in the cache now."""
        file = self._file(path, (video.length, video.height, video.width))
        temporary = file.with_suffix(f".{os.getpid()}.{id(self)}.tmp")
        try:
            self.process.keep(temporary)
            os.replace(temporary, file)
        except (Unreadable, OSError) as error:
            temporary.unlink(missing_ok=True)
            if isinstance(error, OSError) or "cannot be kept" in str(error):
                log.warning("%s: cache of decoded frames is full: %s", file.parent, error)
                self.room = 0
                return False
            raise self._quarantined(path, error) from None
        except Broken as error:
            temporary.unlink(missing_ok=True)
            raise self._quarantined(path, error) from None
        self.room -= video.nbytes
        self.shapes[self._key(path)] = (video.length, video.height, video.width)
        return True

    def close(self) -> None:
        """Ends the decoding process; the next read starts another."""
        self.process.close()

    def lacks(self, path: Path) -> bool:
        """Whether there is a cache, and it does not hold this video."""
        with contextlib.suppress(VideoError):
            return self.cache is not None and self._key(path) not in self.shapes
        return False

    def make_room(self, needed: float) -> bool:
        """Whether `needed` more bytes fit, after deleting other data sets' frames, oldest first."""
        if self.cache is None or needed > self.budget:
            return False
        try:
            others = [folder for folder in self.cache.parent.iterdir() if folder != self.cache]
            for folder in sorted(others, key=lambda folder: folder.stat().st_mtime):
                if needed <= self.room:
                    break
                self.room += _size(folder)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError as error:  # another process makes room at the same time, or foreign files
            log.warning("%s: cannot make room for decoded frames: %s", self.cache.parent, error)
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
        if path not in self.keys:
            with _named(path):
                self.keys[path] = self.places.key_of(path)
        return self.keys[path]

    def _at_hand(self, path: Path) -> Path:
        with _named(path):
            return self.places.at_hand(path)

    def _file(self, path: Path, shape: tuple[int, ...]) -> Path:
        assert self.cache is not None
        return self.cache / f"{self._key(path)}.{shape[0]}x{shape[1]}x{shape[2]}.rgb"

    def _load(self, file: Path, shape: tuple[int, int, int], indices: Indices) -> Frames | None:
        frames = np.empty((len(indices), *shape[1:], 3), np.uint8)
        size = frames[0].nbytes
        try:
            with file.open("rb", buffering=0) as raw:
                if os.fstat(raw.fileno()).st_size != shape[0] * size:
                    raise OSError("cut short, or of something else")
                for row, index in enumerate(indices):
                    raw.seek(int(index) * size)
                    if raw.readinto(memoryview(frames[row]).cast("B")) != size:
                        raise OSError("cut short")
        except OSError:
            # Deleted by another run, or cut short by a full disk or a crash: decode again.
            with contextlib.suppress(OSError):
                file.unlink()
            return None
        return frames
