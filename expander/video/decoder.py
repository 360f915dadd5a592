"""Frames of a video: decoded in a process of its own, behind a cache of decoded frames.

Indices go to the decoder sorted and unique (several times faster) and are gathered after.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np

from expander.errors import DataError
from expander.video.frame_cache import FrameCache
from expander.video.probe import NO_DECORD, Opened, Verdict
from expander.video.readers import Frames, Unreadable
from expander.video.sampling import Indices
from expander.video.verdict_cache import Verdicts, key_of
from expander.video.worker import Broken, DecodingProcess

log = logging.getLogger(__name__)
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

    `cache` is the folder of one data set; the budget holds for it and its siblings together. What is
    returned never depends on the cache: it holds whole videos at their native size. verdicts: the file that
    remembers how each video must be decoded, and which ones hang or crash their decoder; they are not tried
    again.
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
        self.cache = FrameCache(cache, budget) if cache is not None and budget > 0 else None
        self.keys: dict[Path, str] = {}
        self.rates: dict[Path, Fraction] = {}
        self.verdicts = Verdicts(verdicts)
        self.process = DecodingProcess(timeout, noise)
        self.places: Places = places or Here()

    def read(self, path: Path, pick: Pick) -> Frames:
        """(T, H, W, 3) bytes: the frames `pick` chooses. Raises VideoError."""
        if self.cache is not None and (kept := self.cache.load(self._key(path), pick)) is not None:
            return kept
        video = self.open(path)
        if self.cache is not None and self._keep(self.cache, path, video):
            kept = self.cache.load(self._key(path), pick)
            if kept is not None:
                return kept
        indices = pick(video.length)
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

    def _keep(self, cache: FrameCache, path: Path, video: Opened) -> bool:
        """Whether all frames of the open video are in the cache now."""
        shape = video.length, video.height, video.width
        try:
            return cache.keep(self._key(path), shape, self.process.keep)
        except (Unreadable, Broken) as error:
            if isinstance(error, Unreadable) and "cannot be kept" in str(error):
                cache.fill_up(error)
                return False
            raise self._quarantined(path, error) from None

    def close(self) -> None:
        """Ends the decoding process, and lets go of the cache; the next read begins anew."""
        self.process.close()
        if self.cache is not None:
            self.cache.release()

    def lacks(self, path: Path) -> bool:
        """Whether there is a cache, and it does not hold this video."""
        with contextlib.suppress(VideoError):
            return self.cache is not None and self.cache.lacks(self._key(path))
        return False

    def make_room(self, needed: float) -> bool:
        """Whether `needed` more bytes fit into the cache; see FrameCache."""
        return self.cache is not None and self.cache.make_room(needed)

    def _key(self, path: Path) -> str:
        if path not in self.keys:
            with _named(path):
                self.keys[path] = self.places.key_of(path)
        return self.keys[path]

    def _at_hand(self, path: Path) -> Path:
        with _named(path):
            return self.places.at_hand(path)
