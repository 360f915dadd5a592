"""Validation must not be trained on: the same file by any path, and copies; labels that start at 1."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Run
from films import film

from expander.config.settings import DataConfig
from expander.data import leakage
from expander.data.annotations import VideoData, assemble
from expander.data.discovery import read
from expander.data.format_detection import read_rows
from expander.data.sources import open_data
from expander.errors import DataError


def put(root: Path, **files: bytes) -> None:
    """Files by their names, with `__` for a slash."""
    for name, content in files.items():
        file = root / f"{name.replace('__', '/')}.mp4"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def folders(root: Path) -> None:
    put(root, train__a__1=b"1", train__b__1=b"22", val__a__2=b"333", val__b__2=b"4444")


def opened(root: Path) -> VideoData:
    return open_data(DataConfig(folder=str(root)))


def lists(root: Path, train: str, val: str = "c.mp4 1\n") -> VideoData:
    put(root, a=b"1", b=b"22", c=b"333")
    (root / "train.txt").write_text(train)
    (root / "val.txt").write_text(val)
    return assemble(read(root / "train.txt"), read(root / "val.txt"), root)


@pytest.mark.parametrize("link", [os.symlink, os.link], ids=["symbolic", "hard"])
def test_a_validation_video_that_is_a_link_to_a_training_video_is_refused(
    tmp_path: Path, link: object
) -> None:
    folders(tmp_path)
    assert callable(link)
    link(tmp_path / "train" / "a" / "1.mp4", tmp_path / "val" / "a" / "x.mp4")
    with pytest.raises(DataError, match=r"val:2: the same file, by a link, is in .*train too.*x\.mp4"):
        opened(tmp_path)


def test_a_linked_folder_is_no_other_folder(tmp_path: Path) -> None:
    put(tmp_path, store__a=b"1", store__b=b"2")
    (tmp_path / "again").symlink_to("store")
    with pytest.raises(DataError, match="the same file, by a link"):
        lists(tmp_path, "store/a.mp4 0\nstore/b.mp4 1\n", "again/b.mp4 1\n")


def test_copies_of_training_videos_are_counted_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folders(tmp_path)
    put(tmp_path, train__a__3=b"x" * 9000 + b"1", val__a__3=b"x" * 9000 + b"1", val__b__3=b"x" * 9000 + b"2")
    opened(tmp_path)
    assert "1 of 4 validation videos are copies of training videos" in caplog.text
    assert f"the first is {tmp_path}/val/a/3.mp4, a copy of {tmp_path}/train/a/3.mp4" in caplog.text
    caplog.clear()
    open_data(DataConfig(folder=str(tmp_path)), again=True)  # as each trial does
    assert not caplog.text


def test_only_files_of_one_size_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders(tmp_path)
    put(tmp_path, train__a__3=b"xyz1", val__a__4=b"")
    seen: list[Path] = []
    monkeypatch.setattr(leakage, "_sha", lambda path, *_: seen.append(path) or str(path))
    opened(tmp_path)
    assert {str(path.relative_to(tmp_path)) for path in seen} == {"train/a/3.mp4", "val/b/2.mp4"}


@pytest.mark.parametrize("path", ["x" * 300 + ".mp4", "d/" * 2100 + "a.mp4", "\u732b" * 100 + ".mp4"])
def test_a_path_over_the_systems_limit_is_told_with_its_line(
    tmp_path: Path, expander: Run, path: str
) -> None:
    with pytest.raises(DataError, match=r"train\.txt:1: a (name|path) of \d+ bytes, where the system takes"):
        lists(tmp_path, f"{path} 0\nb.mp4 1\n")
    for command in (("check", "."), ("index", ".", "--out", "x.csv")):
        done = expander("data", *command)
        assert (done.returncode, len(done.stderr.splitlines())) == (3, 1)
        assert "train.txt:1: a " in done.stderr


def test_the_longest_name_that_the_system_takes_is_a_name_like_any_other(tmp_path: Path) -> None:
    name = "x" * 251 + ".mp4"
    (tmp_path / name).write_bytes(b"long")
    assert len(lists(tmp_path, f"{name} 0\nb.mp4 1\n").train) == 2


def test_a_zero_byte_in_a_path_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train\.txt:2: a zero byte in the path"):
        lists(tmp_path, "a.mp4 0\nb\0.mp4 1\n")


def test_any_fault_of_the_system_at_a_listed_path_is_an_absent_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = os.stat

    def refuse(path: Path, **options: bool) -> os.stat_result:
        if str(path).endswith("a.mp4"):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", refuse)
    assert len(lists(tmp_path, "a.mp4 0\nb.mp4 1\n").train) == 2


def test_labels_that_start_at_1_are_told_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train\.txt:1: labels start at 1.*subtract 1 from every label"):
        lists(tmp_path, "a.mp4 1\nb.mp4 2\n", "c.mp4 1\n")
    train, val = (read(tmp_path / f"{name}.txt") for name in ("train", "val"))
    with pytest.raises(DataError, match=r"train\.txt:2: its label is beyond the 2 classes.*start at 1"):
        assemble(train, val, tmp_path, ("x", "y"))
    assert assemble(train, val, tmp_path, ("none", "x", "y")).train.labels == (1, 2)


@pytest.mark.parametrize("row", ["b.mp4 1 3", "b.mp4,1,3", "b.mp4 1 3 5 7", "x b.mp4\t1\t2"])
def test_a_row_of_several_labels_is_told_with_its_line(tmp_path: Path, row: str) -> None:
    file = tmp_path / "train.txt"
    others = [f"a{number}.mp4 0" for number in range(40)]
    file.write_text("\n".join([others[0], row, *others[1:]]))
    with pytest.raises(DataError, match=r"train\.txt:2: expected one label a row"):
        read_rows(file)


def test_a_frames_row_of_four_columns_is_told_wherever_it_stands(tmp_path: Path) -> None:
    file = tmp_path / "train.txt"
    file.write_text("a 20 0\nb 20 1 3\n")
    with pytest.raises(DataError, match=r"train\.txt:2: .*several labels"):
        read_rows(file)
    assert read_rows(file, "rawframes").table["path"].tolist() == ["a", "b 20"]


@pytest.mark.parametrize("layout", ["list", "folders"])
def test_a_set_of_one_class_is_refused(tmp_path: Path, expander: Run, layout: str) -> None:
    root = tmp_path / "d"
    for number, place in enumerate(("train/a/1.mp4", "train/a/2.mp4", "val/a/3.mp4")):
        film(root / place, 5 + number)
    if layout == "list":
        (root / "train.txt").write_text("train/a/1.mp4 0\ntrain/a/2.mp4 0\n")
        (root / "val.txt").write_text("val/a/3.mp4 0\n")
    done = expander("data", "check", "d")
    assert done.returncode == 3
    assert "all of one class" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_each_list_may_have_a_root_of_its_own(tmp_path: Path, expander: Run) -> None:
    names = ("videos_train/a/x.mp4", "videos_train/b/x.mp4", "videos_val/a/x.mp4", "videos_val/b/x.mp4")
    for number, name in enumerate(names):
        film(tmp_path / name, 5 + number)
    for name in ("train", "val"):  # the same names below both: MMAction2's layout of Kinetics
        (tmp_path / f"{name}.txt").write_text("a/x.mp4 0\nb/x.mp4 1\n")
    lists = ("--train-ann", "train.txt", "--val-ann", "val.txt")
    roots = ("--train-root", "videos_train", "--val-root", "videos_val")
    done = expander("data", "check", *lists, *roots)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("4 videos, all can be decoded\n")
    written = expander("data", "index", *lists, *roots, "--out", "x.csv")
    assert written.returncode == 0, written.stderr
    rows = [line.split(",")[0] for line in (tmp_path / "x.csv").read_text().splitlines()[1:]]
    assert rows == list(names)
    same = expander("data", "check", *lists, "--data-root", "videos_train")
    assert same.returncode == 3
    assert "train.txt too; validation must not be trained on" in same.stderr
    absent = expander("data", "check", *lists, "--train-root", "videos_train", "--val-root", "absent")
    assert absent.returncode == 3
    assert "absent: no such folder" in absent.stderr


@pytest.mark.parametrize("link", [os.symlink, os.link], ids=["symbolic", "hard"])
def test_a_video_listed_twice_by_a_link_is_told_and_another_label_of_it_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, link: Callable[[Path, Path], None]
) -> None:
    put(tmp_path, a=b"1", b=b"22", c=b"333")
    link(tmp_path / "a.mp4", tmp_path / "again.mp4")
    lists(tmp_path, "a.mp4 0\nb.mp4 1\nagain.mp4 0\n")
    assert "train.txt: 1 of its rows name a file that is listed before, by a link; the first" in caplog.text
    assert f"{tmp_path}/again.mp4, which is {tmp_path}/a.mp4" in caplog.text
    caplog.clear()
    link(tmp_path / "b.mp4", tmp_path / "other.mp4")
    lists(tmp_path, "a.mp4 0\nb.mp4 1\nagain.mp4 0\nother.mp4 0\n")
    assert "2 of its rows name a file that is listed before, by a link; 1 of them have another" in caplog.text
    assert f"the first is {tmp_path}/other.mp4, which is {tmp_path}/b.mp4" in caplog.text
    caplog.clear()
    lists(tmp_path, "a.mp4 0\nb.mp4 1\n")
    assert caplog.text == ""
