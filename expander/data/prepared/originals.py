"""Sources of prepared videos: files of this machine, or objects of a store, copied here one at a time."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from expander.data.store import remote
from expander.data.store.addresses import address_of, is_remote
from expander.data.store.kept import bring
from expander.errors import disk_faults
from expander.video.pictures import stamp
from expander.video.tar_members import span_of
from expander.video.writing.film import digest_of

DRAFT = ".draft"
"""What names of files have that are being written."""
SECOND = 10**9
State = tuple[int, int]
"""Bytes of a source, and when its content changed, in ns."""
Look = Callable[[Path], State]
"""Of a source. Raises OSError, FileNotFoundError for one that is not there, EnvironmentFault."""


def state_of(path: Path) -> State:
    """See Look; asked for anew."""
    return _state(path, remote.entry)


def _state(path: Path, entry: Callable[[str], remote.Entry]) -> State:
    span = span_of(path)
    address = address_of(path if span is None else span.tar)
    if address is None:
        found = stamp(path)
        return found.size, found.changed
    there = entry(address)
    # Some stores tell parts of a second in a list, and not of a single object.
    return there.size if span is None else span.size, there.changed // SECOND * SECOND


class Listed:
    """Sources as they were when their folder was first asked for: of a store's folder all together."""

    def __init__(self) -> None:
        self.folders: dict[str, dict[str, remote.Entry]] = {}
        self.lock = threading.Lock()

    def state_of(self, path: Path) -> State:
        """See Look."""
        return _state(path, self._entry)

    def _entry(self, address: str) -> remote.Entry:
        if address.startswith("http"):  # a web server lists no folders
            return remote.entry(address)
        folder, _, name = address.rpartition("/")
        with self.lock:
            if folder not in self.folders:
                try:
                    self.folders[folder] = {one.name: one for one in remote.entries(folder)}
                except FileNotFoundError:
                    self.folders[folder] = {}
        if name not in self.folders[folder]:
            raise FileNotFoundError(address)
        return self.folders[folder][name]


@contextlib.contextmanager
def at_hand(path: Path, folder: Path) -> Iterator[Path]:
    """A source as a file of this machine: a copy in `folder`, for as long as it is needed, of what lies in a
    store. Raises as Look.
    """
    if not is_remote(path):
        yield path
        return
    # Decoders look at the ending too.
    ending = "" if span_of(path) else path.suffix
    copy = folder / f".{uuid.uuid4().hex}{DRAFT}{ending}"
    try:
        with disk_faults(copy, "made"):
            out = copy.open("wb")
        with out:
            bring(path, out)
        yield copy
    finally:
        copy.unlink(missing_ok=True)


def content_of(path: Path) -> str:
    """SHA-256 of a source. Raises OSError or Unreadable, EnvironmentFault."""
    if not is_remote(path):
        return digest_of(path)
    with tempfile.TemporaryFile() as copy:
        bring(path, copy)
        copy.seek(0)
        return hashlib.file_digest(copy, "sha256").hexdigest()
