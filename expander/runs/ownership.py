"""Whose a run folder is: made and locked in one go before anything else, and whole in itself.

Two commands with one name: the first owns the folder, the later one is refused and changes nothing.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from expander.config.storage import mounted
from expander.errors import EnvironmentFault, UsageError

BEGUN = ("journal.jsonl", "training.json")
"""What a search and a training begin with; a folder without either was not begun."""

STORE_OWNER = "store-owner"
"""What names a run in a store where its trials are kept."""

LEFTOVERS = ("lock", "journal.jsonl", "config.yaml", "provenance.json", STORE_OWNER, "specs", "trials")
"""What a search that was killed before its first event may leave."""


class Lock:
    """An exclusive lock on a file that holds the owner's process id; gone with its process.

    what: is in use, as a refusal names it (none: the folder that the file is in).
    """

    def __init__(self, path: Path, what: Path | None = None) -> None:
        self.path, self.what = path, what or path.parent

    def __enter__(self) -> Lock:
        self.file = _opened(self.path)
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self.file, 20, 0).decode(errors="replace").strip()
            os.close(self.file)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise EnvironmentFault(f"{self.path}: cannot be locked: {error.strerror}") from None
            who = holder if holder.isdigit() else "unknown"
            raise EnvironmentFault(f"{self.what}: in use by process {who}; wait or stop it") from None
        try:
            os.ftruncate(self.file, 0)
            os.pwrite(self.file, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            os.close(self.file)
            raise EnvironmentFault(f"{self.path}: cannot be written: {error.strerror}") from None
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.file)

    def give_up(self) -> None:
        """Ends it and deletes its file, which nobody else has had meanwhile."""
        with contextlib.suppress(OSError):
            self.path.unlink()
        os.close(self.file)

    @property
    def stands(self) -> bool:
        """Whether the file that is locked is still the one of that name."""
        with contextlib.suppress(OSError):
            return os.path.samestat(os.fstat(self.file), os.stat(self.path))
        return False


def _opened(path: Path) -> int:
    """A descriptor of the lock file. Raises EnvironmentFault."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError as error:
        reason = "it is a link; delete it" if error.errno == errno.ELOOP else error.strerror
        raise EnvironmentFault(f"{path}: cannot be opened: {reason}") from None
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise EnvironmentFault(f"{path}: cannot be opened: it is no regular file; delete it")
    return file


def owned(folder: Path, storage: str | None = None) -> Lock:
    """The lock of a folder that there is, for the time of a `with`.

    Raises EnvironmentFault naming the process that has it, and for a link that leaves the folder, but for
    `trials` to where `storage` has them.
    """
    refuse_links(folder, storage)
    return Lock(folder / "lock")


def taken(file: Path) -> Lock:
    """The lock of a file that is written line by line, made with its folder; the caller gives it up.

    Raises EnvironmentFault naming the process that has it.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentFault(f"{file}: cannot be written: {error.strerror}") from None
    while True:
        lock = Lock(file.with_name(f".{file.name}.lock"), file).__enter__()
        if lock.stands:
            return lock
        os.close(lock.file)  # its owner gave it up in between


@contextlib.contextmanager
def claimed(folder: Path, storage: str | None = None) -> Iterator[None]:
    """Makes a folder for a run and locks it. One whose owner was killed before it began is taken over.

    When nothing was begun in it either, it is gone afterwards. Raises UsageError where there is something,
    EnvironmentFault where another process has the folder or it cannot be made.
    """
    parent_stood = folder.parent.exists()
    fresh = _make(folder)
    if not fresh and not (folder / "lock").exists():
        _refuse(folder)
    with Lock(folder / "lock") as lock:
        if not lock.stands:  # its owner gave it up in between
            raise EnvironmentFault(f"{folder}: was just given up by another process; try again")
        if begun(folder) or _strange(folder):
            _refuse(folder)
        refuse_links(folder, storage)
        try:
            yield
        finally:
            if not begun(folder) and not _strange(folder):
                _give_up(folder)
                if not parent_stood:
                    with contextlib.suppress(OSError):  # others may have runs there by now
                        folder.parent.rmdir()


def _make(folder: Path) -> bool:
    """Whether the folder is new. Raises UsageError, EnvironmentFault."""
    fresh = False
    try:
        with contextlib.suppress(FileExistsError):
            _mkdir(folder)
            fresh = True
    except OSError as error:
        raise EnvironmentFault(f"{folder}: cannot be made: {error.strerror}") from None
    if folder.is_symlink() or not folder.is_dir():
        raise UsageError(f"{folder} exists and is no folder; choose another --run")
    if not os.access(folder, os.W_OK):
        raise EnvironmentFault(f"{folder}: is not writable")
    return fresh


def _mkdir(folder: Path) -> None:
    """Makes a new folder, though others may make or delete the one it lies in. Raises OSError."""
    for _ in range(10):
        with contextlib.suppress(FileNotFoundError):
            folder.mkdir(parents=True)
            return
    folder.mkdir(parents=True)


def begun(folder: Path) -> bool:
    """Whether a run was begun in a folder: its first event is whole, or its training is written down."""
    journal, training = (folder / name for name in BEGUN)
    if training.exists():
        return True
    try:
        with journal.open("rb") as file:
            return b"\n" in file.readline()
    except FileNotFoundError:
        return False
    except OSError:
        return True  # not ours to judge


def _refuse(folder: Path) -> NoReturn:
    """Raises UsageError that says what the folder holds."""
    if any((folder / name).exists() for name in BEGUN):
        raise UsageError(f"{folder} exists; go on with --resume, or choose another --run")
    raise UsageError(f"{folder} exists and holds no run; delete it, or choose another --run")


def _strange(folder: Path) -> list[str]:
    """What no search leaves that is killed before its first event."""
    with contextlib.suppress(FileNotFoundError):
        return [name for name in os.listdir(folder) if not _left_over(folder / name)]
    return []


def _left_over(path: Path) -> bool:
    """Whether this is of a search that was killed before its first event."""
    name = path.name
    if name.startswith(tuple(f".{each}." for each in (*LEFTOVERS, *BEGUN))):
        return True
    if name in ("specs", "trials") and not path.is_symlink():
        return path.is_dir() and not any(path.iterdir())
    return name in LEFTOVERS


def _give_up(folder: Path) -> None:
    """Deletes a folder in which nothing was begun, with what is left over in it."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if path.name != "lock":
                path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        (folder / "lock").unlink()
        folder.rmdir()


def refuse_links(folder: Path, storage: str | None = None) -> None:
    """Raises EnvironmentFault for a link in a run folder that leaves it, but for `trials` into `storage`."""
    home, storage = os.path.realpath(folder), mounted(storage)
    allowed = os.path.join(os.path.realpath(storage), os.path.basename(home), "trials") if storage else None
    places = [home]
    while places:
        try:
            entries = list(os.scandir(places.pop()))
        except OSError:  # told by whoever needs it
            continue
        for entry in entries:
            if entry.is_symlink():
                _check_link(entry.path, home, allowed)
            elif entry.is_dir():
                places.append(entry.path)


def _check_link(path: str, home: str, allowed: str | None) -> None:
    target = os.path.realpath(path)
    inside = os.path.commonpath([home, target]) == home
    if not inside and not (target == allowed and path == os.path.join(home, "trials")):
        raise EnvironmentFault(f"{path}: is a link that leaves the run folder, to {target}; replace it by "
                               "what it points to")  # fmt: skip
