"""Whole objects of a store: written, read, deleted, and a folder of this machine with its copy there.

An object appears whole or not at all. Waits for a store that is away as reading does (`patience.patiently`).
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

from expander.data.store import remote
from expander.data.store.patience import patiently
from expander.data.store.remote import Entry
from expander.errors import EnvironmentFault, ExpanderError, UsageError, disk_faults
from expander.runs.journal import write_atomic
from expander.runs.names import is_plain

Wanted = Callable[[str], bool]
"""Asked of a path below a folder, such as `checkpoints/step-00000012.pt`."""
CHECKPOINTS = "checkpoints/"
OWNER, CHECK = "owner-", "check"
"""What a run leaves in a folder that it has taken, with its token; and what tells whether it may delete."""


def put(address: str, content: bytes) -> None:
    """Writes an object, or another in its place. Raises EnvironmentFault."""

    def ask() -> None:
        try:
            with remote.file_system(address).open_output_stream(remote.place_of(address)) as out:
                out.write(content)
        except OSError as error:
            if "NO_SUCH_BUCKET" in str(error):  # waiting does not make it
                raise FileNotFoundError from None
            raise

    try:
        patiently(address, ask, whole=True)
    except FileNotFoundError:
        raise EnvironmentFault(f"{address}: the store has no such bucket; make it first") from None


def content(address: str) -> bytes:
    """All of an object. Raises as `patiently`."""

    def ask() -> bytes:
        store, place = remote.file_system(address), remote.place_of(address)
        try:
            with store.open_input_stream(place) as source:
                return bytes(source.read())
        except FileNotFoundError:
            raise
        except OSError:  # as the library says it of one that is deleted between its size and its bytes
            (found,) = store.get_file_info([place])
            if found.type.name == "NotFound":
                raise FileNotFoundError(address) from None
            raise

    return patiently(address, ask, whole=True)


def exists(address: str) -> bool:
    """Whether there is such an object. Raises EnvironmentFault."""
    try:
        remote.entry(address)
    except FileNotFoundError:
        return False
    return True


def delete(address: str, folder: bool = False) -> None:
    """Deletes an object, or a folder with all in it, if it is there. Raises EnvironmentFault."""

    def ask() -> None:
        store = remote.file_system(address)
        (store.delete_dir if folder else store.delete_file)(remote.place_of(address))

    with contextlib.suppress(FileNotFoundError):
        patiently(address, ask, whole=True)


def below(address: str) -> dict[str, Entry]:
    """The objects below a folder by their paths in it; none where there are none. Raises EnvironmentFault."""

    def ask() -> dict[str, Entry]:
        from pyarrow.fs import FileSelector

        home = remote.place_of(address)
        wanted = FileSelector(home, recursive=True, allow_not_found=True)
        found = remote.file_system(address).get_file_info(wanted)
        return {one.path.removeprefix(home).lstrip("/"): remote.entry_of(one)
                for one in found if one.type.name == "File"}  # fmt: skip

    return patiently(address, ask, whole=True)


def claim(address: str, token: str, owner: str) -> None:
    """Takes a folder for the files of a run. token: its own, for an object there; owner: what is in it.

    Of several at one moment at most one gets it: each leaves its object first, and then looks whose there
    are. Who was killed after that has the folder again. Raises UsageError where something lies there,
    EnvironmentFault for a store that cannot be written, listed, read and cleared.
    """
    ours = {OWNER + token, CHECK}
    if below(address).keys() - ours:
        raise UsageError(f"{address}: there are files of a run already; choose another --run, or delete them")
    try:
        for name in (OWNER + token, CHECK):
            put(f"{address}/{name}", owner.encode())
        content(f"{address}/{OWNER}{token}")
        delete(f"{address}/{CHECK}")
        others = below(address).keys() - ours
    except (KeyboardInterrupt, SystemExit):
        release(address, token)
        raise
    if others:
        release(address, token)
        raise UsageError(f"{address}: another run began there at the same moment; choose another --run")


def release(address: str, token: str) -> None:
    """Gives up a folder that was taken, as far as the store lets it."""
    with contextlib.suppress(ExpanderError):
        for name in (CHECK, OWNER + token):
            delete(f"{address}/{name}")


class Copy:
    """A folder of this machine and its copy in a store: what is new goes there, or comes from there.

    Of its names only plain ones count: those of drafts begin with a point. Safe for several threads.
    """

    def __init__(self, folder: Path, address: str) -> None:
        self.folder, self.address = folder, address
        self.here: dict[str, tuple[int, int]] = {}  # of files that are in the store, as they were then
        self.there: dict[str, tuple[int, int]] = {}
        self.lock = threading.Lock()

    def fetch(self, wanted: Wanted) -> None:
        """Brings what is new or has changed in the store. Raises EnvironmentFault."""
        with self.lock:
            for name, entry in below(self.address).items():
                state = entry.size, entry.changed
                if not (_plain(name) and wanted(name)) or self.there.get(name) == state:
                    continue
                with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                    write_atomic(self.folder / name, content(f"{self.address}/{name}"))
                    self.there[name], self.here[name] = state, _state(self.folder / name)

    def push(self, wanted: Wanted = lambda _: True, clear: bool = True) -> None:
        """Writes what is new or has changed here, then deletes what is gone here, if `clear`. Raises
        EnvironmentFault.

        A checkpoint comes after what belongs to it, and its manifest after it: a kill anywhere leaves one to
        go on from.
        """
        with self.lock, disk_faults(self.folder, "copied"):
            names = (file.relative_to(self.folder).as_posix() for file in self.folder.rglob("*")
                     if file.is_file())  # fmt: skip
            found = {name: _state(self.folder / name) for name in names if _plain(name)}
            for name in sorted(filter(wanted, found), key=_rank):
                if self.here.get(name) != found[name]:
                    put(f"{self.address}/{name}", (self.folder / name).read_bytes())
                    self.here[name] = found[name]
            gone = self.here.keys() - found.keys() if clear else ()
            for name in sorted(filter(wanted, gone), key=_rank, reverse=True):
                delete(f"{self.address}/{name}")
                del self.here[name]


def _plain(name: str) -> bool:
    return all(map(is_plain, name.split("/")))


def _rank(name: str) -> tuple[bool, bool, str]:
    return name.startswith(CHECKPOINTS), name.endswith(".json"), name


def _state(file: Path) -> tuple[int, int]:
    found = os.stat(file)
    return found.st_size, found.st_mtime_ns
