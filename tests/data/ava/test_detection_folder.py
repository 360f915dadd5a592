"""Data sets for detection as they lie on disk: which lists are read, where frames are, what is refused."""

from __future__ import annotations

import logging
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from expander.config.settings import DataConfig
from expander.data.ava.folder import open_detection, recognised
from expander.data.ava.keyframes import Footage
from expander.errors import DataError

MAP = 'item { name: "stand" id: 1 }\nitem { name: "wave" id: 3 }\n'


def write(root: Path, name: str, text: str = "") -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


@pytest.fixture
def ava(tmp_path: Path) -> Path:
    """Lists as SlowFast's users have them, and an empty file for each video: frames are not looked at."""
    write(tmp_path, "annotations/ava_train_v2.1.csv", "old,902,0.1,0.1,0.2,0.2,1,0\n")
    write(
        tmp_path,
        "annotations/ava_train_v2.2.csv",
        "a,902,0.1,0.1,0.2,0.2,1,0\na,902,0.1,0.1,0.2,0.2,3,0\nb,903,0.3,0.3,0.4,0.4,2,1\n",
    )
    write(tmp_path, "annotations/ava_val_v2.2.csv", "c,902,0.1,0.1,0.2,0.2,3,0\nc,903,0.1,0.1,0.2,0.2,1,0\n")
    write(tmp_path, "annotations/ava_val_excluded_timestamps_v2.2.csv", "c,0903\n")
    write(tmp_path, "annotations/ava_action_list_v2.2_for_activitynet_2019.pbtxt", MAP)
    for split, video in (("train", "a"), ("val", "c")):
        name = f"annotations/person_box_67091280_iou90/ava_detection_{split}_boxes_and_labels.csv"
        write(tmp_path, name, "".join(f"{video},{second},0.1,0.1,0.2,0.25,,0.9\n" for second in (902, 903)))
    write(tmp_path, "videos/a.mkv")
    write(tmp_path, "videos_15min/b.mp4")
    write(tmp_path, "frames/c/c_000001.jpg")
    return tmp_path


def test_avas_files_are_read_as_they_lie_on_disk(ava: Path) -> None:
    found = open_detection(DataConfig(folder=str(ava)))
    assert recognised(ava)
    assert found.classes == ("stand", "2", "wave")
    assert found.evaluated == (0, 2)
    assert [frame.moment for frame in found.train.truth] == [("a", 902), ("b", 903)]
    assert [frame.moment for frame in found.val.truth] == [("c", 902)]
    assert found.val.excluded == {("c", 903)}
    assert found.val.detected is not None
    assert [frame.moment for frame in found.val.detected] == [("c", 902)]
    assert found.train.footage == {
        "a": Footage(ava / "videos/a.mkv", 0.0),
        "b": Footage(ava / "videos_15min/b.mp4", 900.0),
    }
    assert found.val.footage == {"c": Footage(ava / "frames/c", 900.0, Fraction(30))}
    assert next(file.name for file in found.files) == "ava_train_v2.2.csv"


