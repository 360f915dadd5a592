"""What the headers of a shard told, kept in the user's cache: a shard that is as it was is not read again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from pathlib import Path

from expander.config.reading import parse_json, read_bytes
from expander.data.shards.tars import Sample, Shard, read_shard
from expander.data.store import remote
from expander.data.store.addresses import address_of, is_remote
from expander.errors import EnvironmentFault
from expander.runs.journal import write_atomic
from expander.runs.machine import cache_folder
from expander.runs.threads import in_order

log = logging.getLogger(__name__)
VERSION = 1
FOLDER = f"shards-{VERSION}"
"""Of the kept indexes; its number grows when shards are read otherwise."""
THREADS = 16
"""Shards that are looked at together: the answers of a network disk come together."""


def indexed(tars: list[Path]) -> list[Shard]:
    """The samples of each shard, from its headers or from what is kept of them. Raises DataError."""
    return list(in_order(_indexed, tars, THREADS))


def _indexed(tar: Path) -> Shard:
    try:
        state = _state(tar)
    except OSError:
        return read_shard(tar)  # which says why
    try:
        place = cache_folder() / FOLDER / f"{hashlib.sha256(_name(tar)).hexdigest()[:32]}.json"
    except EnvironmentFault:  # no cache
        return read_shard(tar)
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return _kept(place, state)
    found = read_shard(tar)
    with contextlib.suppress(OSError, EnvironmentFault):  # a full or read-only cache: read again next time
        if state == _state(tar):
            write_atomic(place, _text(found, state))
    return found


def _name(tar: Path) -> bytes:
    return os.fsencode(tar if is_remote(tar) else tar.resolve())


def _state(tar: Path) -> list[int]:
    """What is another once the shard is written to. Raises OSError."""
    if (address := address_of(tar)) is not None:
        known = remote.entry(address)
        return [known.size, known.changed, 0, 0]
    found = tar.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def _text(shard: Shard, state: list[int]) -> bytes:
    rows = [[one.name, one.offset, one.size, one.label] for one in shard.samples]
    body = json.dumps([state, rows, shard.silent])
    return json.dumps({"sha256": hashlib.sha256(body.encode()).hexdigest(), "body": body}).encode()


def _kept(place: Path, state: list[int]) -> Shard:
    """Raises ValueError or OSError unless it is whole and of the shard as it is now."""
    found = parse_json(read_bytes(place))
    if hashlib.sha256(found["body"].encode()).hexdigest() != found["sha256"]:
        raise ValueError("damaged")
    told, rows, silent = parse_json(found["body"])
    if told != state:
        raise ValueError("of another shard")
    return Shard(tuple(Sample(*row) for row in rows), tuple(silent))
