"""Validation videos that are trained on too: the same file by a link, or a copy of it."""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import time
from collections import defaultdict
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path

from expander.data.store.addresses import is_remote
from expander.runs.threads import in_order
from expander.video.filenames import printable
from expander.video.tar_members import open_video, tar_and_size

log = logging.getLogger(__name__)
LOOKED_AT = 4096
"""Bytes of the middle of two files of one size that are compared before all of them are."""
AT_ONCE = 1024
THREADS = 16  # the answers of a network disk come together
SLOW = 50e-6
"""Seconds an answer of a disk from which on threads pay; on a quick one they only wait for each other."""

Stats = list[os.stat_result | None]


def stats(root: Path, names: Sequence[str]) -> Stats:
    """What the system knows of each file below `root`, links followed; None where there is none.

    In a store all are taken to be there.
    """
    if is_remote(root):
        # Not asked for one by one. Without a size and a number nothing is taken for a copy or a link.
        return [os.stat_result((stat.S_IFREG, 0, 0, 1, 0, 0, 0, 0, 0, 0))] * len(names)
    folder = os.open(root, getattr(os, "O_PATH", os.O_RDONLY))  # names from there, without their whole paths

    tars: dict[str, os.stat_result | None] = {}

    def one(name: str) -> os.stat_result | None:
        if (place := tar_and_size(name)) is None:
            return _stat(name, folder)
        tar, size = place
        if tar not in tars:  # asked for once, not for each of its members
            tars[tar] = _stat(tar, folder)
        # Without a number of its own: members of one tar are not one file.
        return tars[tar] and os.stat_result((stat.S_IFREG, 0, 0, 1, 0, 0, size, 0, 0, 0))

    def some(first: int) -> Stats:
        return [one(name) for name in names[first : first + AT_ONCE]]

    try:
        begun = time.perf_counter()
        found = some(0)
        rest = range(AT_ONCE, len(names), AT_ONCE)
        if time.perf_counter() - begun < SLOW * len(found):
            return found + [one for first in rest for one in some(first)]
        return found + [one for part in in_order(some, rest, THREADS) for one in part]
    finally:
        os.close(folder)


def _stat(name: str, folder: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder)
    except (OSError, ValueError):
        return None


def same(train: Stats, val: Stats) -> list[bool]:
    """Whether a validation file is one that is trained on, by whatever path or link."""
    known = {(found.st_dev, found.st_ino) for found in train if found is not None and found.st_ino}
    return [found is not None and (found.st_dev, found.st_ino) in known for found in val]


def tell_links(file: Path, paths: Sequence[Path], labels: Sequence[object], found: Stats) -> None:
    """A warning where rows of a list are one file, by links: how many, the first, and other labels."""
    inodes = list(map(attrgetter("st_ino"), filter(None, found)))
    if len(set(inodes)) == len(inodes):
        return  # quick: a list may have a million rows
    first: dict[tuple[int, int], int] = {}
    pairs = []
    for number, one in enumerate(found):
        if one is not None and one.st_ino:
            known = first.setdefault((one.st_dev, one.st_ino), number)
            pairs += [(known, number)] if known != number else []
    differ = [pair for pair in pairs if labels[pair[0]] != labels[pair[1]]]
    if pairs:
        known_one, again = (printable(str(paths[number])) for number in (differ or pairs)[0])
        more = f"; {len(differ)} of them have another label than that file has before" if differ else ""
        log.warning("%s: %d of its rows name a file that is listed before, by a link%s; the first "
                    "is %s, which is %s", file, len(pairs), more, again, known_one)  # fmt: skip


def copies(
    train: Sequence[Path], val: Sequence[Path], of_train: Stats, of_val: Stats
) -> list[tuple[Path, Path]]:
    """Validation videos that equal a training video byte for byte, with it. Reads files of one size only."""
    sized: dict[int, list[Path]] = defaultdict(list)
    wanted = {found.st_size for found in of_val if found is not None}
    for number, found in enumerate(of_train):
        if found is not None and found.st_size in wanted and not stat.S_ISDIR(found.st_mode):
            sized[found.st_size].append(train[number])
    suspects = [(val[number], found.st_size) for number, found in enumerate(of_val)
                if found is not None and found.st_size in sized and found.st_size]  # fmt: skip
    originals = in_order(lambda one: _equal(one[0], one[1], sized[one[1]]), suspects, THREADS)
    pairs = zip((path for path, _ in suspects), originals, strict=True)
    return [(path, original) for path, original in pairs if original is not None]


def _equal(path: Path, size: int, others: Sequence[Path]) -> Path | None:
    """The first of some files of one size that equals `path`, if any does."""
    middle, whole = "", ""
    for other in others:
        middle = middle or _sha(path, size // 2, LOOKED_AT)
        if middle and middle == _sha(other, size // 2, LOOKED_AT):
            whole = whole or _sha(path)
            if whole == _sha(other):
                return other
    return None


def _sha(path: Path, start: int = 0, count: int = -1) -> str:
    """SHA-256 of `count` bytes from `start`, by default of all; nothing where they cannot be read."""
    try:
        with open_video(path) as file:
            if count >= 0:
                file.seek(start)
                return hashlib.sha256(file.read(count)).hexdigest()
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def tell_copies(train: Sequence[Path], val: Sequence[Path], of_train: Stats, of_val: Stats) -> None:
    """A warning with their number and the first, where there are any."""
    found = copies(train, val, of_train, of_val)
    if found:
        first, original = (printable(str(path)) for path in found[0])
        log.warning("%d of %d validation videos are copies of training videos, so accuracy is too high; "
                    "the first is %s, a copy of %s; take them out of one list",
                    len(found), len(val), first, original)  # fmt: skip
