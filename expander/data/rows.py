"""Rows of an annotation file as one table, and how faults in it are told: file:line with the text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pandas as pd

from expander.config import reading
from expander.errors import DataError

NUMBER = re.compile(r"[0-9]{1,7}")
"""A class number."""


@dataclass(frozen=True, slots=True)
class Rows:
    """table: path (str), label (int or str), split (str, empty: what the file is for), line (int).

    numbers: whether labels are class numbers. classes: names in order, where the format gives them.
    multi_label: each label is a sorted tuple of class numbers, of any length.
    """

    form: str
    table: pd.DataFrame
    numbers: bool
    classes: tuple[str, ...] = ()
    multi_label: bool = False


def read_text(file: Path) -> str:
    """A file as text, without byte order mark and carriage returns. Raises DataError."""
    try:
        return reading.read_text(file).replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise DataError(f"{file}: cannot be read: {reason}") from None


def spoken(text: str) -> Iterator[tuple[int, str]]:
    """The lines that say something, stripped, with their numbers."""
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip()
        if stripped:
            yield number, stripped


def lines_of(file: Path) -> pd.Series:
    """The lines that say something, by their number. Raises DataError when there are none."""
    numbers, lines = [], []
    for number, line in spoken(read_text(file)):
        numbers.append(number)
        lines.append(line)
    if not lines:
        raise DataError(f"{file}: lists no videos")
    return pd.Series(lines, numbers, dtype=object)


def fault(file: Path, bad: pd.Series, rows: pd.Series | pd.DataFrame, expected: str) -> None:
    """Raises DataError for the first row where `bad` is true."""
    if bad.any():
        place = int(bad.to_numpy().argmax())
        row = rows.iloc[place]
        text = row if isinstance(row, str) else ",".join(row)
        raise DataError(f"{file}:{rows.index[place]}: expected {expected}, found {text!r}")


def fault_of_columns(
    file: Path, table: pd.DataFrame, bad: Sequence[bool] | pd.Series, columns: tuple[str, ...], expected: str
) -> None:
    """The same, of a row that its columns give back."""
    wrong = table[bad]
    if not wrong.empty:
        text = wrong[list(columns)].astype(str).agg(" ".join, axis=1)
        fault(file, pd.Series(True, wrong.index), text, expected)


def table_of(path: pd.Series, label: pd.Series, split: str | pd.Series = "") -> pd.DataFrame:
    """Text as objects: pandas' own strings are several times slower at what is done with them here."""
    of_rows = pd.Series(split, path.index, dtype=object) if isinstance(split, str) else split.astype(object)
    return pd.DataFrame({"path": path.astype(object), "label": label, "split": of_rows, "line": path.index})


def csv_of(file: Path, columns: list[str]) -> pd.DataFrame:
    """A CSV file as text, its rows by their line. Raises DataError; `columns` must be there."""
    try:
        table = pd.read_csv(StringIO(read_text(file)), dtype=object, keep_default_na=False)
    except ValueError as error:
        raise DataError(f"{file}: not a CSV file: {str(error).splitlines()[0]}") from None
    missing = [name for name in columns if name not in table]
    if missing:
        raise DataError(f"{file}:1: the header lacks {', '.join(missing)}")
    if not isinstance(table.index, pd.RangeIndex):  # pandas took the first columns for names of rows
        raise DataError(f"{file}:2: it has more columns than the header")
    if table.empty:
        raise DataError(f"{file}: lists no videos")
    table.index += 2
    return table
