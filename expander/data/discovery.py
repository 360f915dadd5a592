"""What lies in a data folder: which lists, in which format, or class folders.

    train.csv val.csv, train.txt val.txt, *_train_list_videos.txt …     lists, with the folder as root
    classInd.txt trainlist01.txt testlist01.txt                         UCF101
    <class>_test_split1.txt                                             HMDB51
    *.json with labels.json                                             Something-Something V2
    train/<class>/<video> val/<class>/<video>, or <class>/<video>       class folders
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pandas as pd

from expander.data.annotations import Split
from expander.data.formats import Rows, read_rows
from expander.errors import DataError

VIDEOS = (".mp4", ".avi", ".mkv", ".webm", ".mov", ".m4v", ".ts", ".mpg")
TRAIN = ("train.csv", "train.txt", "train.json", "trainlist01.txt", "*train_list_videos.txt", "*train*.csv",
         "*train*.txt", "*train*.json")  # fmt: skip
VAL = ("val.csv", "val.txt", "validation.json", "val.json", "testlist01.txt", "*val_list_videos.txt",
       "*val*.csv", "*val*.txt", "*val*.json")  # fmt: skip
VAL_FOLDERS = ("val", "validation", "valid", "test")
HELD_OUT = 5  # one video in so many validates, where a set of class folders has no split


def find(folder: Path, form: str = "auto") -> tuple[Split, Split]:
    """The training and validation rows of a folder, or of one CSV of ours.

    Raises DataError when there is nothing to be recognised.
    """
    if folder.is_file():
        whole = read(folder, form)
        return whole.only("train"), whole.only("val")
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    if form == "folders":
        return class_folders(folder)
    splits = sorted(folder.glob("*_test_split1.txt"))
    if splits and form in ("auto", "hmdb51"):
        return _joined(folder, splits)
    train, val = _first(folder, TRAIN), _first(folder, VAL)
    if train is None or val is None:
        return class_folders(folder)
    return read(train, form).only("train"), read(val, form).only("val")


def read(file: Path, form: str = "auto") -> Split:
    """The rows of one annotation file."""
    return Split(file, read_rows(file, form))


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


def class_folders(folder: Path) -> tuple[Split, Split]:
    """`[split/]<class>/<video>`; without splits, one video in five, chosen by its name, validates."""
    val = next((name for name in VAL_FOLDERS if (folder / name).is_dir()), None)
    if (folder / "train").is_dir() and val is not None:
        return _split(folder, "train"), _split(folder, val)
    table = _videos(folder, "")
    if table.empty or table["label"].nunique() < 2:
        raise DataError(f"{folder}: no train and val lists, and no folders of videos by class in it")
    held = table.groupby("label")["path"].transform(_held_out)
    return (
        Split(folder, Rows("folders", table[~held], numbers=False)),
        Split(folder, Rows("folders", table[held], numbers=False)),
    )


def _held_out(paths: pd.Series) -> pd.Series:
    """True for a fifth of the videos of a class, at least one, at most all but one."""
    order = paths.map(lambda path: hashlib.sha256(path.encode()).hexdigest()).rank(method="first")
    return order <= min(max(1, len(paths) // HELD_OUT), len(paths) - 1)


def _split(folder: Path, name: str) -> Split:
    table = _videos(folder / name, f"{name}/")
    if table.empty:
        raise DataError(f"{folder / name}: no folders of videos by class in it")
    return Split(folder / name, Rows("folders", table, numbers=False))


def _videos(folder: Path, prefix: str) -> pd.DataFrame:
    """Videos one folder down, sorted; the folder is the class."""
    found = []
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if not entry.is_dir():
            continue
        for name in sorted(os.listdir(entry.path)):
            if name.lower().endswith(VIDEOS):
                found.append((f"{prefix}{entry.name}/{name}", entry.name))
    table = pd.DataFrame(found, columns=["path", "label"])
    return table.assign(split="", line=range(1, len(table) + 1))


def present(split: Split, root: Path) -> tuple[Split, int]:
    """Rows whose stems (Kinetics, Something-Something) are given the file that is on disk.

    Returns how many rows have none; they are left out. Raises DataError when none has any.
    """
    if split.rows.form not in ("kinetics", "ssv2"):
        return split, 0
    files = {}
    for place, _, names in os.walk(root):
        for name in names:
            stem, extension = os.path.splitext(name)
            if extension.lower() in VIDEOS:
                files[stem] = os.path.relpath(os.path.join(place, name), root)
    table = split.rows.table
    found = table["path"].map(files)
    if found.isna().all():
        raise DataError(f"{split.file}: none of its {len(table)} videos is below {root}")
    kept = table.assign(path=found)[found.notna()]
    rows = Rows(split.rows.form, kept, split.rows.numbers, split.rows.classes)
    return Split(split.file, rows), int(found.isna().sum())