def test_the_fingerprint_tells_rows_and_not_places(
    ava: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    before = open_detection(DataConfig(folder=str(ava))).fingerprint
    moved = tmp_path_factory.mktemp("moved") / "ava"
    ava.rename(moved)
    assert open_detection(DataConfig(folder=str(moved))).fingerprint == before
    for name in ("ava_train_v2.2.csv", "ava_val_excluded_timestamps_v2.2.csv"):
        file = moved / "annotations" / name
        text = file.read_text()
        file.write_text(text.replace("c,0903", "c,0904").replace(",0.4,0.4", ",0.4,0.41"))
        assert open_detection(DataConfig(folder=str(moved))).fingerprint != before
        file.write_text(text)


def test_key_frames_without_a_video_are_left_out_and_told(
    ava: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (ava / "videos_15min/b.mp4").unlink()
    with caplog.at_level(logging.WARNING):
        found = open_detection(DataConfig(folder=str(ava)))
    assert [frame.video for frame in found.train.truth] == ["a"]
    assert "1 of 2 videos are not below" in caplog.text
    (ava / "videos/a.mkv").unlink()
    with pytest.raises(DataError, match=r"v2\.2\.csv:1: none of its 2 videos is below .*first is a$"):
        open_detection(DataConfig(folder=str(ava)))


def test_footage_may_lie_elsewhere(ava: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("films")
    for place in ("videos", "videos_15min", "frames"):
        (ava / place).rename(root / place)
    found = open_detection(DataConfig(folder=str(ava), root=str(root)))
    assert found.train.footage["a"].path == root / "videos/a.mkv"


def test_a_video_of_training_must_not_validate(ava: Path) -> None:
    with (ava / "annotations/ava_val_v2.2.csv").open("a") as file:
        file.write("b,905,0.1,0.1,0.2,0.2,3,0\n")
    with pytest.raises(
        DataError, match=r"ava_val_v2\.2\.csv:3: in .*ava_train_v2\.2\.csv too; validation must"
    ):
        open_detection(DataConfig(folder=str(ava)))


def test_a_link_to_a_video_of_training_must_not_validate(ava: Path) -> None:
    (ava / "videos/d.mkv").symlink_to(ava / "videos/a.mkv")
    write(ava, "annotations/ava_val_v2.2.csv", "d,902,0.1,0.1,0.2,0.2,3,0\n")
    with pytest.raises(DataError, match=r":1: in .* too as a; validation must not be trained on: d"):
        open_detection(DataConfig(folder=str(ava)))


@pytest.mark.parametrize("row", ["c,902,0.1,0.1,0.2,0.2,2,0", "c,902,0.1,0.1,0.2,0.2,,"])
def test_a_validation_list_without_an_evaluated_label_is_refused(ava: Path, row: str) -> None:
    """Of actions 1 to 3 the label map has 1 and 3: frame mAP would be the mean over nothing."""
    write(ava, "annotations/ava_val_v2.2.csv", f"{row}\n")
    with pytest.raises(DataError, match=r"^\S*ava_val_v2\.2\.csv: no box has a label that is evaluated"):
        open_detection(DataConfig(folder=str(ava)))
    write(ava, "annotations/ava_val_v2.2.csv", f"{row}\nc,904,0.1,0.1,0.2,0.2,1,0\n")
    assert len(open_detection(DataConfig(folder=str(ava))).val) == 2


def test_what_a_folder_lacks_is_told(ava: Path) -> None:
    with pytest.raises(DataError, match="no folder of this machine"):
        open_detection(DataConfig(folder=str(ava / "none")))
    write(ava, "annotations/ava_val_excluded_timestamps_v2.2.csv", "c,902\nc,903\n")
    with pytest.raises(DataError, match="none of its key frames is left"):
        open_detection(DataConfig(folder=str(ava)))
    (ava / "annotations/ava_val_v2.2.csv").unlink()
    with pytest.raises(DataError, match=r"no list of boxes for val: .* such as ava_val_v2\.2\.csv"):
        open_detection(DataConfig(folder=str(ava)))


HEAD = "video,second,x1,y1,x2,y2,labels\n"


def test_ones_own_lists_name_files_and_folders_of_pictures(tmp_path: Path) -> None:
    write(tmp_path, "train.csv", f"{HEAD}films/a.mp4,1.5,0.1,0.1,0.2,0.2,wave\n")
    write(tmp_path, "val.csv", f"{HEAD}pictures/b,1,0.1,0.1,0.2,0.2,wave;stand\n")
    write(tmp_path, "classes.txt", "wave\nstand\nsit\n")
    write(tmp_path, "films/a.mp4")
    write(tmp_path, "pictures/b/1.jpg")
    found = open_detection(DataConfig(folder=str(tmp_path)))
    assert recognised(tmp_path)
    assert found.classes == ("wave", "stand", "sit")
    assert found.evaluated == (0, 1, 2)
    assert found.val.detected is None
    assert found.train.footage["films/a.mp4"] == Footage(tmp_path / "films/a.mp4")
    assert found.val.footage["pictures/b"] == Footage(tmp_path / "pictures/b", 0.0, Fraction(30))


def test_paths_that_leave_the_root_need_permission(tmp_path: Path) -> None:
    write(tmp_path, "a.mp4")
    write(tmp_path, "set/b.mp4")
    write(tmp_path, "set/train.csv", f"{HEAD}../a.mp4,1.5,0.1,0.1,0.2,0.2,wave\n")
    write(tmp_path, "set/val.csv", f"{HEAD}b.mp4,1,0.1,0.1,0.2,0.2,wave\n")
    config = DataConfig(folder=str(tmp_path / "set"))
    with pytest.raises(
        DataError, match=r"train\.csv:2: outside of the data root; --allow-outside permits it"
    ):
        open_detection(config)
    assert len(open_detection(replace(config, allow_outside=True)).train) == 1


@pytest.mark.parametrize(
    "text", ["a.mp4 1\n", "path,label,class,split\na.mp4,0,a,train\n", "a b,0,c,d,e,f,g\n", ""]
)
def test_lists_of_clips_are_not_taken_for_lists_of_boxes(tmp_path: Path, text: str) -> None:
    write(tmp_path, "train.csv", text)
    assert not recognised(tmp_path)
    assert not recognised(tmp_path / "none")
