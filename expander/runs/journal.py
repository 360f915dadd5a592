"""The run folder on disk: an append-only journal, atomic files.

An event is durable once `append` returns (write, flush, fsync). A line that was being written when
the process died is cut off, with a warning, before the next append; any other damage is an error
that names its line.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from expander.config.reading import parse_json
from expander.config.storage import mounted
from expander.errors import DataError, EnvironmentFault
from expander.runs.checks import Checks
from expander.runs.events import SCHEMA, Event, from_json, to_json
from expander.runs.ownership import Lock, owned
from expander.runs.sealed_lines import RESTORE, SealedLines

STOP = "stop"
"""A file of this name among a run's trials asks them to write a checkpoint and stop."""

UNPROTECTED = "journal: of an earlier version, without checksums; damage to it may go unnoticed"


BEFORE_SPREAD: dict[str, Any] = {"base_seeds": 1, "seed_spread": 0.0, "contraction": "nearest"}
"""How searches chose before schema 4."""


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
        self.lines = SealedLines(self.journal, "an event", SCHEMA)
        self.begun = False  # whether this process has written to it

    def exists(self) -> bool:
        """Whether a search was started here."""
        return self.journal.exists()

    def create(self, storage: str | None = None) -> None:
        """Makes the folder; `trials` in it is a link to one in `storage`, where that is a folder.

        Raises EnvironmentFault when it cannot be written.
        """
        trials, storage = self.folder / "trials", mounted(storage)
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

    def locked(self, storage: str | None = None) -> Lock:
        """A context in which no other process appends. storage: where the trials may be.

        Raises EnvironmentFault naming the holder, and for a link that leaves the folder.
        """
        return owned(self.folder, storage)

    def append(self, event: Event) -> None:
        """One more event, durable on return. Raises EnvironmentFault when the disk refuses."""
        head = {"schema": SCHEMA, "time": datetime.now(UTC).isoformat(timespec="milliseconds")}
        # A folder that has vanished must not come back with half a journal.
        self.lines.append(json.dumps(head)[:-1] + "," + to_json(event)[1:], create=not self.begun, sync=True)
        self.begun = True

    def events(self) -> list[Event]:
        """Every event so far, a torn last line left out. Raises DataError naming a bad line."""
        return [event for event, _ in self._read()]

    def times(self) -> list[tuple[Event, datetime]]:
        """Every event with its time of writing (UTC)."""
        return list(self._read())

    def protected(self) -> bool:
        """Whether checksums cover what the journal says; those of schema 1 and 2 have none."""
        return self.lines.protected()

    def cut_torn_line(self) -> None:
        """Removes a last line that was never finished. The caller holds the lock."""
        self.lines.cut_torn_line()

    def _read(self) -> Iterator[tuple[Event, datetime]]:
        checks = Checks()
        for number, line in self.lines.read():
            event, time = self._parse(line, number)
            try:
                checks.take(event)
            except ValueError as error:
                raise DataError(f"{self.journal}:{number}: {error}; {RESTORE}") from None
            yield event, time

    def _parse(self, line: bytes, number: int) -> tuple[Event, datetime]:
        place = f"{self.journal}:{number}"
        try:
            data = parse_json(line)
            schema, time = data.pop("schema"), datetime.fromisoformat(data.pop("time"))
            if not isinstance(schema, int) or not 1 <= schema <= SCHEMA:
                raise ValueError
            return from_json(Event, json.dumps(_upgraded(data, schema))), time
        except ValidationError as error:
            fault = error.errors()[0]
            raise DataError(f"{place}: not an event: {fault['loc']}: {fault['msg']}") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise DataError(f"{place}: not an event; restore the journal from a copy") from None


def _upgraded(data: dict[str, Any], schema: int) -> dict[str, Any]:
    """A JSON event of an earlier schema as one of today that says the same."""
    if schema < 4 and data.get("event") == "run_started":
        problem = data["problem"]
        return {**data, "problem": {**problem, "selection": {**BEFORE_SPREAD, **problem["selection"]}}}
    return data
