"""What lies in a data folder: which lists, in which format, or class folders.

    train.csv val.csv, train.txt val.txt, *_train_list_videos.txt …     lists, with the folder as root
    classInd.txt trainlist01.txt testlist01.txt                         UCF101
    <class>_test_split1.txt                                             HMDB51
    Charades_v1_train.csv Charades_v1_test.csv                          Charades
    *.json with labels.json                                             Something-Something V2
    train-000000.tar … val-000000.tar, if there are no lists            shards
    train/<class>/<video> val/<class>/<video>, or <class>/<video>       class folders
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd

from expander.config.reading import is_file, is_folder
from expander.data.annotations import Split
from expander.data.folders import below, class_folders
from expander.data.format_detection import read_rows
from expander.data.rows import Rows
from expander.data.shards import tables
from expander.data.store import listing
from expander.data.store.addresses import address_of, is_remote
from expander.data.store.listing import Listing
from expander.errors import DataError

TRAIN = ("train.csv", "train.txt", "train.json", "trainlist01.txt", "*train_list_videos.txt", "*train*.csv",
         "*train*.txt", "*train*.json")  # fmt: skip
VAL = ("val.csv", "val.txt", "validation.json", "val.json", "testlist01.txt", "*val_list_videos.txt",
       "*val*.csv", "*val*.txt", "*val*.json", "Charades_v1_test.csv")  # fmt: skip
HMDB51 = "*_test_split1.txt"


def find(folder: Path, form: str = "auto", again: bool = False) -> tuple[Split, Split]:
    """The training and validation rows of a folder, of one CSV of ours, or of a pattern of shards.

    again: see `Listing`. Raises DataError when there is nothing to be recognised, EnvironmentFault.
    """
    if (shards := tables.named(folder)) is not None:
        return _sharded(shards)
    if is_remote(folder):
        shards = None if form == "folders" else tables.in_folder(folder)
        return _in_store(folder, again) if shards is None else _sharded(shards)
    if is_file(folder):
        whole = read(folder, form)
        return whole.only("train"), whole.only("val")
    if not is_folder(folder):
        raise DataError(f"{folder}: no such folder")
    if form == "folders":
        return class_folders(folder)
    splits = sorted(folder.glob(HMDB51))
    if splits and form in ("auto", "hmdb51"):
        return _joined(folder, splits)
    train, val = _first(folder, TRAIN), _first(folder, VAL)
    if train is None or val is None:
        shards = tables.in_folder(folder)
        return class_folders(folder) if shards is None else _sharded(shards)
    return read(train, form).only("train"), read(val, form).only("val")


def has_lists(folder: Path) -> bool:
    """Whether a folder has lists of both splits."""
    return _first(folder, (HMDB51,)) is not None or None not in (_first(folder, TRAIN), _first(folder, VAL))


def _in_store(folder: Path, again: bool) -> tuple[Split, Split]:
    address = address_of(folder) or ""
    if address.startswith("http"):
        raise DataError(f"{address}: no train and val lists and no shards in it; a web server lists no "
                        "folders of videos by class: put lists beside them")  # fmt: skip
    there = Listing(address, again)
    found = class_folders(folder, there.look)
    there.keep()
    return found


def read(file: Path, form: str = "auto") -> Split:
    """The rows of one annotation file, or of the shards that a pattern names."""
    if (shards := tables.named(file)) is not None:
        return Split(file, tables.rows_of(shards), shards.root)
    return Split(file, read_rows(file, form))


def _sharded(shards: tables.Shards) -> tuple[Split, Split]:
    train, val = (tables.of_split(shards, split) for split in ("train", "val"))
    return (Split(shards.place, tables.rows_of(train), shards.root),
            Split(shards.place, tables.rows_of(val), shards.root))  # fmt: skip


def _first(folder: Path, patterns: tuple[str, ...]) -> Path | None:
    for pattern in patterns:
        found = sorted(folder.glob(pattern))
        if found:
            return found[0]
    return None


def _joined(folder: Path, files: list[Path]) -> tuple[Split, Split]:
    """HMDB51's one list a class as one."""
    tables = [read_rows(file, "hmdb51").table for file in files]
    whole = Split(folder, Rows("hmdb51", pd.concat(tables, ignore_index=True), numbers=False))
    return whole.only("train"), whole.only("val")


def named_below(root: Path, again: bool = False) -> dict[str, str]:
    """See folders.below; of a store too. again: see `Listing`. Raises DataError, EnvironmentFault."""
    address = address_of(root) or ""
    if address.startswith("http"):
        raise DataError(f"{address}: the annotations name videos without their endings, and a web server "
                        "lists no folders to look them up in: write lists of `path label`")  # fmt: skip
    return listing.below(root, again) if address else below(root)


def present(
    split: Split, root: Path, look: Callable[[Path], dict[str, str]] = named_below
) -> tuple[Split, int]:
    """Rows whose stems (Kinetics, Something-Something, Charades) are given the file that is there.

    look: see `named_below`. Returns how many rows have none; they are left out. Raises DataError when none
    has any.
    """
    if split.rows.form not in ("kinetics", "ssv2", "charades"):
        return split, 0
    table = split.rows.table
    found = table["path"].map(look(root))
    if found.isna().all():
        raise DataError(f"{split.file}: none of its {len(table)} videos is below {address_of(root) or root}")
    kept = table.assign(path=found)[found.notna()]
    return replace(split, rows=replace(split.rows, table=kept)), int(found.isna().sum())
