"""Shards as annotation rows: `name-{000000..000123}.tar`, one tar, or the tars of a folder by split."""

from __future__ import annotations

import itertools
import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from expander.data.rows import Rows
from expander.data.shards.index import indexed
from expander.data.store import remote
from expander.data.store.addresses import address_of
from expander.errors import DataError
from expander.video.tar_members import member

log = logging.getLogger(__name__)
BRACES = re.compile(r"\{([^{}]*)\}")
RANGE = re.compile(r"([0-9]{1,9})\.\.([0-9]{1,9})")
MOST = 1_000_000
"""Shards that a pattern may name."""
SPLITS = {"train": re.compile(r"train", re.IGNORECASE), "val": re.compile(r"val", re.IGNORECASE)}
"""What the name of a shard says its videos are for, if nothing else does."""


@dataclass(frozen=True, slots=True)
class Shards:
    """Tars below `root`. place: how the user named them, for errors."""

    place: Path
    root: Path
    names: tuple[str, ...]


def named(place: Path) -> Shards | None:
    """The tars that a pattern or the name of one tar stands for; none for another kind of name.

    Raises DataError: braces that say nothing, a shard that is missing.
    """
    if not place.name.endswith(".tar") and not re.search(r"\.tar(\.\w+|$)|\.tgz$", place.name):
        return None
    text, root = os.fspath(place), root_of(place)
    if not place.name.endswith(".tar"):
        raise DataError(f"{text}: a compressed shard cannot be read at any place of it; decompress it")
    names = tuple(os.path.relpath(one, root) for one in _expanded(text))
    there = _there(root, names)
    missing = [name for name in names if name not in there]
    if missing:
        raise DataError(f"{text}: {len(missing)} of its {len(names)} shards are missing, the first is "
                        f"{missing[0]}; copy them, or name those that are there")  # fmt: skip
    return Shards(place, root, names)


def _there(root: Path, names: Sequence[str]) -> set[str]:
    """Those that are there."""
    if address_of(root) is None:
        return {name for name in names if os.path.isfile(root / name)}
    return {name for name in names if _remote(root / name)}


def _remote(tar: Path) -> bool:
    try:
        return remote.entry(address_of(tar) or "").size > 0
    except FileNotFoundError:
        return False


def root_of(pattern: Path) -> Path:
    """The folder below which all its tars lie."""
    text = os.fspath(pattern)
    return Path(text.partition("{")[0] + "x" if "{" in text else text).parent


def _expanded(text: str) -> list[str]:
    """As a shell does it: {000..123} keeps the zeros, {a,b} is a choice, several are all pairs."""
    parts = BRACES.split(text)
    choices = [[part] if number % 2 == 0 else _choices(part, text) for number, part in enumerate(parts)]
    count = int(np.prod([float(len(one)) for one in choices]))
    if count > MOST or any(sign in part for part in parts[::2] for sign in "{}"):
        raise DataError(f"{text}: braces such as {{000000..000123}} or {{train,val}} are read, one beside "
                        f"the other, for {MOST} shards at most")  # fmt: skip
    return ["".join(one) for one in itertools.product(*choices)]


def _choices(inner: str, text: str) -> Sequence[str]:
    if match := RANGE.fullmatch(inner):
        first, last = int(match[1]), int(match[2])
        if first <= last <= first + MOST:
            padded = any(end.startswith("0") and len(end) > 1 for end in match.groups())
            width = max(map(len, match.groups())) if padded else 0
            return [f"{number:0{width}}" for number in range(first, last + 1)]
    if "," in inner and ".." not in inner:
        return inner.split(",")
    raise DataError(f"{text}: {{{inner}}} is no range from a smaller to a larger number, such as "
                    "{000000..000123}, and no choice, such as {train,val}")  # fmt: skip


def in_folder(folder: Path) -> Shards | None:
    """The tars of a folder, by their names; none where there are none. Raises DataError."""
    if (address := address_of(folder)) is not None:
        names = [one.name for one in _entries(address) if one.name.endswith(".tar")]
    else:
        names = sorted(path.name for path in folder.glob("*.tar"))
    return Shards(folder, folder, tuple(names)) if names else None


def _entries(address: str) -> list[remote.Entry]:
    try:
        return remote.entries(address)
    except FileNotFoundError:  # a web server lists no folders
        return []


def of_split(shards: Shards, split: str) -> Shards:
    """Those whose names say that they are for `split`. Raises DataError where none do."""
    names = tuple(name for name in shards.names if SPLITS[split].search(name))
    both = [name for name in names if all(sign.search(os.path.basename(name)) for sign in SPLITS.values())]
    if both:
        raise DataError(f"{shards.place}: {both[0]} has both train and val in its name; name the shards of "
                        "each split: --train-ann and --val-ann take patterns too")  # fmt: skip
    if not names:
        raise DataError(f"{shards.place}: no shard has {split} in its name; name the shards of each split: "
                        "--train-ann and --val-ann take patterns too")  # fmt: skip
    return Shards(shards.place, shards.root, names)


def rows_of(shards: Shards) -> Rows:
    """Their samples in order: paths of members from the root, and class numbers. Raises DataError."""
    found = indexed([shards.root / name for name in shards.names])
    paths, labels, silent = [], [], []
    for name, shard in zip(shards.names, found, strict=True):
        paths += [member(name, one.name, one.offset, one.size) for one in shard.samples]
        labels += [one.label for one in shard.samples]
        silent += [f"{name}/{key}" for key in shard.silent]
    if silent:
        log.warning("%s: %d samples have no video and are left out; the first is %s", shards.place,
                    len(silent), silent[0])  # fmt: skip
    if not paths:
        raise DataError(f"{shards.place}: no videos in its {len(shards.names)} shards")
    lines = np.arange(1, len(paths) + 1)
    table = pd.DataFrame({"path": pd.Series(paths, dtype=object), "label": np.array(labels),
                          "split": pd.Series([""] * len(paths), dtype=object), "line": lines})  # fmt: skip
    return Rows("shards", table, numbers=True)
