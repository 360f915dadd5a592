"""Text that proves itself: lines and JSON documents with a checksum, so that damage is told and not read.

A sealed line is a JSON object that ends in `"seal":"…"`: SHA-256 of the seal of the line before and of its
own text. So a changed bit, and a line that is lost, repeated or moved, is found at its line. Lines of
earlier versions carry none; the first sealed line after them covers them too.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from expander.config.reading import parse_json, read_bytes
from expander.errors import DataError, EnvironmentFault

SEALED_SINCE = 3
"""Schema of the lines since which each of them is sealed."""

DOCUMENTS_SINCE = 2
"""The same of JSON documents: a training, the result of a test, where a run came from."""

RESTORE = "restore the file from a copy"
SEALED = re.compile(rb'(.*),"seal":"([0-9a-f]{32})"\}', re.DOTALL)
SCHEMA = re.compile(rb'\{"schema": ?(\d{1,9})[,}]')
WHOLE = re.compile(rb'"seal":"[0-9a-f]{32}"\}.', re.DOTALL)
DOCUMENT = re.compile(rb'(.*),\n "seal": "([0-9a-f]{32})"\n\}\n', re.DOTALL)
log = logging.getLogger(__name__)


def _digest(link: bytes, text: bytes) -> bytes:
    return hashlib.sha256(link + b"\n" + text).hexdigest()[:32].encode()


def _schema(line: bytes) -> int:
    """What a line says of its form; 0 where it says nothing."""
    found = SCHEMA.match(line)
    return int(found[1]) if found else 0


class Chain:
    """What the lines so far add up to. begun: whether one of them was sealed."""

    def __init__(self) -> None:
        self.link = b""
        self.begun = False

    def seal(self, text: str) -> bytes:
        """The next line, from a JSON object that is not empty."""
        body = text.encode()[:-1]
        self.link, self.begun = _digest(self.link, body), True
        return body + b',"seal":"' + self.link + b'"}\n'

    def open(self, line: bytes) -> bytes:
        """The JSON object of the next line, without its seal. Raises ValueError for one that is damaged."""
        found = SEALED.fullmatch(line)
        if found is None:
            if self.begun or _schema(line) >= SEALED_SINCE:
                raise ValueError("it has no checksum")
            self.link = _digest(self.link, line)
            return line
        self.link, self.begun = _digest(self.link, found[1]), True
        if self.link != found[2]:
            raise ValueError("its checksum does not fit what it says after the lines before it")
        return found[1] + b"}"


class SealedLines:
    """A file of sealed lines. what: an element of it, as errors name it. newest: schema that is known."""

    def __init__(self, path: Path, what: str, newest: int = SEALED_SINCE) -> None:
        self.path, self.what, self.newest = path, what, newest
        self.chain = Chain()
        self.known = (-1, -1)  # inode and size of the file whose lines `chain` adds up

    def read(self) -> Iterator[tuple[int, bytes]]:
        """Every whole line by its number, without its seal; a torn last one is left out.

        Raises DataError naming the line that is damaged.
        """
        return self._opened(self._bytes(), Chain())

    def protected(self) -> bool:
        """Whether what it says is covered by checksums. Raises DataError as `read` does."""
        chain = Chain()
        count = sum(1 for _ in self._opened(self._bytes(), chain))
        return chain.begun or not count

    def _opened(self, content: bytes, chain: Chain) -> Iterator[tuple[int, bytes]]:
        *lines, rest = content.split(b"\n")
        for number, line in enumerate(lines, 1):
            place = f"{self.path}:{number}"
            if (schema := _schema(line)) > self.newest:
                raise DataError(f"{place}: written by a newer expander (schema {schema}); update it")
            try:
                yield number, chain.open(line)
            except ValueError as error:
                raise DataError(f"{place}: not {self.what} as it was written: {error}; {RESTORE}") from None
        if WHOLE.search(rest):  # a whole line, but for its end: no write that broke off leaves that
            raise DataError(f"{self.path}:{len(lines) + 1}: not {self.what} as it was written: its end is "
                            f"damaged; {RESTORE}")  # fmt: skip

    def _bytes(self) -> bytes:
        try:
            return read_bytes(self.path)
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read: {error.strerror}") from None

    def cut_torn_line(self) -> None:
        """Removes a last line that was never finished. The caller is the only one that writes."""
        content = self._bytes()
        for _ in self._opened(content, Chain()):
            pass  # what is damaged is not mended
        keep = content.rfind(b"\n") + 1
        if keep < len(content):
            log.warning("%s: cut an unfinished last line of %d bytes", self.path, len(content) - keep)
            os.truncate(self.path, keep)

    def append(self, text: str, create: bool = True, sync: bool = False) -> None:
        """One more line, from a JSON object. sync: durable on return.

        Raises EnvironmentFault when the disk refuses, DataError where the lines before are damaged.
        """
        flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | (os.O_CREAT if create else 0)
        try:
            with open(os.open(self.path, flags, 0o666), "ab", buffering=0) as file:
                found = os.fstat(file.fileno())
                if (found.st_ino, found.st_size) != self.known:
                    self._catch_up(found.st_ino)
                line, (inode, size) = self.chain.seal(text), self.known
                self.known = (-1, -1)
                _write_all(file.fileno(), line, size)
                if sync:
                    os.fsync(file.fileno())
                self.known = (inode, size + len(line))
        except OSError as error:
            raise EnvironmentFault(f"{self.path}: cannot be written: {error.strerror}") from None

    def _catch_up(self, inode: int) -> None:
        """The chain of what the file holds now, its torn last line cut."""
        self.cut_torn_line()
        content, self.chain = self._bytes(), Chain()
        for _ in self._opened(content, self.chain):
            pass
        self.known = (inode, len(content))


def _write_all(descriptor: int, line: bytes, before: int) -> None:
    """The whole line, or none of it: what a full disk took of it is cut again. Raises OSError."""
    done = 0
    try:
        while done < len(line):
            done += os.write(descriptor, line[done:])
    except OSError:
        os.truncate(descriptor, before)
        raise


def sealed_row(row: Mapping[str, Any]) -> str:
    """The JSON object of a line that has no schema of its own."""
    return json.dumps({"schema": SEALED_SINCE, **row})


def sealed_lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """A whole file of such lines."""
    chain = Chain()
    return b"".join(chain.seal(sealed_row(row)) for row in rows)


def rows_of(lines: SealedLines) -> Iterator[dict[str, Any]]:
    """The objects of a file's whole lines, without schema and seal; none where there is no file.

    Raises DataError naming the line that is damaged or no object.
    """
    if not os.path.lexists(lines.path):
        return
    for number, line in lines.read():
        try:
            row = parse_json(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise DataError(f"{lines.path}:{number}: not {lines.what}; {RESTORE}")
        row.pop("schema", None)
        yield row


def sealed_document(content: Mapping[str, Any]) -> bytes:
    """A JSON object as text that `opened_document` proves."""
    rest = {key: value for key, value in content.items() if key != "schema"}
    body = json.dumps({"schema": DOCUMENTS_SINCE, **rest}, indent=1).encode()[:-2]
    return body + b',\n "seal": "' + _digest(b"", body) + b'"\n}\n'


def opened_document(text: bytes) -> dict[str, Any]:
    """The JSON object of a document, without its seal. Raises ValueError for one that is damaged.

    Documents of earlier versions carry no seal.
    """
    content = parse_json(text)
    if not isinstance(content, dict):
        raise ValueError("not a JSON object")
    schema = content.get("schema")
    if "seal" not in content and not (isinstance(schema, int) and schema >= DOCUMENTS_SINCE):
        return content
    found = DOCUMENT.fullmatch(text)
    if found is None or _digest(b"", found[1]) != found[2]:
        raise ValueError("its checksum does not fit what it says")
    del content["seal"]
    return content
