"""Objects of a web server, read as pyarrow reads those of a store. It lists no folders."""

from __future__ import annotations

import email.utils
import urllib.error
import urllib.request
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

ANSWER = 60
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Part:
    """A file that is read in places."""

    address: str

    def size(self) -> float:
        """Not asked for: what lies beyond the end is empty."""
        return float("inf")

    def read_at(self, size: int, offset: int) -> bytes:
        """So many bytes from there. Raises OSError."""
        try:
            answer = _ask(self.address, {"Range": f"bytes={offset}-{offset + size - 1}"})
        except EOFError:
            return b""
        with answer:
            if answer.status != 206:
                raise OSError("the server does not give parts of files (no Accept-Ranges)")
            found: bytes = answer.read()
            return found


class Web:
    """As pyarrow.fs.FileSystem, as far as it is used here."""

    def open_input_stream(self, address: str) -> Any:
        """The file from its start. Raises OSError."""
        return _ask(address)

    def open_input_file(self, address: str) -> Part:
        """The file, to be read in places."""
        return Part(address)

    def get_file_info(self, wanted: Any) -> list[Any]:
        """Of files by their addresses. Raises OSError."""
        if not isinstance(wanted, list):
            raise FileNotFoundError("a web server lists no folders")
        return [_info(address) for address in wanted]


def _info(address: str) -> Any:
    try:
        with _ask(address, method="HEAD") as answer:
            length = answer.headers.get("Content-Length")
            changed = email.utils.parsedate_tz(answer.headers.get("Last-Modified", ""))
    except FileNotFoundError:
        return SimpleNamespace(type=SimpleNamespace(name="NotFound"))
    time = email.utils.mktime_tz(changed) * 10**9 if changed else 0
    return SimpleNamespace(type=SimpleNamespace(name="File"), base_name=address.rpartition("/")[2],
                           size=int(length or 0), mtime_ns=time)  # fmt: skip


def _ask(address: str, headers: dict[str, str] | None = None, method: str = "GET") -> Any:
    request = urllib.request.Request(address, headers=headers or {}, method=method)
    try:
        return urllib.request.urlopen(request, timeout=ANSWER)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (404, 410):
            raise FileNotFoundError(address) from None
        if error.code in (401, 403):
            raise PermissionError(f"status {error.code}") from None
        if error.code == 416:  # a part beyond the end
            raise EOFError from None
        raise OSError(f"status {error.code}") from None
