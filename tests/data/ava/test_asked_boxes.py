"""Boxes of one video that a person asks about: whose rows are taken, and what is told of files of others."""

from __future__ import annotations

from pathlib import Path

import pytest

from expander.data.ava.rows import read_asked
from expander.errors import DataError

HEADER = "second,x1,y1,x2,y2"


def asked(folder: Path, text: str) -> Path:
    (folder / "asked.csv").write_text(text)
    return folder / "asked.csv"


@pytest.mark.parametrize("blank", ["\n", " \n\t\n", "\ufeff\n"])
def test_blank_lines_before_the_header_are_skipped(tmp_path: Path, blank: str) -> None:
    rows = read_asked(asked(tmp_path, f"{blank}{HEADER}\n1.5,0.1,0.2,0.5,0.9\n"), "a.mp4")
    assert rows.second.tolist() == [1.5]
    assert rows.boxes.tolist() == [[0.1, 0.2, 0.5, 0.9]]
    assert rows.line.tolist() == [blank.count("\n") + 2]


def test_a_file_of_blank_lines_has_no_rows(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"asked\.csv: has no rows$"):
        read_asked(asked(tmp_path, "\n \n"), "a.mp4")


def test_rows_of_other_videos_are_left_out(tmp_path: Path) -> None:
    text = f"video,{HEADER}\nfilms/b.mp4,1,0,0,1,1\nfilms/a.mp4,2,0,0,1,1\nfilms//a.mp4,3,0,0,1,1\n"
    rows = read_asked(asked(tmp_path, text), "a.mp4")
    assert (rows.second.tolist(), rows.line.tolist()) == ([2, 3], [3, 4])
    with pytest.raises(DataError, match=r"none of its 3 boxes is of c\.mp4, the first is of films/b\.mp4"):
        read_asked(tmp_path / "asked.csv", "c.mp4")


@pytest.mark.parametrize("other", ["other/a.mp4", "a.mp4", "films/a"])
def test_two_videos_of_one_base_name_are_not_merged(tmp_path: Path, other: str) -> None:
    text = f"video,{HEADER}\nfilms/a.mp4,1,0,0,1,1\n{other},1,0,0,0.5,1\n"
    with pytest.raises(DataError) as told:
        read_asked(asked(tmp_path, text), "a.mp4")
    assert str(told.value) == (f"{tmp_path}/asked.csv: has boxes of films/a.mp4 and of {other}, and both may "
                               "be a.mp4: keep the rows of one")  # fmt: skip
