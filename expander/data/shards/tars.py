"""One shard: what samples its headers tell of, by the rules of the webdataset library.

A sample is the members beside each other whose names are the same up to the first dot: KEY.mp4, KEY.cls,
KEY.json. Only headers and labels are read, never the videos.
"""

from __future__ import annotations

import posixpath
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from expander.config.reading import parse_json
from expander.data.store import remote
from expander.data.store.addresses import address_of
from expander.errors import DataError

VIDEOS = ("mp4", "mkv", "webm", "avi", "mov", "m4v")
"""Endings by which a member is a video."""
LABEL = re.compile(rb"\s*([0-9]{1,7})\s*")
MOST_LABEL_BYTES = 10_000_000
"""Of a member that is read for its label."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A video of a shard. name: of its member. offset, size: of its bytes in the tar."""

    name: str
    offset: int
    size: int
    label: int


@dataclass(frozen=True, slots=True)
class Shard:
    """samples: in their order. silent: keys of samples that have no video, which are left out."""

    samples: tuple[Sample, ...]
    silent: tuple[str, ...]


def read_shard(tar: Path) -> Shard:
    """Reads the headers. Raises DataError with the tar and the sample: damaged or compressed, a key that
    comes twice, a sample without a label or with two videos.
    """
    try:
        with _opened(tar) as file:
            return _samples(tar, groups_of(tar, file))
    except OSError as error:
        raise DataError(f"{tar}: cannot be read: {error.strerror or error}") from None


def _opened(tar: Path) -> IO[bytes]:
    if (address := address_of(tar)) is not None:
        return remote.opened(address, remote.entry(address).size)
    return tar.open("rb")


Group = dict[str, tuple[tarfile.TarInfo, bytes]]
"""The members of a sample by their endings, with the bytes of those that may tell its label."""


def groups_of(tar: Path, file: IO[bytes]) -> Iterator[tuple[str, Group]]:
    """The samples of a shard with their keys, in their order. Raises DataError."""
    last, group = "", Group()
    for info, ending, text in _members(tar, file):
        key = info.name[: len(info.name) - len(ending) - 1]
        if key != last and group:
            yield last, group
            group = {}
        if ending in group:
            raise DataError(f"{tar}: {info.name} is in it twice; write the shard again")
        last, group[ending] = key, (info, text)
    if group:
        yield last, group


def _members(tar: Path, file: IO[bytes]) -> Iterator[tuple[tarfile.TarInfo, str, bytes]]:
    """Every member of a sample, the ending of its name, and its bytes where they may be a label."""
    try:
        with tarfile.open(fileobj=file, mode="r:") as members:
            while (info := members.next()) is not None:
                base = posixpath.basename(info.name)
                stem, _, ending = base.partition(".")
                if not info.isreg() or not stem or not ending or base.startswith("__"):
                    continue
                if info.issparse():
                    raise DataError(f"{tar}: {info.name} has holes; write the shard without --sparse")
                small = ending in ("cls", "json") and info.size <= MOST_LABEL_BYTES
                yield info, ending, _bytes(file, info) if small else b""
            _check_end(tar, file, members.offset)
    except tarfile.TarError as error:
        raise DataError(f"{tar}: {_fault(file, error)}") from None


def _bytes(file: IO[bytes], info: tarfile.TarInfo) -> bytes:
    file.seek(info.offset_data)
    return file.read(info.size)


def _check_end(tar: Path, file: IO[bytes], end: int) -> None:
    """Raises DataError unless zeros mark the end: a tar that lost its last members is as well-formed."""
    file.seek(end)
    block = file.read(tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE or any(block):
        raise DataError(f"{tar}: cut short or damaged: no member and no mark of the end at byte {end}; copy "
                        "or write the shard again")  # fmt: skip


def _fault(file: IO[bytes], error: Exception) -> str:
    file.seek(0)
    if file.read(2) in (b"\x1f\x8b", b"BZ", b"\xfd7"):
        return "it is compressed, and its videos cannot be reached one by one; decompress it"
    return f"damaged: {str(error) or type(error).__name__}; copy or write the shard again"


def _samples(tar: Path, groups: Iterator[tuple[str, Group]]) -> Shard:
    found, silent, keys = [], [], set[str]()
    for key, group in groups:
        if key in keys:
            raise DataError(f"{tar}: the key {key!r} comes twice; give every sample a key of its own")
        keys.add(key)
        videos = [info for ending, (info, _) in group.items() if ending.rpartition(".")[2].lower() in VIDEOS]
        if len(videos) > 1:
            raise DataError(f"{tar}: sample {key!r} has {len(videos)} videos ({videos[0].name}, "
                            f"{videos[1].name}); one is read")  # fmt: skip
        if not videos:
            silent.append(key)
            continue
        label = _label(tar, key, group)
        found.append(Sample(videos[0].name, videos[0].offset_data, videos[0].size, label))
    return Shard(tuple(found), tuple(silent))


def _label(tar: Path, key: str, group: Group) -> int:
    """The number in KEY.cls, or else `label` of KEY.json. Raises DataError."""
    if "cls" in group:
        text = group["cls"][1]
        if (match := LABEL.fullmatch(text)) is None:
            said = text[:40].decode("utf-8", "replace")
            raise DataError(f"{tar}: {key}.cls: expected a class number from 0, found {said!r}")
        return int(match[1])
    found: Any = None
    if "json" in group:
        try:
            found = parse_json(group["json"][1])
        except ValueError as error:
            raise DataError(f"{tar}: {key}.json: no JSON: {error}") from None
    label = found.get("label") if isinstance(found, dict) else None
    if type(label) is not int or not 0 <= label < 10**7:
        raise DataError(f"{tar}: sample {key!r} has no label: add {key}.cls with a class number, or "
                        f"\"label\" to {key}.json")  # fmt: skip
    return label
