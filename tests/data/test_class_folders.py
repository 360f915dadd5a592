"""Class folders: what is taken for a video of a class, and what is left out and told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conftest import Run

from expander.config.settings import DataConfig
from expander.data.annotations import VideoData
from expander.data.sources import open_data
from expander.errors import DataError


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def opened(root: Path, **settings: object) -> VideoData:
    return open_data(DataConfig(folder=str(root), **settings))  # type: ignore[arg-type]


def paths(data: VideoData) -> list[str]:
    listed = [path for videos in (data.train, data.val) for path in videos.paths]
    return sorted("/".join(path.parts[-2:]) for path in listed)


ENDINGS = ("wmv", "flv", "3gp", "mpeg", "mpg", "gif", "m2ts", "mts", "ogv", "asf", "WMV", "vob", "m4v")


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_class_may_hold_videos_of_any_usual_ending(tmp_path: Path, ending: str) -> None:
    touch(tmp_path, "run/1.mp4", "run/2.mp4", f"wave/1.{ending}", f"wave/2.{ending}")
    data = opened(tmp_path)
    assert data.classes == ("run", "wave")
    assert len(data.train) + len(data.val) == 4


def test_hidden_files_and_folders_are_no_videos_and_no_classes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    touch(tmp_path, *(f"{name}/{number}.mp4" for name in ("run", "sit") for number in (1, 2)))
    touch(tmp_path, "sit/._1.mp4", "sit/._2.mp4", ".ipynb_checkpoints/1-checkpoint.mp4")
    data = opened(tmp_path)
    assert data.classes == ("run", "sit")
    assert paths(data) == ["run/1.mp4", "run/2.mp4", "sit/1.mp4", "sit/2.mp4"]
    assert "left out: 3 hidden (the first is .ipynb_checkpoints)" in caplog.text


def test_whatever_is_left_out_is_counted_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, *(f"{name}/{number}.mp4" for name in ("run", "sit") for number in (1, 2)))
    touch(tmp_path, "run/s1/11.mp4", "run/s1/x/12.mp4", "run/notes.txt", "empty/none.txt", "loose.mp4")
    assert len(paths(opened(tmp_path))) == 4
    assert "2 deeper than <class>/<video> (the first is run/s1/11.mp4)" in caplog.text
    assert "2 no video by its ending (the first is empty/none.txt)" in caplog.text
    assert "1 a folder without a video of its own (the first is empty/)" in caplog.text
    assert "1 in no class folder (the first is loose.mp4)" in caplog.text
    assert caplog.text.count("left out") == 1


def test_nothing_left_out_is_nothing_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "run/1.mp4", "run/2.mp4", "sit/1.mp4", "sit/2.mp4")
    opened(tmp_path)
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("place", "shown"), [("a/caf\udce9.mp4", "a/caf\\xe9.mp4"), ("caf\udce9/1.mp4", "caf\\xe9")]
)
def test_a_name_that_is_not_utf8_is_told_in_one_line(
    tmp_path: Path, expander: Run, place: str, shown: str
) -> None:
    touch(tmp_path, "d/a/1.mp4", "d/b/1.mp4", f"d/{place}")
    for command in (("check", "d"), ("index", "d", "--out", "x.csv")):
        done = expander("data", *command)
        assert done.returncode == 3
        assert f"/d/{shown}: its name is not UTF-8; rename it" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_video_or_data_folder_whose_name_is_not_utf8_is_told_in_one_line(
    tmp_path: Path, expander: Run
) -> None:
    touch(tmp_path, "d\udce9/a/1.mp4", "d\udce9/b/1.mp4", "caf\udce9.mp4")
    for arguments in (
        ("data", "check", "d\udce9"), ("predict", "caf\udce9.mp4", "--weights", "none.safetensors"),
        ("search", "--space", "tiny", "--target-gflops", "0.0003", "--data", "d\udce9"),
    ):  # fmt: skip
        done = expander(*arguments)
        assert done.returncode == 3, done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert "\\xe9" in done.stderr
        assert "UTF-8" in done.stderr


def test_a_folder_that_cannot_be_read_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "a/1.mp4", "b/1.mp4")
    scandir = os.scandir

    def refuse(path: Path | str) -> object:
        if str(path).endswith("/b"):  # the tests may run as root, whom no mode stops
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"/b: cannot be read: Permission denied; make it readable"):
        opened(tmp_path)


def test_classes_txt_is_that_of_the_folder_itself_never_of_its_parent(tmp_path: Path) -> None:
    touch(tmp_path, "d/a/1.mp4", "d/a/2.mp4", "d/b/1.mp4", "d/b/2.mp4")
    (tmp_path / "classes.txt").write_text("b\na\n")
    assert opened(tmp_path / "d").classes == ("a", "b")
    (tmp_path / "classes.txt").write_text("cooking\nyoga\n")
    assert opened(tmp_path / "d").classes == ("a", "b")
    (tmp_path / "d" / "classes.txt").write_text("b\na\n")
    data = opened(tmp_path / "d")
    assert data.classes == ("b", "a")
    pairs = zip(data.train.paths, data.train.labels, strict=True)
    assert {path.parent.name: label for path, label in pairs} == {"a": 1, "b": 0}


def test_classes_txt_beside_the_splits_orders_their_classes(tmp_path: Path) -> None:
    touch(tmp_path, "train/a/1.mp4", "train/b/1.mp4", "val/a/2.mp4", "val/b/2.mp4")
    (tmp_path / "classes.txt").write_text("b\na\n")
    assert opened(tmp_path).classes == ("b", "a")


def test_classes_txt_that_lacks_a_class_folder_is_told(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.mp4", "a/2.mp4", "b/1.mp4", "b/2.mp4")
    (tmp_path / "classes.txt").write_text("a\n")
    with pytest.raises(DataError, match=r"its class is none of the training videos' or of classes\.txt: 'b/"):
        opened(tmp_path)
    (tmp_path / "classes.txt").write_text("a\nb\na\n")
    with pytest.raises(DataError, match=r"classes\.txt:3: the class 'a' is named before"):
        opened(tmp_path)


def test_videos_of_a_linked_folder_are_found_and_permitted_by_allow_outside(
    tmp_path: Path, expander: Run
) -> None:
    touch(tmp_path, *(f"store/{name}/id{name}{n}_000000_000010.mp4" for name in "ab" for n in (1, 2)))
    head = "label,youtube_id,time_start,time_end,split\n"
    (tmp_path / "k").mkdir()
    (tmp_path / "k" / "train.csv").write_text(f"{head}a,ida1,0,10,train\nb,idb1,0,10,train\n")
    (tmp_path / "k" / "val.csv").write_text(f"{head}a,ida2,0,10,val\nb,idb2,0,10,val\n")
    (tmp_path / "k" / "videos").symlink_to("../store")
    (tmp_path / "store" / "back").symlink_to("..")  # a circle ends
    refused = expander("data", "index", "k", "--out", "x.csv")
    assert refused.returncode == 3
    assert "train.csv:2: outside of the data root; --allow-outside permits it" in refused.stderr
    assert expander("data", "index", "k", "--allow-outside", "--out", "x.csv").returncode == 0
    data = opened(tmp_path / "k", allow_outside=True)
    assert (len(data.train), len(data.val)) == (2, 2)


def test_classes_of_one_video_each_leave_none_to_validate_with(tmp_path: Path, expander: Run) -> None:
    touch(tmp_path, "d/a/1.mp4", "d/b/1.mp4")
    for command in (("data", "check", "d"), ("data", "index", "d", "--out", "x.csv")):
        done = expander(*command)
        assert done.returncode == 3
        assert "d: every class has one video only, and none is left to validate with; add" in done.stderr
        assert len(done.stderr.splitlines()) == 1
