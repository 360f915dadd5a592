"""Tables as text for other tools: CSV, JSON and Markdown, in which no name can do harm."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd

from expander.runs.targets import write_out

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001
"""What a spreadsheet takes for the beginning of a formula (OWASP, CSV injection)."""


def csv_text(table: pd.DataFrame) -> str:
    """CSV with a header. Text that a spreadsheet would run as a formula gets an apostrophe before it."""
    safe = table.copy()
    for name in table.columns:
        if isinstance(table[name].dtype, pd.StringDtype):
            safe[name] = [_harmless(value) for value in table[name]]
    return safe.to_csv(index=False, lineterminator="\n")


def _harmless(value: str) -> str:
    """With an apostrophe before a formula; a carriage return would be read as the end of the row."""
    return ("'" if value.startswith(FORMULA) else "") + value.replace("\r", " ")


def json_text(table: pd.DataFrame) -> str:
    """A JSON array with an object a row; missing values are null."""
    return str(table.to_json(orient="records", indent=1, double_precision=15)) + "\n"


def markdown_text(table: pd.DataFrame) -> str:
    """A Markdown table; cells are escaped, so that no name begins a tag, a link or another cell."""
    lines = [_line(list(table.columns)), _line(["---"] * len(table.columns))]
    lines += [_line([_cell(value) for value in row]) for row in table.itertuples(index=False)]
    return "\n".join(lines) + "\n"


def write_parquet(table: pd.DataFrame, path: Path) -> None:
    """A Parquet file with the table's own types. Raises EnvironmentFault when it cannot be written."""
    out = BytesIO()
    table.to_parquet(out, index=False)
    write_out(path, out.getvalue())


def _texts(table: pd.DataFrame) -> list[str]:
    return [name for name in table.columns if isinstance(table[name].dtype, pd.StringDtype)]


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cell(value: Any) -> str:
    if pd.isna(value):
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value).replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for mark in "|[]*_`":
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())
