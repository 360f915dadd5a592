"""Data sets as they lie on disk, each in the form its makers give it, and our own index of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ASSETS, Run
from films import film

from expander.config.settings import DataConfig
from expander.data.annotations import VideoData
from expander.data.format_detection import detect, read_rows
from expander.data.sources import open_data
from expander.errors import DataError


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


def as_list(root: Path) -> None:
    touch(root, "jump rope/a b.mp4", "run/c.mp4", "run/v.mp4")
    write(root, "kinetics400_train_list_videos.txt", "jump rope/a b.mp4 0\nrun/c.mp4 1\n")
    write(root, "kinetics400_val_list_videos.txt", "run/v.mp4 1\n")
    write(root, "classes.txt", "jump rope\nrun\n")


def as_slowfast(root: Path) -> None:
    touch(root, "jump rope/a b.mp4", "run/c.mp4", "run/v.mp4")
    write(root, "train.csv", "jump rope/a b.mp4,0\nrun/c.mp4,1\n")
    write(root, "val.csv", "run/v.mp4,1\n")
    write(root, "test.csv", "run/v.mp4,1\n")
    write(root, "classes.txt", "jump rope\nrun\n")


def as_kinetics(root: Path) -> None:
    touch(root, "train/jump_rope/-abc_000003_000013.mp4", "c_000100_000110.mkv", "v_000000_000010.mp4")
    head = "label,youtube_id,time_start,time_end,split\n"
    lost = "run,lost,1,11,train\n"
    write(root, "train.csv", f"{head}jump rope,-abc,3,13,train\n{lost}run,c,100,110,train\n")
    write(root, "validate.csv", f'{head}"run",v,0,10,validate\n')
    (root / "validate.csv").rename(root / "val.csv")


KINETICS = "label,youtube_id,time_start,time_end,split\n"


def as_folders(root: Path) -> None:
    touch(root, "train/jump rope/a b.MP4", "train/run/c.webm", "val/run/v.avi", "train/run/notes.txt")


def as_ssv2(root: Path) -> None:
    touch(root, "1.webm", "2.webm", "3.webm")
    write(root, "labels.json", json.dumps({"jump rope": "0", "run": "1"}))
    jump, run = {"id": "1", "label": "x", "template": "[jump] rope"}, {"id": "2", "template": "run"}
    write(root, "train.json", json.dumps([jump, run]))
    write(root, "validation.json", json.dumps([{"id": "3", "label": "z", "template": "[run]"}]))


def as_ucf101(root: Path) -> None:
    touch(root, "Jump/v_a.avi", "Run/v_c.avi", "Run/v_v.avi")
    write(root, "classInd.txt", "1 Jump\n2 Run\n")
    write(root, "trainlist01.txt", "Jump/v_a.avi 1\nRun/v_c.avi 2\n")
    write(root, "testlist01.txt", "Run/v_v.avi\n")


def as_hmdb51(root: Path) -> None:
    touch(root, "jump/a#(1)&;!.avi", "run/c.avi", "run/v.avi", "run/unused.avi")
    write(root, "jump_test_split1.txt", "a#(1)&;!.avi 1 \n")
    write(root, "run_test_split1.txt", "c.avi 1\nv.avi 2\nunused.avi 0\n")


def as_rawframes(root: Path) -> None:
    touch(root, "jump/a/img_00001.jpg", "run/c/img_00001.jpg", "run/v/img_00001.jpg")
    write(root, "train.txt", "jump/a 90 0\nrun/c 80 1\n")
    write(root, "val.txt", "run/v 70 1\n")


SETS: dict[str, tuple[Callable[[Path], None], str]] = {
    "list": (as_list, "jump rope"), "slowfast": (as_slowfast, "jump rope"),
    "kinetics": (as_kinetics, "jump rope"), "folders": (as_folders, "jump rope"),
    "ssv2": (as_ssv2, "jump rope"), "ucf101": (as_ucf101, "Jump"), "hmdb51": (as_hmdb51, "jump"),
    "rawframes": (as_rawframes, "0"),
}  # fmt: skip


def rows(data: VideoData) -> list[tuple[Path, str]]:
    found = []
    for videos in (data.train, data.val):
        pairs = zip(videos.paths, videos.labels, strict=True)
        found += [(path.resolve(), data.classes[label]) for path, label in pairs]
    return found


@pytest.mark.parametrize("name", SETS)
def test_a_data_set_is_recognised_and_comes_back_from_its_index(
    tmp_path: Path, expander: Run, name: str
) -> None:
    make, first = SETS[name]
    make(tmp_path / "set")
    data = open_data(DataConfig(folder=str(tmp_path / "set")))
    assert data.form == ("list" if name == "slowfast" else name)
    assert (len(data.train), len(data.val)) == (2, 1)
    assert data.classes[data.train.labels[0]] == first
    assert data.val.labels == (1,)
    assert all(path.exists() for path, _ in rows(data))
    if name in ("kinetics", "hmdb51"):
        done = expander("data", "index", "set", "--out", "index/ours.csv")
        assert done.returncode == 0, done.stderr
        assert f"data ({name}): 2 training and 1 validation videos of 2 classes" in done.stdout
        assert done.stdout.count(" -> ") == 2
        index = tmp_path / "index"
        config = DataConfig(folder=str(index / "ours.csv"), root=str(index), allow_outside=True)
        again = open_data(config)
        assert (again.form, rows(again), again.classes) == ("expander", rows(data), data.classes)


def test_a_name_that_begins_with_a_hash_is_a_row_of_every_list(tmp_path: Path) -> None:
    for name in ("clap", "walk"):
        touch(tmp_path, f"{name}/#1_x.avi", f"{name}/b.avi", f"{name}/#2_y.avi", f"{name}/d.avi")
        write(tmp_path, f"{name}_test_split1.txt", "#1_x.avi 1\nb.avi 1\n#2_y.avi 2\nd.avi 2\n")
    data = open_data(DataConfig(folder=str(tmp_path)))
    assert (len(data.train), len(data.val)) == (4, 4)
    write(tmp_path, "train.txt", "#a 9 0\nb 9 1\n")
    assert read_rows(tmp_path / "train.txt").table["path"].tolist() == ["#a", "b"]
    write(tmp_path, "train.csv", "#a.mp4,0\nb.mp4,1\n")
    assert read_rows(tmp_path / "train.csv").table["path"].tolist() == ["#a.mp4", "b.mp4"]


def test_rows_without_a_file_are_counted_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    as_kinetics(tmp_path)
    open_data(DataConfig(folder=str(tmp_path)))
    assert "1 rows have no video" in caplog.text


def test_class_folders_without_a_split_hold_out_one_in_five(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{name}/{number}.mp4" for name in ("a", "b") for number in range(10)))
    touch(tmp_path, "c/1.mp4", "c/2.mp4")
    data = open_data(DataConfig(folder=str(tmp_path)))
    per_class = [data.val.labels.count(label) for label in range(3)]
    assert per_class == [2, 2, 1]
    assert len(data.train) == 22 - 5
    assert open_data(DataConfig(folder=str(tmp_path))).fingerprint == data.fingerprint


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("train.csv", KINETICS + "run,x,soon,3,train\n", "train.csv:2: expected"),
        ("a_test_split1.txt", "x.avi 1\ny.avi 7\n", "a_test_split1.txt:2: expected 'video.avi 0|1|2'"),
        ("train.txt", "a 10 0\nb ten 1\n", "train.txt:2: expected 'folder frames label', found 'b ten 1'"),
        ("ours.csv", "path,label,class,split\na.mp4,0,x,train\nb.mp4,1,y,later\n", "ours.csv:3: expected"),
        ("train.txt", "a.mp4 0\nb.mp4 1.5\n", "train.txt:2: expected 'path label'"),
        ("train.txt", "a.mp4 3 5 7\n", "train.txt:1: expected one label a row (--ann-format multilabel"),
    ],
)
def test_a_faulty_row_of_any_format_is_told_with_its_place(
    tmp_path: Path, name: str, text: str, place: str
) -> None:
    write(tmp_path, name, text)
    with pytest.raises(DataError) as error:
        read_rows(tmp_path / name)
    assert place in str(error.value)
    assert "\n" not in str(error.value)


def test_the_format_can_be_forced(tmp_path: Path) -> None:
    write(tmp_path, "train.txt", "clip 10 0\n")
    assert detect(tmp_path / "train.txt") == "rawframes"
    assert read_rows(tmp_path / "train.txt", "list").table["path"].tolist() == ["clip 10"]


@pytest.mark.slow
def test_a_million_lines_are_all_there(tmp_path: Path) -> None:
    lines = (f"class {n % 400}/video {n:07d}.mp4 {n % 400}\n" for n in range(1_000_000))
    (tmp_path / "train.txt").write_text("".join(lines))
    table = read_rows(tmp_path / "train.txt").table
    assert len(table) == 1_000_000
    assert table["path"].iloc[-1] == "class 399/video 0999999.mp4"
    assert int(table["label"].sum()) == 2500 * sum(range(400))


def user_folder(root: Path) -> None:
    """Three classes as a person keeps them: spaces, several containers, odd sizes, short clips."""
    kinds = [("mp4", "libx264", (66, 98)), ("webm", "libvpx-vp9", (71, 97)), ("avi", "mpeg4", (64, 120))]
    for place, count in (("train", 4), ("val", 2)):
        for label in ("long jump", "run & hide", "sit"):
            for number in range(count):
                suffix, codec, size = kinds[number % 3]
                frames = 5 if number == 3 else 30 + number
                film(root / place / label / f"my video {number}.{suffix}", frames, codec=codec, size=size)


@pytest.mark.slow
def test_a_users_folder_is_checked_searched_and_tested(tmp_path: Path, expander: Run) -> None:
    user_folder(tmp_path / "my videos")
    checked = expander("data", "check", "my videos")
    assert checked.returncode == 0, checked.stderr
    assert "18 videos, all can be decoded" in checked.stdout
    found = expander(
        "search", "--space", ASSETS / "micro.yaml", "--target-gflops", "0.0004", "--data", "my videos",
        "--backend", "inline", "--max-steps", "1", "--run", "mine",
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert "data (folders): 12 training and 6 validation videos of 3 classes" in found.stdout
    assert (tmp_path / "runs" / "mine" / "specs" / "final.yaml").exists()
    scored = expander("test", "mine:final", "--views", "30")
    assert scored.returncode == 0, scored.stderr
    found = json.loads((tmp_path / "runs" / "mine" / "tests" / "final-expander-10x3.json").read_text())
    assert (found["n"], found["n_failed"], found["classes"]) == (6, 0, ["long jump", "run & hide", "sit"])
    assert found["metrics"]["top5"]["value"] == 1
    (tmp_path / "my videos" / "train" / "sit" / "my video 0.mp4").write_bytes(b"<html>not found</html>")
    broken = expander("data", "check", "my videos")
    assert broken.returncode == 3
    assert "my video 0.mp4: cannot be opened: Invalid data found when processing input" in broken.stdout
    again = expander("data", "check", "my videos", "--json")
    assert again.returncode == 3
    assert json.loads(again.stdout)["bad"] == 1
    assert "my video 0.mp4" in again.stderr


def test_a_folder_without_anything_to_learn_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "only/a.mp4")
    with pytest.raises(DataError, match="no train and val lists, and no folders of videos by class"):
        open_data(DataConfig(folder=str(tmp_path)))
