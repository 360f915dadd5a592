"""What people name or own, looked at and read: it is there or not, is text, is JSON."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any

from expander.errors import EnvironmentFault

IMPOSSIBLE = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL)
"""What a system says of a path at which nothing is, or can be."""
NO_FILE = "it is no regular file but a pipe, a device or a socket"


def _mode(path: str | os.PathLike[str]) -> int | None:
    """Of what is there, links followed; none where nothing is. Raises EnvironmentFault: nobody may look."""
    try:
        return os.stat(path).st_mode
    except ValueError:  # a zero byte, half of a letter
        return None
    except OSError as error:
        if error.errno in IMPOSSIBLE:
            return None
        raise EnvironmentFault(f"{path}: cannot be looked at: {error.strerror}") from None


def is_there(path: str | os.PathLike[str]) -> bool:
    """Whether there is anything at a path that somebody gave, whatever it says. Raises EnvironmentFault."""
    return _mode(path) is not None


def is_file(path: str | os.PathLike[str]) -> bool:
    """Whether a regular file is there. Raises EnvironmentFault where nobody may look."""
    return stat.S_ISREG(_mode(path) or 0)


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Whether a folder is there. Raises EnvironmentFault where nobody may look."""
    return stat.S_ISDIR(_mode(path) or 0)


def absolute(path: str | os.PathLike[str]) -> Path:
    """A path from the root of the system, links followed as far as they lead. Raises EnvironmentFault."""
    try:
        return Path(os.path.realpath(path))
    except ValueError:  # a zero byte: whoever needs the file says so
        return Path(path)
    except FileNotFoundError:
        raise EnvironmentFault("the current folder is gone; change to another one") from None


def check_regular(path: str | os.PathLike[str]) -> None:
    """Raises OSError for what is there and is no file or folder: to open it may wait for ever."""
    try:
        mode = os.stat(path).st_mode
    except ValueError as error:
        raise OSError(errno.EINVAL, str(error), os.fspath(path)) from None
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, NO_FILE, os.fspath(path))


def read_bytes(path: Path) -> bytes:
    """All of a regular file. Raises OSError; also for a pipe or a device, of which the end may never come."""
    check_regular(path)
    return path.read_bytes()


def sha256_of(path: Path) -> str:
    """Of all of a regular file. Raises OSError as `read_bytes`."""
    check_regular(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_text(path: Path) -> str:
    """All of a regular file in UTF-8, without a byte order mark. Raises OSError or UnicodeDecodeError."""
    return read_bytes(path).decode("utf-8-sig")


def parse_json(text: str | bytes) -> Any:
    """What a JSON text says. Raises ValueError; also where it is nested too deeply, or has half a letter."""
    try:
        found = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    escape = "\\ud" if isinstance(text, str) else b"\\ud"
    if escape in text.lower():  # type: ignore[operator]
        try:
            json.dumps(found, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("half of a letter is in it (\\ud800 to \\udfff go in pairs)") from None
    return found
