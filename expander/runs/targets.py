"""Where a person wants output: a file, a link to one, or what is no file at all (`/dev/stdout`, a pipe).

A file is replaced whole. What is no file is written to as it stands; it is never replaced by one.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from expander.errors import EnvironmentFault, UsageError
from expander.runs.journal import write_atomic

STREAMS = ("/dev/", "/proc/")
"""Below these even a regular file is another process's open stream."""


def write_out(path: Path, content: bytes) -> None:
    """`content` to what `--out` names. Raises EnvironmentFault naming the path."""
    if _is_stream(path):
        _write_through(path, content)
    else:
        write_atomic(Path(os.path.realpath(path)), content)


def regular(path: Path, option: str) -> Path:
    """The file that an option names, links followed. Raises UsageError for what is no regular file."""
    if _is_stream(path):
        raise UsageError(f"{option} {path}: is no regular file; name one, or a new one")
    return Path(os.path.realpath(path))


def _is_stream(path: Path) -> bool:
    """Whether there is something of that name that must not be replaced: a device, a pipe, an open file."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):  # nothing there, or told when it is written
        return False
    if stat.S_ISREG(mode):
        return path.is_symlink() and os.path.abspath(path).startswith(STREAMS)
    return not stat.S_ISDIR(mode)


def _write_through(path: Path, content: bytes) -> None:
    try:
        # Without waiting for a reader that may never come; what was written before stays.
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK)
        os.set_blocking(descriptor, True)
        with open(descriptor, "wb") as file:
            file.write(content)
    except OSError as error:
        reason = "nobody reads this pipe" if error.errno == errno.ENXIO else error.strerror
        raise EnvironmentFault(f"{path}: cannot be written: {reason}") from None
