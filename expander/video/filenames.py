"""Names of files: which a system can hold, and how one is written in a message, whatever is in it."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from expander.errors import DataError

LONGEST_NAME = 255
LONGEST_PATH = 4095
"""Bytes that Linux takes in one name, and in a whole path."""


STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What steers a terminal, turns the text beside it around, or is half of a letter; not tab and newline."""
ENDS = 1000, 400
"""Characters of both ends of a line that is longer."""
LINE_END = re.compile(r"\s*[\r\n]\s*")
CREDENTIALS = re.compile(r"(?<=://)[^/\s]+@")
"""In an address: of a user, perhaps with a password."""
QUERY = re.compile(r"(https?://[^\s?]{1,999}\?)[^\s'\"]+")
"""Of a web address: perhaps with a signature."""


def printable(text: str) -> str:
    r"""`text` with escape sequences and bytes that are not UTF-8 as \xNN or \uNNNN: fit for any terminal."""
    return text if text.isprintable() else STEERING.sub(_written, text)


def one_line(text: str) -> str:
    """The same, without ends of lines, credentials in addresses, and the middle of what nobody would read to
    its end.
    """
    plain = QUERY.sub(r"\1…", CREDENTIALS.sub("…@", LINE_END.sub(" ", text.strip())))
    line = printable(plain)
    return line if len(line) <= sum(ENDS) else f"{line[: ENDS[0]]} … {line[-ENDS[1] :]}"


def _written(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:  # how Python keeps a byte of a name that is not UTF-8
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def is_utf8(text: str) -> bool:
    """Whether a name, as the system gave it, is UTF-8."""
    return not _odd(text)


def _odd(text: str) -> bool:
    return not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text)


def unusable(path: str) -> str:
    """Why no file can have this path, or nothing."""
    if "\0" in path:
        return "a zero byte in the path"
    if not is_utf8(path):
        return "a path that is not UTF-8"
    if 4 * len(path) <= LONGEST_NAME:  # a letter has at most four bytes
        return ""
    size = len(os.fsencode(path))
    if size > LONGEST_PATH:
        return f"a path of {size} bytes, where the system takes {LONGEST_PATH}"
    longest = max(len(os.fsencode(name)) for name in path.split("/"))
    if longest > LONGEST_NAME:
        return f"a name of {longest} bytes, where the system takes {LONGEST_NAME}"
    return ""


def unusable_paths(paths: Sequence[str]) -> dict[str, str]:
    """Those that no file can have, each with the reason; quick where all are plain."""
    plain = "".join(paths)
    if plain.isascii() and "\0" not in plain and max(map(len, paths), default=0) <= LONGEST_NAME:
        return {}
    return {path: why for path in paths if (why := unusable(path))}


def check_name(path: str | os.PathLike[str]) -> None:
    """Raises DataError for a path that no file can have, or whose name is not UTF-8."""
    if why := unusable(os.fspath(path)):
        raise DataError(f"{printable(os.fspath(path)[:LONGEST_NAME])}: {why}; rename it")
