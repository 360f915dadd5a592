"""Lists that nobody would write, by the command line: one line, exit 3, no hang."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from conftest import Run

OURS = "path,label,class,split\n"
KINETICS = "label,youtube_id,time_start,time_end,split\n"
DEEP = "[" * 100_000
LABELS = '{"Pushing something": "0", "Lifting something": "1"}'
ENTRY = '{"id": "1", "template": "Pushing [something]"}'
LISTS = {
    "our header alone": ("t.csv", OURS),
    "their header alone": ("t.csv", KINETICS),
    "a header and empty lines": ("t.csv", f"{OURS}\n\n\n"),
    "an endless time": ("t.csv", f"{KINETICS}a,id,0,inf,train\n"),
    "a time before all": ("t.csv", f"{KINETICS}a,id,-inf,1,train\n"),
    "a time of 400 digits": ("t.csv", f"{KINETICS}a,id,0,{'9' * 400},train\n"),
    "a label of 400 digits": ("t.txt", f"a.mp4 {'9' * 400}\n"),
    "a label of 5000 digits": ("t.csv", f"{OURS}a.mp4,{'9' * 5000},a,train\n"),
    "a name of 300 letters": ("t.txt", f"{'x' * 300}.mp4 0\nb.mp4 1\n"),
    "a zero byte": ("t.txt", "a\0b.mp4 0\nb.mp4 1\n"),
    "zero bytes": ("t.csv", "\0" * 1000),
    "no entries": ("t.json", "[]"),
    "an empty file": ("t.json", ""),
    "deep entries": ("t.json", DEEP),
    "an entry that is a list": ("t.json", "[[]]"),
    "an id that is a list": ("t.json", '[{"id": [1], "template": "Pushing [something]"}]'),
    "an id that is endless": ("t.json", f'[{{"id": {"9" * 400}, "template": "Pushing [something]"}}]'),
    "an id beyond numbers": ("t.json", f'[{{"id": {"9" * 5000}, "template": "Pushing [something]"}}]'),
    "an id that is true": ("t.json", '[{"id": true, "template": "Pushing [something]"}]'),
    "an id with half a letter": ("t.json", '[{"id": "\\ud800", "template": "Pushing [something]"}]'),
    "an id with a zero byte": ("t.json", '[{"id": "\\u0000", "template": "Pushing [something]"}]'),
    "a template of another": ("t.json", '[{"id": "1", "template": "Dancing"}]'),
    "numbers alone": ("t.json", "[NaN, Infinity]"),
}


@pytest.mark.parametrize("name", LISTS)
def test_an_odd_list_is_told_in_a_line(tmp_path: Path, expander: Run, name: str) -> None:
    file, text = LISTS[name]
    (tmp_path / file).write_text(text)
    (tmp_path / "labels.json").write_text(LABELS)
    refused(expander, "data", "check", "--train-ann", file, "--val-ann", file)


LABELS_FILES = {
    "none": "{}", "deep": '{"a":' * 100_000, "endless": '{"Pushing something": 1e999}', "list": "[1]",
    "negative": '{"Pushing something": "-1"}', "no number": '{"Pushing something": "x"}', "empty": "",
    "nested": '{"Pushing something": {"a": "0"}}', "beyond": f'{{"Pushing something": "{"9" * 400}"}}',
}  # fmt: skip


@pytest.mark.parametrize("name", LABELS_FILES)
def test_odd_labels_are_told_in_a_line(tmp_path: Path, expander: Run, name: str) -> None:
    (tmp_path / "t.json").write_text(f"[{ENTRY}]")
    (tmp_path / "labels.json").write_text(LABELS_FILES[name])
    refused(expander, "data", "check", "--train-ann", "t.json", "--val-ann", "t.json")


@pytest.mark.parametrize("text", [DEEP, '{"a": 1e999}', '{"a": NaN}', '{"a": [0]}', "[]", '{"a": 5}', ""])
def test_odd_class_names_are_told_in_a_line(tmp_path: Path, expander: Run, text: str) -> None:
    (tmp_path / "l.json").write_text(text)
    refused(expander, "predict", "x.mp4", "--weights", "w.safetensors", "--labels", "l.json")


@pytest.mark.parametrize("file", ["pipe.txt", "pipe.csv", "pipe.json", "/dev/zero", "/dev/null"])
def test_what_is_no_file_is_no_list(tmp_path: Path, expander: Run, file: str) -> None:
    if file.startswith("pipe"):
        os.mkfifo(tmp_path / file)
    (tmp_path / "labels.json").write_text(LABELS)
    refused(expander, "data", "check", "--train-ann", file, "--val-ann", file)
    refused(expander, "predict", "x.mp4", "--weights", "w.safetensors", "--labels", file)


def test_pipes_among_the_videos_are_told(tmp_path: Path, expander: Run) -> None:
    for name in ("a/1.mp4", "a/2.mp4", "b/1.mp4", "b/2.mp4"):
        (tmp_path / "d" / name).parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(tmp_path / "d" / name)
    done = expander("data", "check", "d", "--json")
    assert done.returncode == 3
    assert {row["route"] for row in json.loads(done.stdout)["rows"]} == {"bad"}
    assert {row["reason"] for row in json.loads(done.stdout)["rows"]} == {
        "cannot be opened: it is no regular file but a pipe, a device or a socket"
    }
    refused(expander, "predict", "d/a/1.mp4", "--weights", "w.safetensors")


def refused(expander: Run, *command: str) -> None:
    """One line, and the exit code of data."""
    done = expander(*command)
    assert done.returncode == 3, done.stderr
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
    assert len(done.stderr) < 1600
