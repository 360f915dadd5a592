"""Reading from a store, patiently: what fails for a while is tried again, up to PATIENCE seconds.

Credentials are the business of the libraries: they find them in the environment or in their own files.
"""

from __future__ import annotations

import functools
import io
import logging
import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any, TypeVar

from expander.errors import EnvironmentFault, disk_faults, first_line
from expander.video.filenames import one_line
from expander.video.tar_members import Placed

log = logging.getLogger(__name__)
Found = TypeVar("Found")
PATIENCE = 300.0
"""Seconds for which a store may be away before a command gives up."""
FIRST_WAIT, LONGEST_WAIT = 0.5, 20.0
CONNECT, ANSWER = 10, 60
"""Seconds for a connection, and for an answer."""
BLOCK = 1 << 16
"""Bytes that are asked for together where headers of a tar are read: its small members come with them."""
CHUNK = 1 << 22
TELLS = threading.Lock()
"""Of the threads that wait for a store one tells it."""
DENIED = ("ACCESS_DENIED", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH", "HTTP status 400",
          "HTTP status 403", "HTTP status 301")  # fmt: skip
"""How AWS says that waiting does not help; 301: the bucket lies in another region than AWS_REGION."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Of an object: its name in its folder, bytes, and time of change (ns); or of a folder in it."""

    name: str
    size: int
    changed: int
    is_folder: bool = False


def patiently(address: str, ask: Callable[[], Found]) -> Found:
    """What `ask` gives, asked again while the store is away.

    Raises FileNotFoundError for what is not there, EnvironmentFault for a store that stays away or refuses.
    """
    begun, wait, tells = time.monotonic(), FIRST_WAIT, False
    try:
        while True:
            try:
                return ask()
            except FileNotFoundError:
                raise
            except (OSError, ImportError) as error:
                reason = _fault(address, error, begun + PATIENCE)
            if not tells and (tells := TELLS.acquire(blocking=False)):
                log.warning("%s: the store does not answer, trying again for up to %g s: %s", address,
                            PATIENCE, reason)  # fmt: skip
            # Not all processes at the same moment.
            time.sleep(min(max(0.0, begun + PATIENCE - time.monotonic()), wait * random.uniform(0.5, 1)))
            wait = min(2 * wait, LONGEST_WAIT)
    finally:
        if tells:
            TELLS.release()


def _fault(address: str, error: Exception, end: float) -> str:
    """What a store says. Raises EnvironmentFault where no more waiting helps."""
    reason = one_line(first_line(error))
    if isinstance(error, PermissionError | ImportError) or any(word in str(error) for word in DENIED):
        raise EnvironmentFault(f"{address}: the store refuses: {reason}") from None
    if time.monotonic() >= end:
        raise EnvironmentFault(f"{address}: the store did not answer for {PATIENCE:g} s: {reason}; "
                               "go on when it is back, nothing is lost") from None  # fmt: skip
    return reason


def copy(address: str, out: IO[bytes]) -> None:
    """Appends an object to a new file, from its start each time that it is tried. Raises as `patiently`."""

    def ask() -> None:
        out.seek(0)
        out.truncate()
        with file_system(address).open_input_stream(place_of(address)) as source:
            while chunk := source.read(CHUNK):
                with disk_faults(out.name):
                    out.write(chunk)

    patiently(address, ask)


def part(address: str, offset: int, size: int) -> bytes:
    """So many bytes of an object; fewer, or none, where it ends before. Raises as `patiently`."""

    def ask() -> bytes:
        file = _handle(address)
        return bytes(file.read_at(size, offset)) if offset < file.size() else b""

    return patiently(address, ask)


def entry(address: str) -> Entry:
    """An object. Raises as `patiently`."""

    def ask() -> Entry:
        (found,) = file_system(address).get_file_info([place_of(address)])
        if found.type.name != "File":
            raise FileNotFoundError(address)
        return entry_of(found)

    return patiently(address, ask)


def entries(address: str) -> list[Entry]:
    """The objects of a folder, not those below its folders, by name. Raises as `patiently`."""
    return [one for one in listed(address) if not one.is_folder]


def listed(address: str) -> list[Entry]:
    """The objects and the folders of a folder, by name; a page after the other. Raises as `patiently`."""

    def ask() -> list[Entry]:
        from pyarrow.fs import FileSelector

        found = file_system(address).get_file_info(FileSelector(place_of(address)))
        return sorted((entry_of(one) for one in found if one.base_name), key=lambda one: one.name)

    return patiently(address, ask)


def opened(address: str, size: int) -> IO[bytes]:
    """An object of that size to be read in places, a block at a time."""

    def at(place: int, room: memoryview) -> int:
        found = part(address, place, len(room))
        room[: len(found)] = found
        return len(found)

    return io.BufferedReader(Placed(size, at), BLOCK)


def entry_of(info: Any) -> Entry:
    """Of what a library tells of an object."""
    return Entry(info.base_name, info.size or 0, info.mtime_ns or 0, info.type.name == "Directory")


def place_of(address: str) -> str:
    """As the library names it: an S3 object by its bucket, all others by their path."""
    scheme, _, rest = address.partition("://")
    return rest if scheme in ("s3", "gs") else address if scheme.startswith("http") else _below_host(rest)


def _below_host(rest: str) -> str:
    return "/" + rest.partition("/")[2]


@functools.lru_cache(maxsize=1024)
def _handle(address: str) -> Any:
    """Of an object that is read in places: to open it costs a question, which is asked once."""
    return file_system(address).open_input_file(place_of(address))


def file_system(address: str) -> Any:
    """The library's, connected. Raises ImportError or OSError."""
    scheme, _, rest = address.partition("://")
    return _connected(scheme, rest.partition("/")[0] if scheme == "hdfs" else "")


@functools.cache
def _connected(scheme: str, host: str) -> Any:
    """A file system of pyarrow, or what stands for one. Raises ImportError or OSError."""
    from pyarrow import fs

    if scheme == "s3":
        # pyarrow does not look at this variable, which all other tools know.
        place = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
        kind, _, endpoint = place.rpartition("://")
        return fs.S3FileSystem(
            endpoint_override=endpoint or None, scheme=kind or "https", connect_timeout=CONNECT,
            request_timeout=ANSWER, retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=1),
            allow_delayed_open=True,  # a small object is one request
        )  # fmt: skip
    if scheme == "gs":
        return fs.GcsFileSystem()
    if scheme == "hdfs":
        return fs.HadoopFileSystem.from_uri(f"hdfs://{host}")
    from expander.data.store.web import Web

    return Web()
