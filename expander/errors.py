"""Errors meant for people: one line, a remedy, and the exit code that says whose turn it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class ExpanderError(Exception):
    """An expected failure. `exit_code` is what the command line ends with."""

    exit_code = 1

    def __init__(self, text: str = "") -> None:
        # What a loader's process raised comes back with all of its traceback: the last line was meant.
        if text.startswith("Caught ") and "Original Traceback" in text:
            text = text.strip().splitlines()[-1].partition(": ")[2]
        super().__init__(text)


class UsageError(ExpanderError):
    """A wrong option, setting or configuration file (exit 2)."""

    exit_code = 2


class DataError(ExpanderError):
    """Missing, unreadable or inconsistent data (exit 3)."""

    exit_code = 3


class TrainingFault(ExpanderError):
    """A training that came to no good end: its loss is no number (exit 4, as trials that failed)."""

    exit_code = 4


class TargetError(ExpanderError):
    """The target cost or budget cannot be met (exit 5)."""

    exit_code = 5


class EnvironmentFault(ExpanderError):
    """Disk, permissions, a lock, a cluster: the machine rather than the user's request (exit 6)."""

    exit_code = 6


FULL = ("can't allocate memory", "not enough memory", "out of memory", "Unable to allocate")
"""How torch and numpy say that memory is full, on a GPU or a CPU."""


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is full."""
    return isinstance(error, MemoryError) or any(text in str(error) for text in FULL)


@contextmanager
def disk_faults(path: object, verb: str = "written") -> Iterator[None]:
    """Tells in one line what the disk refuses: DataError where `verb` is read, else EnvironmentFault."""
    try:
        yield
    except OSError as error:
        kind = DataError if verb == "read" else EnvironmentFault
        raise kind(f"{path}: cannot be {verb}: {error.strerror or error}") from None


def first_line(error: BaseException, most: int = 200) -> str:
    """What another library's error says, on one line; its type where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:most]


KINDS: dict[int, type[ExpanderError]] = {
    kind.exit_code: kind for kind in (UsageError, DataError, TrainingFault, TargetError, EnvironmentFault)
}
"""By exit code, for errors that come from another process as a code and a line."""
