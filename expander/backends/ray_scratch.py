"""Folders that end with their owner: of a private Ray in /tmp, and what is left of those that were killed.

A Ray's lies in /tmp/expander-ray-<pid>-*: paths of Unix sockets are limited to 107 bytes, so not below a
TMPDIR that may be long. Its owner holds a lock in it, which ends with the process, in whatever way.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from pathlib import Path

from expander.backends.processes import kill
from expander.runs.machine import PROC, Process, alive, running

PREFIX = "expander-ray-"
PLACE = Path("/tmp")
OWNER = "owner"
"""The file that is locked."""


class Scratch:
    """A folder that is deleted by its owner, or by the next one. Raises OSError."""

    def __init__(self, place: Path = PLACE, prefix: str = PREFIX) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-", dir=place))
        draft = self.folder / f".{OWNER}"
        self.lock = draft.open("w")
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        draft.rename(self.folder / OWNER)  # under its name it is locked: else one that sweeps could take it

    def delete(self) -> None:
        """Takes the folder away."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.lock.close()


def sweep(place: Path = PLACE, prefix: str = PREFIX) -> None:
    """Ends the processes and deletes the folders of owners that were killed."""
    for folder in place.glob(f"{prefix}*-*"):
        with contextlib.suppress(OSError):  # deleted by another one that sweeps
            if _abandoned(folder, prefix):
                kill(users(folder))
                shutil.rmtree(folder, ignore_errors=True)


def _abandoned(folder: Path, prefix: str) -> bool:
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        return False  # somebody else's
    try:
        with (folder / OWNER).open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except FileNotFoundError:  # about to be made, or half deleted
        pid = folder.name.removeprefix(prefix).split("-")[0]
        return pid.isdigit() and not alive(int(pid))
    return True


def users(folder: Path) -> tuple[Process, ...]:
    """The processes that were started with a path in a folder, or have a file in it open; by /proc."""
    if not (PROC / "self").exists():
        return ()
    others = (process for process in running().values() if process.pid != os.getpid())
    return tuple(process for process in others if _uses(process.pid, f"{folder}{os.sep}"))


def _uses(pid: int, start: str) -> bool:
    try:
        if start.encode() in (PROC / str(pid) / "cmdline").read_bytes():
            return True
        opened = [entry.path for entry in os.scandir(PROC / str(pid) / "fd")]
    except OSError:  # it has ended, or is another user's
        return False
    for path in opened:
        with contextlib.suppress(OSError):
            if os.readlink(path).startswith(start):
                return True
    return False
