"""What people name is looked at and read without a traceback or a hang, whatever is there."""

from __future__ import annotations

import os
import re
import socket
import sys
from pathlib import Path

import pytest

from expander.config.reading import is_file, is_folder, is_there, parse_json, read_bytes, read_text
from expander.config.strict_yaml import read_yaml
from expander.data.format_detection import read_rows
from expander.errors import DataError, EnvironmentFault, UsageError

NOWHERE = ["none", "x" * 300, "x/" * 3000, "a\0b", "\ud800", "file/below", "loop/x"]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a file, a link that leads to itself, a pipe and a socket."""
    (tmp_path / "file").write_bytes(b"\xef\xbb\xbftext")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(tmp_path / "socket"))  # its path may be too long
    return tmp_path


@pytest.mark.parametrize("name", NOWHERE)
def test_nothing_is_where_nothing_can_be(place: Path, name: str) -> None:
    assert not is_there(place / name)
    assert not is_file(place / name)
    assert not is_folder(place / name)


def test_what_is_there_is_told_apart(place: Path) -> None:
    assert [is_there(place / name) for name in ("file", ".", "pipe", "socket")] == [True] * 4
    assert [is_file(place / name) for name in ("file", ".", "pipe", "socket")] == [True, False, False, False]
    assert [is_folder(place / name) for name in ("file", ".", "pipe")] == [False, True, False]


def test_where_nobody_may_look_it_is_told(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> object:  # the tests may run as root, whom no mode stops
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "stat", refuse)
    with pytest.raises(EnvironmentFault, match=r"/file: cannot be looked at: Permission denied$"):
        is_there(place / "file")


@pytest.mark.parametrize("name", ["pipe", "socket", "/dev/zero", "/dev/null"])
def test_what_may_never_end_is_not_read(place: Path, name: str) -> None:
    with pytest.raises(OSError, match="no regular file but a pipe, a device or a socket"):
        read_bytes(place / name)
    with pytest.raises(DataError, match=r"cannot be read: it is no regular file but a pipe, a device"):
        read_rows(place / name)
    with pytest.raises(UsageError, match=r"cannot be read: it is no regular file but a pipe, a device"):
        read_yaml(place / name)


@pytest.mark.parametrize("name", NOWHERE)
def test_a_file_that_cannot_be_there_is_told_in_a_line(place: Path, name: str) -> None:
    with pytest.raises(DataError, match="cannot be read: ") as caught:
        read_rows(place / name)
    assert "\n" not in str(caught.value)


def test_text_is_without_a_byte_order_mark(place: Path) -> None:
    assert read_text(place / "file") == "text"
    with pytest.raises(IsADirectoryError):
        read_bytes(place)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "[" * 100_000 + "]" * 100_000])
def test_json_that_is_nested_too_deeply_is_no_json(text: str) -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json(text)
    assert parse_json("[[1]]") == [[1]]


def test_json_with_half_a_letter_is_no_json() -> None:
    for text in ('"\\ud83d"', '{"\\uDCFF": 1}', b'["\\udc00"]'):
        with pytest.raises(ValueError, match="half of a letter"):
            parse_json(text)
    assert parse_json('"\\ud83d\\ude00"') == "\U0001f600"


def test_json_is_read_in_one_place_only() -> None:
    package = Path(sys.modules["expander"].__file__ or "").parent
    foreign = re.compile(r"json\.loads?\((?!to_json|json\.dumps)")  # not what was written a moment ago
    found = {path.relative_to(package).as_posix() for path in package.rglob("*.py")
             if foreign.search(path.read_text())}  # fmt: skip
    # The decoding process reads what its parent has written, and the journal is guarded by its own rules.
    assert found - {"video/worker.py", "runs/journal.py"} == {"config/reading.py"}
