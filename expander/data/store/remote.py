"""Reading from a store, patiently.

Credentials are the business of the libraries: they find them in the environment or in their own files.
"""

from __future__ import annotations

import functools
import io
import os
from dataclasses import dataclass
from typing import IO, Any

from expander.data.store.patience import patiently
from expander.errors import disk_faults
from expander.video.tar_members import Placed

CONNECT, ANSWER = 10, 60
"""Seconds for a connection, and for an answer."""
BLOCK = 1 << 16
"""Bytes that are asked for together where headers of a tar are read: its small members come with them."""
CHUNK = 1 << 22


@dataclass(frozen=True, slots=True)
class Entry:
    """Of an object: its name in its folder, bytes, and time of change (ns); or of a folder in it."""

    name: str
    size: int
    changed: int
    is_folder: bool = False


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
