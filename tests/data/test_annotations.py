"""Annotation lists: what is tolerated, and where a fault is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expander.data.annotations import VideoData, assemble
from expander.data.discovery import read
from expander.data.format_detection import read_rows
from expander.data.rows import Rows
from expander.errors import DataError


def write(folder: Path, content: str | bytes, name: str = "list.txt") -> Path:
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def read_list(file: Path) -> Rows:
    """The rows of a list that is known to be one."""
    return read_rows(file, "list")


def read_data(
    train: Path, val: Path, root: Path, classes: tuple[str, ...] = (), outside: bool = False
) -> VideoData:
    return assemble(read(train), read(val), root, classes, outside)


def data_set(root: Path, train: str, val: str, present: tuple[str, ...] = ("a.mp4", "v.mp4")) -> list[Path]:
    """The two lists of a data set of which these videos exist."""
    root.mkdir(exist_ok=True)
    for name in present:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return [write(root, train, "train.txt"), write(root, val, "val.txt")]


@pytest.mark.parametrize(
    ("text", "paths", "labels"),
    [
        ("a.mp4 0\nb.mp4 12\n", ["a.mp4", "b.mp4"], [0, 12]),
        ("a.mp4 0\nb.mp4 1", ["a.mp4", "b.mp4"], [0, 1]),
        ("a.mp4 0\r\nb.mp4 1\r\n", ["a.mp4", "b.mp4"], [0, 1]),
        ("\ufeffa.mp4 0\n", ["a.mp4"], [0]),
        ("\n  \na.mp4 0\n\n", ["a.mp4"], [0]),
        ("#1.mp4 0\n# 2.mp4 1\n", ["#1.mp4", "# 2.mp4"], [0, 1]),
        ("a.mp4\t3\n", ["a.mp4"], [3]),
        ("a.mp4  \t 3  \n", ["a.mp4"], [3]),
        ("riding a bike/x 1.mp4 7\n", ["riding a bike/x 1.mp4"], [7]),
        ("caf\u00e9/\u732b.mp4 1\n", ["caf\u00e9/\u732b.mp4"], [1]),
        ("a#1.mp4 2\n", ["a#1.mp4"], [2]),
        ("a.mp4 007\n", ["a.mp4"], [7]),
        ("a.mp4,3\nb c.mp4,1\n", ["a.mp4", "b c.mp4"], [3, 1]),
    ],
)
def test_a_row_is_a_path_and_the_label_after_its_last_space(
    tmp_path: Path, text: str, paths: list[str], labels: list[int]
) -> None:
    rows = read_list(write(tmp_path, text))
    assert rows.numbers
    assert rows.table["path"].tolist() == paths
    assert rows.table["label"].tolist() == labels


@settings(deadline=None, derandomize=True, max_examples=25)
@given(
    rows=st.lists(
        st.tuples(
            st.from_regex(r"[A-Za-z0-9_./()-]+( [A-Za-z0-9_./()-]+)*", fullmatch=True),
            st.integers(0, 10**6),
        ),
        min_size=1,
    )
)
def test_every_row_written_is_the_row_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int]]
) -> None:
    text = "".join(f"{path} {label}\n" for path, label in rows)
    table = read_list(write(tmp_path_factory.mktemp("list"), text)).table
    assert list(zip(table["path"], table["label"], strict=True)) == rows


@pytest.mark.parametrize(
    "row",
    ["a.mp4", "7", "a.mp4 -1", "a.mp4 1.0", "a.mp4 one", "a.mp4 1,", "a.mp4 \u00b2", "a.mp4 0x1",
     "# train"],
)
def test_a_faulty_row_is_told_with_file_and_line(tmp_path: Path, row: str) -> None:
    file = write(tmp_path, f"\nok.mp4 0\n\n{row}\n")
    with pytest.raises(DataError) as caught:
        read_list(file)
    expected = f"{file}:4: expected 'path label' with a label from 0 on, found {row!r}"
    assert str(caught.value) == expected


@pytest.mark.parametrize("text", ["", "\n\n", "  \n"])
def test_a_list_without_videos_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match="lists no videos"):
        read_list(write(tmp_path, text))


def test_a_list_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.txt: cannot be read: No such file"):
        read_list(tmp_path / "absent.txt")
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_list(tmp_path)
    with pytest.raises(DataError, match="cannot be read: not UTF-8 text"):
        read_list(write(tmp_path, b"caf\xe9.mp4 1\n"))


def test_there_are_as_many_classes_as_the_training_labels_need(tmp_path: Path) -> None:
    lists = data_set(tmp_path, "a.mp4 0\nb.mp4 3\n", "v.mp4 3\n")
    data = read_data(*lists, tmp_path)
    assert data.classes == ("0", "1", "2", "3")
    assert (len(data.train), len(data.val)) == (2, 1)
    assert read_data(*lists, tmp_path, ("w", "x", "y", "z")).classes == ("w", "x", "y", "z")


def test_a_validation_label_without_training_videos_is_refused(tmp_path: Path) -> None:
    lists = data_set(tmp_path, "a.mp4 0\nb.mp4 3\n", "v.mp4 2\n")
    with pytest.raises(DataError, match=r"val\.txt:1: its class has no video in .*train\.txt: .v\.mp4"):
        read_data(*lists, tmp_path)


def test_a_video_in_both_lists_is_refused(tmp_path: Path) -> None:
    lists = data_set(tmp_path, "a.mp4 0\nb.mp4 0\n", "v.mp4 0\nb.mp4 0\n")
    with pytest.raises(DataError, match=r"val\.txt:2: in .*train\.txt too.*b\.mp4"):
        read_data(*lists, tmp_path)


def test_a_video_in_both_lists_under_two_spellings_is_refused(tmp_path: Path) -> None:
    lists = data_set(tmp_path, "a.mp4 0\n", "./a.mp4 0\nv.mp4 0\n")
    with pytest.raises(DataError, match=r"val\.txt:1: in .*train\.txt too.*a\.mp4"):
        read_data(*lists, tmp_path)


def test_a_root_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    lists = data_set(tmp_path, "a.mp4 0\n", "v.mp4 0\n")
    with pytest.raises(DataError, match="absent: no such folder"):
        read_data(*lists, tmp_path / "absent")


@pytest.mark.parametrize("present", [("a.mp4",), ("v.mp4",), ()])
def test_a_list_of_which_no_video_exists_is_refused(tmp_path: Path, present: tuple[str, ...]) -> None:
    lists = data_set(tmp_path, "a.mp4 0\n", "v.mp4 0\n", present)
    with pytest.raises(DataError, match="none of its videos exists, the first is"):
        read_data(*lists, tmp_path)


def test_the_fingerprint_is_that_of_the_rows_wherever_the_videos_lie(tmp_path: Path) -> None:
    first = read_data(*data_set(tmp_path / "x", "a.mp4 0\nb.mp4 1\n", "v.mp4 1\n"), tmp_path / "x")
    moved = read_data(*data_set(tmp_path / "y", "\na.mp4\t0\r\nb.mp4 1", "v.mp4 1\n"), tmp_path / "y")
    assert moved.fingerprint == first.fingerprint
    assert len(first.fingerprint) == 64


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("b.mp4 1\na.mp4 0\n", "v.mp4 1\n"),
        ("a.mp4 1\nb.mp4 0\n", "v.mp4 1\n"),
        ("a.mp4 0\nb.mp4 1\nc.mp4 1\n", "v.mp4 1\n"),
        ("a.mp4 0\nb.mp4 1\n", "v.mp4 0\n"),
        ("a.mp4 0\nbb.mp4 1\n", "v.mp4 1\n"),
    ],
    ids=["order", "labels", "one more", "validation", "a path"],
)
def test_any_other_row_is_another_fingerprint(tmp_path: Path, train: str, val: str) -> None:
    first = read_data(*data_set(tmp_path, "a.mp4 0\nb.mp4 1\n", "v.mp4 1\n"), tmp_path)
    other = read_data(*data_set(tmp_path, train, val), tmp_path)
    assert other.fingerprint != first.fingerprint


@pytest.mark.parametrize("path", ["{tmp}/x/a.mp4", "../x/a.mp4", "link/a.mp4", "linked.mp4"])
def test_a_path_that_leaves_the_root_is_refused_unless_permitted(tmp_path: Path, path: str) -> None:
    lists = data_set(tmp_path / "x", f"{path.format(tmp=tmp_path)} 0\n", "v.mp4 0\n")
    (tmp_path / "y").mkdir()
    (tmp_path / "y" / "v.mp4").write_bytes(b"")
    (tmp_path / "y" / "link").symlink_to(tmp_path / "x")
    (tmp_path / "y" / "linked.mp4").symlink_to(tmp_path / "x" / "a.mp4")
    with pytest.raises(DataError, match=r"train\.txt:1: outside of the data root; --allow-outside"):
        read_data(*lists, tmp_path / "y")
    data = read_data(*lists, tmp_path / "y", outside=True)
    assert data.train.paths[0].resolve() == tmp_path / "x" / "a.mp4"


def test_a_link_that_stays_below_the_root_is_a_path_like_any_other(tmp_path: Path) -> None:
    lists = data_set(tmp_path, "linked.mp4 0\n", "v.mp4 0\n")
    (tmp_path / "linked.mp4").symlink_to("a.mp4")
    assert read_data(*lists, tmp_path).train.paths[0].resolve() == tmp_path / "a.mp4"


def test_a_video_listed_twice_is_told_with_its_line(tmp_path: Path) -> None:
    lists = data_set(tmp_path, "a.mp4 0\nb.mp4 0\n./a.mp4 0\n", "v.mp4 0\n")
    with pytest.raises(DataError, match=r"train\.txt:3: listed twice: '\./a\.mp4'"):
        read_data(*lists, tmp_path)


def test_a_label_beyond_the_named_classes_is_told_with_its_line(tmp_path: Path) -> None:
    lists = data_set(tmp_path, "a.mp4 0\nb.mp4 2\n", "v.mp4 0\n")
    with pytest.raises(DataError, match=r"train\.txt:2: its label is beyond the 2 classes"):
        read_data(*lists, tmp_path, ("x", "y"))


def test_a_name_that_looks_like_an_option_is_a_name(tmp_path: Path) -> None:
    lists = data_set(tmp_path, "-rf 0\n", "v.mp4 0\n", ("-rf", "v.mp4"))
    assert read_data(*lists, tmp_path).train.paths[0] == tmp_path / "-rf"
