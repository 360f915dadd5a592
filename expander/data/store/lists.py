"""Lists and manifests of a folder in a store, on this machine: small files, read anew when a run begins."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from expander.config.settings import DataConfig
from expander.data.discovery import has_lists
from expander.data.store import remote
from expander.data.store.addresses import address_of, checked
from expander.data.store.kept import draft
from expander.errors import DataError, disk_faults
from expander.runs.machine import cache_folder

LISTS = (".txt", ".csv", ".json", ".parquet")
"""Endings of annotation files, names of classes and manifests."""
OF_THE_WEB = ("train.txt", "val.txt", "train.csv", "val.csv", "classes.txt", "labels.json",
              "manifest.parquet")  # fmt: skip
"""Looked for where no folder can be listed."""
MOST_BYTES = 4e9
"""Of a list."""


def localized(config: DataConfig, again: bool = False) -> DataConfig:
    """Settings whose lists are on this machine; their videos and shards stay where they are.

    again: lists that are here already are not looked at anew. Raises UsageError, DataError, EnvironmentFault.
    """
    for place in (config.root, config.train_root, config.val_root):
        if place is not None and (address := address_of(place)):
            checked(address)
    if config.folder is not None:
        if (address := address_of(config.folder)) is None:
            return config
        address = checked(address)
        local = None if config.ann_format == "folders" else _folder(address, again)
        if local is None:
            return config
        return replace(config, folder=str(local), root=config.root or _root(address))
    for split in ("train", "val"):
        name = getattr(config, f"{split}_ann") or ""
        if (address := address_of(name)) is None or checked(address).endswith(".tar"):
            continue
        parent, _, base = checked(address).rpartition("/")
        root = getattr(config, f"{split}_root") or config.root or parent
        file = str(mirrored(parent, again) / base)
        if split == "train":
            config = replace(config, train_ann=file, train_root=root)
        else:
            config = replace(config, val_ann=file, val_root=root)
    return config


def _root(address: str) -> str:
    """Where the paths of a folder or of one list start."""
    return address.rpartition("/")[0] if address.endswith(LISTS) else address


def _folder(address: str, again: bool) -> Path | None:
    """The lists of a folder, or one list; none where shards or class folders lie there."""
    if address.endswith((".tar", ".tar.gz", ".tgz")):
        return None
    if address.endswith(LISTS):
        return mirrored(_root(address), again) / address.rpartition("/")[2]
    local = mirrored(address, again)
    return local if has_lists(local) else None


def mirrored(address: str, again: bool = False) -> Path:
    """The lists of a folder in a store, in a folder of this machine. Raises DataError or EnvironmentFault."""
    place = cache_folder() / "store" / "lists" / address.replace("://", "/")
    if again and place.is_dir():
        return place
    with disk_faults(place, "made"):
        place.mkdir(parents=True, exist_ok=True)
    there = _entries(address)
    names = {one.name for one in there}
    for one in there:
        _fetch(f"{address}/{one.name}", place / one.name, one)
    for file in place.iterdir():
        # What is gone there. Files that are being written have no such ending.
        if file.suffix in LISTS and file.name not in names:
            file.unlink(missing_ok=True)
    return place


def _entries(address: str) -> list[remote.Entry]:
    if address.startswith("http"):
        return [one for name in OF_THE_WEB if (one := _entry(f"{address}/{name}"))]
    try:
        found = remote.entries(address)
    except FileNotFoundError:
        raise DataError(f"{address}: no such folder") from None
    return [one for one in found if one.name.endswith(LISTS) and one.size < MOST_BYTES]


def _entry(address: str) -> remote.Entry | None:
    try:
        return remote.entry(address)
    except FileNotFoundError:
        return None


def _fetch(address: str, file: Path, state: remote.Entry) -> None:
    """One list, unless it is here as it is there."""
    if file.is_file() and (file.stat().st_size, file.stat().st_mtime_ns) == (state.size, state.changed):
        return
    with draft(file) as out:
        remote.copy(address, out)
        with disk_faults(file):
            out.flush()
            os.utime(out.name, ns=(state.changed, state.changed))
            os.replace(out.name, file)
