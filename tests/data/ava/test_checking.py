"""`data check` and `data make` of detection: what is counted, what is told of films and of lists."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from conftest import Run
from films import film
from people import made

from expander.config.settings import DataConfig
from expander.data.embedded import making
from expander.data.sources import source_limits
from expander.data.tasks import open_for
from expander.engine.preparation import embedded_limits


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("people") / "set", train=3, val=2)


@pytest.fixture
def own(folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return shutil.copytree(folder, tmp_path / "set")


def rows(file: Path) -> list[list[str]]:
    return [line.split(",") for line in file.read_text().splitlines()[1:]]


def test_a_folder_of_boxes_is_recognised_counted_and_its_films_are_examined(
    folder: Path, expander: Run
) -> None:
    done = expander("data", "check", folder)
    assert done.returncode == 0, done.stderr
    boxes = rows(folder / "train.csv")
    labels = sum(len(row[6].split(";")) for row in boxes)
    found = len(rows(folder / "train_detected.csv"))
    assert "data (detection): 3 classes, 3 evaluated" in done.stdout
    counted = f"{len(boxes)} boxes with {labels} labels; {found} boxes of a detector"
    assert f"training: 6 key frames of 3 videos, {counted}" in done.stdout
    assert "5 videos, all can be decoded" in done.stdout
    told = json.loads(expander("data", "check", folder, "--json").stdout)
    assert (told["videos"], told["bad"], told["val"]["key_frames"]) == (5, 0, 4)
    assert told["train"] == {"key_frames": 6, "videos": 3, "boxes": len(boxes), "labels": labels,
                             "detected": found, "missing": []}  # fmt: skip


def test_a_film_that_cannot_be_decoded_and_one_that_is_not_there_are_told(own: Path, expander: Run) -> None:
    (own / "films/train001.mp4").write_bytes(b"<html>not found</html>")
    broken = expander("data", "check", own)
    assert broken.returncode == 3
    assert "train001.mp4: cannot be opened" in broken.stdout
    assert "1 of 5 videos cannot be decoded" in broken.stderr
    (own / "films/train001.mp4").unlink()
    lacking = expander("data", "check", own)
    assert lacking.returncode == 3
    assert "training: 4 key frames of 2 videos" in lacking.stdout
    assert lacking.stderr.splitlines()[-1] == (
        "error: 1 videos of the lists are not on disk, the first is films/train001.mp4"
    )
    assert json.loads(expander("data", "check", own, "--json").stdout)["train"]["missing"] == [
        "films/train001.mp4"
    ]


def test_a_key_frame_outside_of_its_video_is_told_with_its_line(own: Path, expander: Run) -> None:
    film(own / "films/val000.mp4", 15)  # 0.6 seconds
    done = expander("data", "check", own)
    assert done.returncode == 3
    first, others = done.stderr.splitlines()[-1].split("; ")
    assert first.startswith(f"error: {own / 'val.csv'}:2: second 0.75 is not in ")
    assert others == "2 key frames are outside of their videos"


def test_a_bad_list_ends_with_its_line_and_without_a_traceback(own: Path, expander: Run) -> None:
    text = (own / "val.csv").read_text().splitlines()
    text[1] = text[1].replace("films/val000.mp4,0.75,", "films/val000.mp4,0.75,1")
    (own / "val.csv").write_text("\n".join(text))
    done = expander("data", "check", own)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(f"error: {own / 'val.csv'}:2: expected ")
    assert len(done.stderr.splitlines()) == 1


AVA = {
    "ava_train_v2.2.csv": "a,902,0.1,0.1,0.2,0.2,1,0\n",
    "ava_val_v2.2.csv": "b,902,0.1,0.1,0.2,0.2,1,0\nb,903,0.1,0.1,0.2,0.2,2,0\n",
    "ava_val_excluded_timestamps_v2.2.csv": "b,0905\n",
    "ava_action_list_v2.2.pbtxt": 'item { name: "stand" id: 1 }\nitem { name: "wave" id: 2 }\n',
    "person_box_a/ava_detection_val_boxes_and_labels.csv": "b,902,0.1,0.1,0.2,0.25,,0.9\n",
}
"""Lists as AVA's users have them; the films of a and b are not looked at before the lists are sound."""
FAULTS = {
    "ground truth": ("ava_train_v2.2.csv", "a,902,10,10,20,20,1,0\n", "2: expected x1, y1, x2, y2 as shares"),
    "an action": ("ava_val_v2.2.csv", "b,904,0.1,0.1,0.2,0.2,3,0\n", "3: an action beyond 2"),
    "detections": ("person_box_a/ava_detection_val_boxes_and_labels.csv", "b,903,0.1,0.1,0.2,0.2,,7\n",
                   "2: expected a score from 0 to 1"),
    "excluded": ("ava_val_excluded_timestamps_v2.2.csv", "b\n", "2: expected 'video,second', found 'b'"),
    "label map": ("ava_action_list_v2.2.pbtxt", "item { id: 3 }\n", "3: the item has no name"),
    "train and val": ("ava_val_v2.2.csv", "a,904,0.1,0.1,0.2,0.2,1,0\n", "3: in "),
}  # fmt: skip


@pytest.mark.parametrize(("name", "row", "said"), FAULTS.values(), ids=FAULTS.keys())
@pytest.mark.parametrize("command", [("data", "check"), ("train", "x3d_s", "--task", "detection", "--data")],
                         ids=["check", "train"])  # fmt: skip
def test_each_kind_of_file_is_refused_with_its_line_and_exit_code_3(
    tmp_path: Path, expander: Run, command: tuple[str, ...], name: str, row: str, said: str
) -> None:
    root = tmp_path / "set"
    for file, text in AVA.items():
        path = root / "annotations" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + (row if file == name else ""))
    for video in "ab":
        film(root / "videos" / f"{video}.mp4", 2)
    done = expander(*command, root)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(f"error: {root / 'annotations' / name}:{said}")
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.glob("runs/*/training.json"))


@pytest.mark.parametrize("command", [("index", "--out", "x.csv"), ("prepare", "--out", "x")])
def test_commands_for_videos_with_labels_say_what_a_folder_of_boxes_is(
    folder: Path, expander: Run, command: tuple[str, ...]
) -> None:
    done = expander("data", command[0], folder, *command[1:])
    assert done.returncode == 3
    assert done.stderr == (
        f"error: {folder / 'train.csv'}:1: has boxes of people, which are data for detection: train and test "
        "read their folder with --task detection, and data check does\n"
    )


@pytest.mark.slow
def test_the_embedded_set_is_made_once_printed_and_sound(expander: Run) -> None:
    made_now = expander("data", "make", "--task", "detection")
    place = Path(made_now.stdout.strip())
    assert making.verify(place) == []
    done = expander("data", "check", place)
    assert done.returncode == 0, done.stderr
    assert "600 key frames of 200 videos, 1500 boxes" in done.stdout
    assert "280 videos, all can be decoded" in done.stdout
    data = open_for("detection", DataConfig(str(place)))
    foretold = embedded_limits("detection")  # what a dry run counts with, before the set is made
    assert foretold == (len(data.classes), source_limits(data, DataConfig(cache_gb=0)), len(data.val))
    assert expander("data", "make", "--task", "detection").stdout == made_now.stdout
