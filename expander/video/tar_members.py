"""A video that is a member of a tar, named by its place: `train-000000.tar/KEY.mp4@1536+48211`.

Such a path needs no index: after the last @ it says where the bytes of the video begin in the tar, and how
many they are. Whoever knows it opens any video of a tar of any size with one jump.
"""

from __future__ import annotations

import errno
import io
import os
import re
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

BLOCK = tarfile.BLOCKSIZE
MEMBER = re.compile(r"(?s)(.*\.tar)/(.+)@(\d{1,18})\+(\d{1,18})")
LARGE = 8**11
"""Bytes that the header of a plain tar cannot count any more: another header before it does."""
CHUNK = 1 << 20
DESCRIPTORS = Path("/proc/self/fd")


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes of a video: so many of a tar, from `offset` on. name: of the member, without its place."""

    tar: Path
    name: str
    offset: int
    size: int


def span_of(path: str | os.PathLike[str]) -> Span | None:
    """Where the bytes of a member lie; none for what is no path of a member."""
    text = os.fspath(path)
    # Most paths are of files: their last letter says so at once.
    found = MEMBER.fullmatch(text) if text[-1:].isdigit() else None
    return found and Span(Path(found[1]), found[2], int(found[3]), int(found[4]))


def file_of(path: Path) -> tuple[object, ...] | None:
    """What is another once the file of a video is, or the tar it is in; none where that is not known."""
    span = span_of(path)
    try:
        own = os.stat(path if span is None else span.tar)
    except OSError:
        return None
    return path, own.st_ino, own.st_size, own.st_mtime_ns, own.st_ctime_ns


def tar_and_size(name: str) -> tuple[str, int] | None:
    """Of a member, without more than a list of a million needs."""
    found = MEMBER.fullmatch(name) if name[-1:].isdigit() else None
    return found and (found[1], int(found[4]))


def member(tar: str, name: str, offset: int, size: int) -> str:
    """The path of a member; the inverse of `span_of`."""
    return f"{tar}/{name}@{offset}+{size}"


def open_video(path: Path) -> io.BufferedReader:
    """The bytes of a file or of a member. Raises OSError; also where the tar is not what it was."""
    span = span_of(path)
    if span is None:
        return path.open("rb")
    file = span.tar.open("rb", buffering=0)
    try:
        there = file.seek(0, os.SEEK_END) - span.offset
        file.seek(max(0, span.offset - BLOCK))
        check_header(file.read(BLOCK), span, there)
        return io.BufferedReader(_Part(file, span), 1 << 16)
    except BaseException:
        file.close()
        raise


def check_header(block: bytes, span: Span, there: int) -> None:
    """Raises OSError unless the block before a member is the header of one of its size, and `there` bytes are
    enough.
    """
    try:
        found = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        same = found.size == span.size or span.size >= LARGE
    except tarfile.HeaderError:
        same = False
    if not same or span.offset < BLOCK or there < span.size:
        raise OSError(errno.ESTALE, f"{span.tar.name} is another than when its videos were listed")


class Placed(io.RawIOBase):
    """Bytes that are read by place and count, as a file that can be sought in.

    at(place, room): fills the beginning of `room` with the bytes from `place` on; how many there were.
    """

    def __init__(self, size: int, at: Callable[[int, memoryview], int]) -> None:
        self.size, self.at, self.place = size, at, 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """See io.IOBase."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self.place, os.SEEK_END: self.size}[whence]
        self.place = max(0, start + offset)
        return self.place

    def readinto(self, room: bytearray | memoryview, /) -> int:  # type: ignore[override]
        """See io.RawIOBase."""
        count = max(0, min(len(room), self.size - self.place))
        done = self.at(self.place, memoryview(room)[:count]) if count else 0
        self.place += done
        return done


class _Part(Placed):
    """The bytes of a span, as a file of their own, which closes the one they are in."""

    def __init__(self, file: io.FileIO, span: Span) -> None:
        super().__init__(span.size, self._at)
        self.file, self.span = file, span

    def _at(self, place: int, room: memoryview) -> int:
        self.file.seek(self.span.offset + place)
        return self.file.readinto(room) or 0

    def close(self) -> None:
        self.file.close()
        super().close()


class Unheld(Exception):
    """A video cannot be taken out of its tar now; the message is the reason."""


class Held:
    """One video at a time at hand as a file that any library can open."""

    def __init__(self) -> None:
        self.copy: IO[bytes] | None = None

    def file(self, name: str) -> Path:
        """Of a member, a copy of its bytes, which is gone with the next one, or with this process.

        Raises Unheld.
        """
        if self.copy is not None:
            self.copy.close()
            self.copy = None
        path = Path(name)
        if span_of(path) is None:
            return path
        # A file without a name leaves nothing behind when a process is killed.
        nameless = DESCRIPTORS.is_dir()
        try:
            self.copy = _new(nameless)
            with open_video(path) as video:
                while chunk := video.read(CHUNK):
                    self.copy.write(chunk)
            self.copy.flush()
        except OSError as error:
            raise Unheld(f"cannot be taken out of its tar: {error.strerror or error}") from None
        return DESCRIPTORS / str(self.copy.fileno()) if nameless else Path(self.copy.name)


def _new(nameless: bool) -> IO[bytes]:
    if nameless:
        return tempfile.TemporaryFile()
    return cast("IO[bytes]", tempfile.NamedTemporaryFile(prefix="expander-"))
