"""Tables as CSV, Markdown, JSON, Parquet: names that would do harm do none."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pandas as pd
import pytest
from conftest import ASSETS, Run

from expander.report.formats import csv_text, json_text, markdown_text, write_parquet
from expander.report.schema import frame as typed
from expander.report.schema import real, text, whole

HOSTILE = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1", '=HYPERLINK("http://x")', "a|b",  # noqa: RUF001
           "<script>", 'say "hi", you', "Ünï çødé 日本語", "a\nb", "[x](http://y)", "plain name"]  # fmt: skip
COLUMNS = (text("name", ""), whole("n", ""), real("x", ""))


@pytest.fixture
def table() -> pd.DataFrame:
    """A row a hostile name, with a negative number and a missing one."""
    return typed([{"name": name, "n": None, "x": -0.5} for name in HOSTILE], COLUMNS)


def test_no_cell_of_a_csv_begins_a_formula_and_numbers_stay_numbers(table: pd.DataFrame) -> None:
    rows = list(csv.DictReader(io.StringIO(csv_text(table), newline="")))
    assert not [row["name"] for row in rows if row["name"][0] in "=+-@\t\r＝＋－＠"]  # noqa: RUF001
    assert [row["name"].removeprefix("'") for row in rows] == [name.replace("\r", " ") for name in HOSTILE]
    assert {row["x"] for row in rows} == {"-0.5"}
    assert {row["n"] for row in rows} == {""}


def test_markdown_keeps_one_line_a_row_and_no_name_is_a_tag_a_link_or_a_cell(table: pd.DataFrame) -> None:
    lines = markdown_text(table).splitlines()
    assert len(lines) == 2 + len(HOSTILE)
    for line in lines:
        assert line.replace("\\|", "").count("|") == 4
    assert "<" not in markdown_text(table)
    assert "\\[x\\](http://y)" in markdown_text(table)


def test_json_and_parquet_give_back_what_was_written(table: pd.DataFrame, tmp_path: Path) -> None:
    rows = json.loads(json_text(table))
    assert [row["name"] for row in rows] == HOSTILE
    assert rows[0]["n"] is None
    write_parquet(table, tmp_path / "deep" / "t.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "deep" / "t.parquet"), table)


@pytest.fixture
def run(tmp_path: Path) -> str:
    """A recorded run below runs/ of the folder that the command line is called in."""
    folder = tmp_path / "runs" / "r"
    folder.mkdir(parents=True)
    (folder / "journal.jsonl").write_bytes((ASSETS / "journal-v1.jsonl").read_bytes())
    return "r"


@pytest.mark.slow
def test_report_writes_every_format(expander: Run, run: str, tmp_path: Path) -> None:
    shown = expander("report", run)
    assert shown.returncode == 0, shown.stderr
    assert "contract frame_rate" in shown.stdout
    assert (tmp_path / "runs/r/report/trajectory.png").read_bytes().startswith(b"\x89PNG")
    done = expander("report", run, "--format", "html", "--out", "page.html")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")
    table = expander("report", run, "--format", "csv", "--table", "decisions").stdout
    assert len(table.splitlines()) == 1 + 14
    assert expander("report", run, "--format", "parquet", "--out", "t.parquet").returncode == 0
    assert len(pd.read_parquet(tmp_path / "t.parquet")) == 4


def test_report_refuses_what_it_cannot_do_in_one_line(expander: Run, run: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for code, *arguments in (
        (2, run, "--format", "parquet"),
        (2, "nothing", "--format", "html"),
        (2, run, "--table", "nothing"),
        (6, run, "--format", "html", "--out", "file/page.html"),
        (6, run, "--format", "parquet", "--out", "file/t.parquet"),
    ):
        done = expander("report", *arguments)
        assert done.returncode == code, done.stderr
        assert done.stderr.startswith("error: ")
        assert len(done.stderr.strip().splitlines()) == 1
