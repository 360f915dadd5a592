"""What lies in the folders of a store: each is asked for once a run, and kept for what it starts here."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import posixpath
from collections.abc import Sequence
from pathlib import Path

from expander.config.reading import parse_json
from expander.data.folders import Item, is_video
from expander.data.store import remote
from expander.data.store.addresses import address_of
from expander.data.store.kept import draft
from expander.errors import DataError, disk_faults
from expander.runs.machine import cache_folder
from expander.runs.threads import in_order

AT_ONCE = 16
"""Folders that are asked for together: an answer has a thousand names, and comes after a while."""


class Listing:
    """The folders below an address. again: what the same run has asked for before is not asked for anew."""

    def __init__(self, address: str, again: bool = False) -> None:
        name = hashlib.sha256(address.encode()).hexdigest()[:32]
        self.file = cache_folder() / "store" / "folders" / f"{name}.json"
        self.known = _kept(self.file) if again else {}
        self.asked = False

    def look(self, folders: Sequence[Path]) -> list[list[Item]]:
        """See folders.Look. Raises DataError for a folder that is not there, EnvironmentFault."""
        addresses = [address_of(folder) or "" for folder in folders]
        missing = [address for address in addresses if address not in self.known]
        self.known |= zip(missing, in_order(_items, missing, AT_ONCE), strict=True)
        self.asked = self.asked or bool(missing)
        return [self.known[address] for address in addresses]

    def keep(self) -> None:
        """Writes down what was asked for. Raises EnvironmentFault."""
        if not self.asked:
            return
        rows = {address: [(item.name, item.is_folder) for item in items]
                for address, items in self.known.items()}  # fmt: skip
        with draft(self.file) as out, disk_faults(self.file):
            out.write(json.dumps(rows).encode())
            out.flush()
            os.replace(out.name, self.file)


def below(root: Path, again: bool = False) -> dict[str, str]:
    """As folders.below of a folder in a store; again: see Listing. Raises DataError, EnvironmentFault."""
    listing, level, videos = Listing(address_of(root) or "", again), [""], list[str]()
    while level:
        found = [(path + item.name, item.is_folder)
                 for path, items in zip(level, listing.look([root / path for path in level]), strict=True)
                 for item in items if not item.name.startswith(".")]  # fmt: skip
        videos += [path for path, is_folder in found if not is_folder and is_video(posixpath.basename(path))]
        level = [f"{path}/" for path, is_folder in found if is_folder]
    listing.keep()
    # Of two of one name the same counts as on a disk: what lies deeper, in the later folder.
    videos.sort(key=lambda path: path.split("/")[:-1])
    return {posixpath.splitext(posixpath.basename(path))[0]: path for path in videos}


def _items(address: str) -> list[Item]:
    try:
        return [Item(one.name, one.is_folder) for one in remote.listed(address)]
    except FileNotFoundError:
        raise DataError(f"{address}: no such folder") from None


def _kept(file: Path) -> dict[str, list[Item]]:
    with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
        rows = parse_json(file.read_text())
        return {address: [Item(*item) for item in items] for address, items in rows.items()}
    return {}
