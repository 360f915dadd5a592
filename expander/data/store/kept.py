"""A cache of a store's objects on this machine: files that appear whole, up to a limit, for many processes.

An object is taken for what it was when it was first read. Only lists are read anew when a run begins.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from expander.data.store import remote
from expander.data.store.addresses import address_of, is_remote
from expander.errors import disk_faults
from expander.video.tar_members import BLOCK, Span, check_header, span_of
from expander.video.verdict_cache import key_of

OLD = 3600
"""Seconds after which a file that is not whole was left by a process that was killed."""
IN_USE = 60
"""Seconds for which a file that was asked for is not deleted."""
LOW = 0.9
"""What is left of the limit when something is deleted, so that it is not done for every file."""


@dataclass
class Kept:
    """limit: bytes. added: by this process since it last looked how much there is."""

    folder: Path
    limit: float
    added: float = field(default=float("inf"))

    def at_hand(self, path: Path) -> Path:
        """A file of this machine with the bytes of `path`, which may be a member of a tar.

        Raises FileNotFoundError, OSError for a tar that has changed, EnvironmentFault for a store or a disk.
        """
        span = span_of(path)
        if not is_remote(path if span is None else span.tar):
            return path
        file = self._file(path)
        with contextlib.suppress(FileNotFoundError):
            os.utime(file)
            return file
        with draft(file) as out:
            bring(path, out)
            with disk_faults(self.folder):
                size = out.tell()
                os.replace(out.name, file)
        self._grown(size)
        return file

    def key_of(self, path: Path) -> str:
        """Of a video: in a store its address, which costs no question. Raises OSError."""
        return hashlib.sha256(os.fspath(path).encode()).hexdigest()[:32] if is_remote(path) else key_of(path)

    def _file(self, path: Path) -> Path:
        name = hashlib.sha256(os.fspath(path).encode()).hexdigest()
        return self.folder / name[:2] / f"{name[2:34]}{'' if span_of(path) else path.suffix[:8]}"

    def _grown(self, size: int) -> None:
        self.added += size
        if self.added > (1 - LOW) / 4 * self.limit:
            self.added = 0.0
            self.make_room()

    def make_room(self) -> None:
        """Deletes what was asked for longest ago, where there is more than the limit."""
        with contextlib.suppress(OSError), (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # another process does it otherwise
            now, found = time.time(), []
            for file in self.folder.glob("*/*"):
                with contextlib.suppress(FileNotFoundError):
                    state = file.stat()
                    found.append((state.st_mtime, state.st_size, file))
            total = sum(size for _, size, _ in found)
            enough = LOW * self.limit if total > self.limit else self.limit
            for used, size, file in sorted(found):
                whole = not file.name.startswith(".")
                if now - used > OLD if not whole else total > enough and now - used > IN_USE:
                    file.unlink(missing_ok=True)
                    total -= size


@contextlib.contextmanager
def draft(file: Path) -> Iterator[IO[bytes]]:
    """A file beside another, deleted unless it gets another name."""
    with disk_faults(file.parent):
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=".")
        os.close(descriptor)
    try:
        with open(name, "wb") as out:
            yield out
    finally:
        Path(name).unlink(missing_ok=True)


def bring(path: Path, out: IO[bytes]) -> None:
    """Writes what lies at a path in a store, an object or a member of a tar, into a new file. Raises as
    `Kept.at_hand`.
    """
    span = span_of(path)
    content = b"" if span is None else _member(span)
    if span is None:
        remote.copy(address_of(path) or "", out)
    with disk_faults(out.name):
        out.write(content)
        out.flush()


def _member(span: Span) -> bytes:
    """The bytes of a member; with them comes its header, which tells whether the tar is what it was."""
    found = remote.part(address_of(span.tar) or "", span.offset - BLOCK, BLOCK + span.size)
    check_header(found[:BLOCK], span, len(found) - BLOCK)
    return found[BLOCK:]
