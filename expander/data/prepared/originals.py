"""Sources of prepared videos: files of this machine, or objects of a store, copied here one at a time."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

from expander.data.store import remote
from expander.data.store.addresses import address_of, is_remote
from expander.data.store.kept import bring
from expander.errors import disk_faults
from expander.runs.threads import in_order
from expander.video.pictures import stamp
from expander.video.tar_members import span_of
from expander.video.writing.film import digest_of

DRAFT = ".draft"
"""What names of files have that are being written."""
SECOND = 10**9
AT_ONCE = 16
"""Sources of a store whose sizes are asked for together: an answer comes after a while."""
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
        self.folders: dict[str, Future[dict[str, remote.Entry]]] = {}
        self.lock = threading.Lock()

    def state_of(self, path: Path) -> State:
        """See Look."""
        return _state(path, self._entry)

    def _entry(self, address: str) -> remote.Entry:
        if address.startswith("http"):  # a web server lists no folders
            return remote.entry(address)
        folder, _, name = address.rpartition("/")
        with self.lock:
            first = folder not in self.folders
            found = self.folders.setdefault(folder, Future())
        if first:  # the others wait for its answer, and a store that stays away is told to all at once
            try:
                found.set_result({one.name: one for one in remote.entries(folder)})
            except FileNotFoundError:
                found.set_result({})
            except BaseException as error:
                found.set_exception(error)
        if name not in found.result():
            raise FileNotFoundError(address)
        return found.result()[name]


def sizes_of(paths: Sequence[Path], look: Look) -> list[int]:
    """Bytes of files, or of the pictures in folders; none of what is not there. Raises EnvironmentFault."""

    def one(path: Path) -> int:
        try:
            return look(path)[0]
        except OSError:
            return 0

    if not any(map(is_remote, paths)):
        return list(map(one, paths))
    return list(in_order(one, paths, AT_ONCE))


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


def content_of(path: Path, folder: Path) -> str:
    """SHA-256 of a source; folder: for a copy of what lies in a store. Raises OSError or Unreadable,
    EnvironmentFault.
    """
    with at_hand(path, folder) as file:
        return digest_of(file)
