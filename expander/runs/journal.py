"""The run folder on disk: an append-only journal, a lock, atomic files.

An event is durable once `append` returns (write, flush, fsync). A line that was being written when
the process died is cut off, with a warning, before the next append; any other damage is an error
that names its line.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from expander.errors import DataError, EnvironmentFault
from expander.runs.events import SCHEMA, Event, from_json, to_json

log = logging.getLogger(__name__)

STOP = "stop"
"""A file of this name among a run's trials asks them to write a checkpoint and stop."""


def write_atomic(path: Path, content: bytes) -> None:
    """`content` under `path`, whole or not at all. Raises EnvironmentFault naming the path."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise EnvironmentFault(f"{path}: cannot be written: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            mask = os.umask(0)
            os.umask(mask)
            os.fchmod(file.fileno(), 0o666 & ~mask)
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        os.unlink(temporary)
        raise EnvironmentFault(f"{path}: cannot be written: {error.strerror}") from None


class Run:
    """A run folder. Reading needs no lock; `locked` is for the one process that appends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal = folder / "journal.jsonl"
        self.begun = False  # whether this process has written to it

    def exists(self) -> bool:
        """Whether a search was started here."""
        return self.journal.exists()

    def create(self, storage: str | None = None) -> None:
        """Makes the folder; `trials` in it is a link to one in `storage`, where that is given.

        Raises EnvironmentFault when it cannot be written.
        """
        trials = self.folder / "trials"
        try:
            (self.folder / "specs").mkdir(parents=True, exist_ok=True)
            if storage is None:
                trials.mkdir(exist_ok=True)
            elif not trials.is_symlink():
                elsewhere = Path(storage).resolve() / self.folder.name / "trials"
                elsewhere.mkdir(parents=True)
                trials.symlink_to(elsewhere)
        except OSError as error:
            place = self.folder if storage is None else error.filename
            raise EnvironmentFault(f"{place}: cannot be made: {error.strerror}") from None
        if not os.access(self.folder, os.W_OK):
            raise EnvironmentFault(f"{self.folder}: is not writable")

    def locked(self) -> Lock:
        """A context in which no other process appends. Raises EnvironmentFault naming the holder."""
        return Lock(self.folder / "lock")

    def append(self, event: Event) -> None:
        """One more event, durable on return. Raises EnvironmentFault when the disk refuses."""
        head = {"schema": SCHEMA, "time": datetime.now(UTC).isoformat(timespec="milliseconds")}
        line = json.dumps(head)[:-1] + "," + to_json(event)[1:] + "\n"
        try:
            # A folder that has vanished must not come back with half a journal.
            fresh = 0 if self.begun else os.O_CREAT
            with open(os.open(self.journal, os.O_WRONLY | os.O_APPEND | fresh, 0o666), "ab") as file:
                self.begun = True
                file.write(line.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise EnvironmentFault(f"{self.journal}: cannot be written: {error.strerror}") from None

    def events(self) -> list[Event]:
        """Every event so far, a torn last line left out. Raises DataError naming a bad line."""
        return [event for event, _ in self._read()]

    def times(self) -> list[tuple[Event, datetime]]:
        """Every event with its time of writing (UTC)."""
        return list(self._read())

    def cut_torn_line(self) -> None:
        """Removes a last line that was never finished. The caller holds the lock."""
        content = self._bytes()
        keep = content.rfind(b"\n") + 1
        if keep < len(content):
            log.warning("%s: cut an unfinished last line of %d bytes", self.journal, len(content) - keep)
            os.truncate(self.journal, keep)

    def _bytes(self) -> bytes:
        try:
            return self.journal.read_bytes()
        except OSError as error:
            raise DataError(f"{self.journal}: cannot be read: {error.strerror}") from None

    def _read(self) -> Iterator[tuple[Event, datetime]]:
        lines = self._bytes().split(b"\n")
        for number, line in enumerate(lines[:-1], 1):
            yield self._parse(line, number)

    def _parse(self, line: bytes, number: int) -> tuple[Event, datetime]:
        place = f"{self.journal}:{number}"
        try:
            data = json.loads(line)
            schema, time = data.pop("schema"), datetime.fromisoformat(data.pop("time"))
            if schema > SCHEMA:
                raise DataError(f"{place}: written by a newer expander (schema {schema}); update it")
            return from_json(Event, json.dumps(data)), time
        except ValidationError as error:
            fault = error.errors()[0]
            raise DataError(f"{place}: not an event: {fault['loc']}: {fault['msg']}") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise DataError(f"{place}: not an event; restore the journal from a copy") from None


class Lock:
    """An exclusive lock on a file that holds the owner's process id; gone with its process."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Lock:
        try:
            self.file = self.path.open("a+")
        except OSError as error:
            raise EnvironmentFault(f"{self.path}: cannot be opened: {error.strerror}") from None
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.file.seek(0)
            holder = self.file.read().strip() or "unknown"
            self.file.close()
            folder = self.path.parent
            raise EnvironmentFault(f"{folder}: in use by process {holder}; wait or stop it") from None
        self.file.seek(0)
        self.file.truncate()
        self.file.write(f"{os.getpid()}\n")
        self.file.flush()
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
