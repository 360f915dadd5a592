"""Annotation files that are broken in any way are told in one line: read, or a DataError, nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from expander.data.format_detection import read_rows
from expander.errors import DataError

OURS = "path,label,class,split\n"
KINETICS = "label,youtube_id,time_start,time_end,split\n"
LABELS = '{"Pushing something": "0", "Lifting something": "1"}'
ROWS = [{"id": "1", "template": "Pushing [something]"}, {"id": 2, "template": "Lifting [something]"}]
BROKEN = {
    "a header alone": ("t.csv", OURS, "t.csv: lists no videos"),
    "more columns": ("t.csv", f"{OURS}a.mp4,0,a,train,1,2\n", "t.csv:2: it has more columns than the header"),
    "more in one row": ("t.csv", f"{OURS}a.mp4,0,a,train\nb.mp4,1,b,train,1\n", "t.csv: not a CSV file"),
    "no end": ("t.csv", f"{KINETICS}a,id,0,inf,train\n", "t.csv:2: expected label,youtube_id"),
    "no number": ("t.csv", f"{KINETICS}a,id,nan,9,train\n", "t.csv:2: expected label,youtube_id"),
    "before the start": ("t.csv", f"{KINETICS}a,id,-1,9,train\n", "t.csv:2: expected label,youtube_id"),
    "no rows": ("t.json", "[]", "t.json: expected a JSON list"),
    "no list": ("t.json", "5", "t.json: expected a JSON list"),
    "no template": ("t.json", '[{"id": "1"}]', "t.json: entry 1: has no template"),
    "a number": ("t.json", '[{"id": "1", "template": 3}]', "t.json: entry 1: has no template"),
    "no object": ("t.json", "[3]", "t.json: entry 1: expected an object"),
    "nested deeply": ("t.json", "[" * 100_000, "t.json: not JSON"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, name: str) -> None:
    file, text, told = BROKEN[name]
    (tmp_path / "labels.json").write_text(LABELS)
    (tmp_path / file).write_text(text)
    with pytest.raises(DataError) as caught:
        read_rows(tmp_path / file)
    assert str(caught.value).startswith(f"{tmp_path}/{told}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["[]", "5", '{"x": "a"}', '{"x": null}', '{"x": -1}', '{"x": [0]}', "{"])
def test_labels_that_are_none_are_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "labels.json").write_text(text)
    (tmp_path / "t.json").write_text(json.dumps(ROWS))
    with pytest.raises(DataError, match=r"labels\.json: (expected a JSON object|not JSON)"):
        read_rows(tmp_path / "t.json")


VALID = {
    "list": ("t.txt", "a/1.mp4 0\nb/2.mp4 1\n"),
    "rawframes": ("t.txt", "a/1 30 0\nb/2 40 1\n"),
    "kinetics": ("t.csv", f"{KINETICS}run,id1,0,10,train\nwalk,id2,3,13,val\n"),
    "expander": ("t.csv", f"{OURS}a.mp4,0,a,train\nb.mp4,1,b,val\n"),
    "ssv2": ("t.json", json.dumps(ROWS)),
    "ucf101": ("trainlist01.txt", "Run/v_1.avi 1\nWalk/v_2.avi 2\n"),
    "hmdb51": ("run_test_split1.txt", "a.avi 1\nb.avi 2\n"),
}
PIECES = st.sampled_from([",", "\n", '"', " ", "\0", "#", "9" * 30, "-1", "inf", "nan", "1e400", "null", "[",
                          "]", "{", "}", "\t", "\r", "\u2028", "é", ",,,,", "path", "label"])  # fmt: skip
CHANGES = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 12), PIECES), min_size=1, max_size=4)


@pytest.mark.parametrize("form", VALID)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CHANGES)
@example([(0, 200, ",")])
def test_any_change_of_a_list_is_read_or_told(
    form: str, tmp_path: Path, changes: list[tuple[int, int, str]]
) -> None:
    """change: at a place so many characters are left out and a piece is put in."""
    name, text = VALID[form]
    for place, left_out, piece in changes:
        at = place % (len(text) + 1)
        text = text[:at] + piece + text[at + left_out :]
    (tmp_path / "labels.json").write_text(LABELS)
    (tmp_path / "classInd.txt").write_text("1 Run\n2 Walk\n")
    (tmp_path / name).write_text(text)
    for asked in (form, "auto"):
        told = ""
        try:
            rows = read_rows(tmp_path / name, asked)
        except DataError as error:
            told = str(error)
        assert "\n" not in told
        assert told or len(rows.table) > 0
