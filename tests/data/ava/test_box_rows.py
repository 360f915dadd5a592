"""AVA's files of boxes to key frames, and what is told of files that are no such files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from expander.data.ava.annotations import class_names, key_frames
from expander.data.ava.excluded import read_excluded
from expander.data.ava.keyframes import KeyFrame
from expander.data.ava.label_map import read_label_map
from expander.data.ava.rows import read_boxes
from expander.errors import DataError

TRUTH = """\
-5KQ66BBWC4,0902,0.077,0.151,0.283,0.811,80,1
-5KQ66BBWC4,0902,0.077,0.151,0.283,0.811,9,1
-5KQ66BBWC4,0902,0.226,0.032,0.366,0.497,12,0

-5KQ66BBWC4,0904,0.332,0.194,0.481,0.891,,
1j20qq1JyX4,0902,0.100,0.200,0.300,0.400,12,3
-5KQ66BBWC4,0902,0.400,0.100,0.500,0.900,-1,4
"""
DETECTED = """\
-5KQ66BBWC4,0902,0.07,0.15,0.28,0.81,,0.995518
-5KQ66BBWC4,0902,0.90,0.15,1.01,0.81,12,0.41
"""
OURS = """\
video,second,x1,y1,x2,y2,labels
films/a.mp4,1.5,0.1,0.2,0.5,0.9,wave; stand
films/a.mp4,1.5,0.6,0.2,0.9,0.9,
films/b.mp4,2,0.1,0.2,0.5,0.9,"sit"
"""
MAP = """\
item {
  name: "bend/bow (at the waist)"
  id: 1
}
label { name: "stand" label_id: 12 label_type: PERSON_MOVEMENT }  # as in the list of all 80
item { name: 'watch (a person)' id: 80 }
"""


def written(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder / name


def frames_of(file: Path, classes: tuple[str, ...] = tuple(map(str, range(1, 81)))) -> tuple[KeyFrame, ...]:
    return key_frames(read_boxes(file, detected=False), classes)


def test_rows_of_a_box_are_one_box_with_several_labels(tmp_path: Path) -> None:
    first, bare, other = frames_of(written(tmp_path, "ava_train_v2.2.csv", TRUTH.replace("\n", "\r\n")))
    assert first.moment == ("-5KQ66BBWC4", 902.0)
    assert first.boxes.tolist() == [[0.077, 0.151, 0.283, 0.811], [0.226, 0.032, 0.366, 0.497],
                                    [0.4, 0.1, 0.5, 0.9]]  # fmt: skip
    assert first.labels is not None
    assert [np.flatnonzero(row).tolist() for row in first.labels] == [[8, 79], [11], []]
    assert (bare.moment, other.moment) == (("-5KQ66BBWC4", 904.0), ("1j20qq1JyX4", 902.0))
    assert bare.labels is not None
    assert not bare.labels.any()
    assert (first.line, bare.line, other.line) == (1, 5, 6)


def test_the_same_box_at_other_seconds_is_another_box(tmp_path: Path) -> None:
    rows = "".join(f"v,{second},0.1,0.1,0.2,0.2,{second},0\n" for second in (3, 1, 2, 1))
    found = frames_of(written(tmp_path, "train.csv", rows))
    assert [frame.second for frame in found] == [1, 2, 3]
    assert [len(frame) for frame in found] == [1, 1, 1]


def test_detections_have_scores_and_are_clipped_to_the_picture(tmp_path: Path) -> None:
    rows = read_boxes(written(tmp_path, "ava_detection_val_boxes_and_labels.csv", DETECTED), detected=True)
    (frame,) = key_frames(rows, ("stand",))
    assert frame.labels is None
    assert frame.scores.tolist() == [0.995518, 0.41]
    assert frame.boxes[1].tolist() == [0.9, 0.15, 1, 0.81]


def test_a_list_of_ones_own_has_names_of_classes_and_fractions_of_seconds(tmp_path: Path) -> None:
    rows = read_boxes(written(tmp_path, "train.csv", OURS), detected=False)
    classes = class_names(rows, {})
    assert classes == ("sit", "stand", "wave")
    first, second = key_frames(rows, classes)
    assert first.moment == ("films/a.mp4", 1.5)
    assert first.labels is not None
    assert first.labels.tolist() == [[False, True, True], [False, False, False]]
    assert second.line == 4


def test_detections_of_ones_own_need_no_labels(tmp_path: Path) -> None:
    text = "video,second,x1,y1,x2,y2,score\nfilms/a.mp4,1.5,0.1,0.2,0.5,0.9,0.7\n"
    (frame,) = key_frames(read_boxes(written(tmp_path, "d.csv", text), detected=True), ("sit",))
    assert frame.scores.tolist() == [0.7]


def test_excluded_moments_have_no_key_frame(tmp_path: Path) -> None:
    excluded = read_excluded(written(tmp_path, "excluded.csv", "-5KQ66BBWC4,0902\n\n"))
    assert excluded == {("-5KQ66BBWC4", 902.0)}
    rows = read_boxes(written(tmp_path, "train.csv", TRUTH), detected=False)
    classes = tuple(map(str, range(1, 81)))
    left = [frame.moment for frame in key_frames(rows, classes, excluded)]
    assert left == [("-5KQ66BBWC4", 904.0), ("1j20qq1JyX4", 902.0)]
    assert read_excluded(written(tmp_path, "none.csv", "")) == frozenset()


def test_a_label_map_names_some_ids_and_gives_the_number_of_classes(tmp_path: Path) -> None:
    names = read_label_map(written(tmp_path, "map.pbtxt", MAP))
    assert names == {1: "bend/bow (at the waist)", 12: "stand", 80: "watch (a person)"}
    classes = class_names(read_boxes(written(tmp_path, "train.csv", TRUTH), detected=False), names)
    assert len(classes) == 80
    assert (classes[0], classes[1], classes[11], classes[79]) == (names[1], "2", "stand", names[80])


BAD_TRUTH = {
    "five columns": ("v,902,0.1,0.1,0.2", "1: expected the columns video, second, x1"),
    "nine columns": ("v,902,0.1,0.1,0.2,0.2,1,0,0.9", "1: expected the columns video"),
    "a header": ("video_id,middle,x1,y1,x2,y2,action,person", "1: expected a second"),
    "no video": (" ,902,0.1,0.1,0.2,0.2,1,0", "1: expected the name of a video"),
    "no second": ("v,9o2,0.1,0.1,0.2,0.2,1,0", "1: expected a second"),
    "before the beginning": ("v,-1,0.1,0.1,0.2,0.2,1,0", "1: expected a second from 0"),
    "no number": ("v,902,0.1,,0.2,0.2,1,0", "1: expected numbers for x1"),
    "an endless second": ("v,inf,0.1,0.1,0.2,0.2,1,0", "1: expected a second"),
    "an endless box": ("v,902,0.1,0.1,inf,0.2,1,0", "1: expected numbers for x1"),
    "not a number": ("v,902,0.1,nan,0.2,0.2,1,0", "1: expected numbers for x1"),
    "pixels": ("v,902,10,20,110,220,1,0", "1: expected x1, y1, x2, y2 as shares"),
    "negative": ("v,902,-0.5,0.1,0.2,0.2,1,0", "1: expected a box within"),
    "width and height": ("v,902,0.5,0.5,0.2,0.2,1,0", "1: expected x1 <= x2"),
    "an action's name": ("v,902,0.1,0.1,0.2,0.2,stand,0", "1: expected a whole number of an action"),
    "half an action": ("v,902,0.1,0.1,0.2,0.2,1.5,0", "1: expected a whole number of an action"),
    "action 0": ("v,902,0.1,0.1,0.2,0.2,0,0", "1: expected an action from 1 on"),
    "an action beyond": ("v,902,0.1,0.1,0.2,0.2,81,0", "1: an action beyond 80"),
    "a score": ("v,902,0.1,0.1,0.2,0.2,1,0.93", "1: expected a person's whole number"),
}


@pytest.mark.parametrize(("row", "said"), BAD_TRUTH.values(), ids=BAD_TRUTH.keys())
def test_a_bad_row_of_ground_truth_is_told_with_its_line(tmp_path: Path, row: str, said: str) -> None:
    good = "v,901,0.1,0.1,0.2,0.2,1,0\n"
    file = written(tmp_path, "train.csv", f"\ufeff\n{good}{row}\n{good}")
    with pytest.raises(DataError) as told:
        frames_of(file)
    assert str(told.value).startswith(f"{file}:3: {said.removeprefix('1: ')}")
    assert "\n" not in str(told.value)


BAD_OURS = {
    "no x2": ("video,second,x1,y1,y2,labels\n", "1: the header lacks x2"),
    "a column twice": (OURS.replace("labels", "labels,x1"), "1: the header names 'x1' twice"),
    "labels twice": (OURS.replace("labels", "labels,labels"), "1: the header names 'labels' twice"),
    "an open quote": (OURS + '"a.mp4,1,0.1,0.1,0.2,0.2,sit\n' + 9000 * OURS[OURS.index("films"):],
                      "5: expected 7 columns"),
    "an endless cell": (OURS + "a" * 200_000 + ",1,0.1,0.1,0.2,0.2,sit\n", "5: field larger than"),
    "a column more": (OURS + "a.mp4,1,0.1,0.1,0.2,0.2,sit,stand\n", "5: expected 7 columns"),
    "a header alone": ("video,second,x1,y1,x2,y2,labels\n\n", " has no rows"),
    "nothing": ("\n \n", " has no rows"),
    "a label of no class": (OURS.replace("sit", "fly"), "4: a label that is none of classes.txt"),
}


@pytest.mark.parametrize(("text", "said"), BAD_OURS.values(), ids=BAD_OURS.keys())
def test_a_bad_list_of_ones_own_is_told_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    file = written(tmp_path, "train.csv", text)
    with pytest.raises(DataError) as told:
        frames_of(file, ("sit", "stand", "wave"))
    assert str(told.value).startswith(f"{file}:{said}")


BAD_DETECTIONS = {
    "no score": ("v,902,0.1,0.1,0.2,0.2,", "expected the columns"),
    "an empty score": ("v,902,0.1,0.1,0.2,0.2,,", "expected a score"),
    "a person": ("v,902,0.1,0.1,0.2,0.2,12,7", "expected a score from 0 to 1"),
    "no number as a score": ("v,902,0.1,0.1,0.2,0.2,,nan", "expected a score from 0 to 1"),
    "per cent": ("v,902,0.1,0.1,0.2,0.2,,99.5", "expected a score from 0 to 1"),
    "a negative score": ("v,902,0.1,0.1,0.2,0.2,,-0.2", "expected a score from 0 to 1"),
}


@pytest.mark.parametrize(("row", "said"), BAD_DETECTIONS.values(), ids=BAD_DETECTIONS.keys())
def test_a_bad_detection_is_told_with_its_line(tmp_path: Path, row: str, said: str) -> None:
    file = written(tmp_path, "detected.csv", f"{DETECTED}{row}\n")
    with pytest.raises(DataError) as told:
        read_boxes(file, detected=True)
    assert str(told.value).startswith(f"{file}:3: {said}")


BAD_MAPS = {
    "no id": ('item { name: "a" }\n', "1: the item has no id"),
    "no name": ("\nitem {\n id: 1\n}\n", "2: the item has no name"),
    "an id twice": ('item { name: "a" id: 1 }\nitem { name: "b" id: 1 }\n', "2: the id 1 of 'b'"),
    "a name twice": ('item { name: "a" id: 1 }\nitem { name: "a" id: 2 }\n', "2: the name 'a'"),
    "id 0": ('item { name: "a" id: 0 }\n', "1: the id of 'a' must be a whole number from 1"),
    "an id in words": ('item { name: "a" id: one }\n', "1: the id of 'a' must be"),
    "no end": ('item { name: "a" id: 1\nitem { name: "b" id: 2 }\n', "1: the item does not end"),
    "no end at the end": ('item { name: "a" id: 1\n', "1: the item does not end"),
    "another text": ('item { name: "a" id: 1 }\n1 stand\n', "2: expected item"),
    "an unknown field": ('item { name: "a" id: 1 color: red }\n', "1: expected item"),
    "nothing": ("\n", " has no items"),
}


@pytest.mark.parametrize(("text", "said"), BAD_MAPS.values(), ids=BAD_MAPS.keys())
def test_a_bad_label_map_is_told_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    file = written(tmp_path, "actions.pbtxt", text)
    with pytest.raises(DataError) as told:
        read_label_map(file)
    assert str(told.value).startswith(f"{file}:{said}")


@pytest.mark.parametrize("row", ["v", "v,", ",902", "v,9o2", "v,-4", "v,nan", "v,902,1"])
def test_a_bad_exclusion_is_told_with_its_line(tmp_path: Path, row: str) -> None:
    file = written(tmp_path, "excluded.csv", f"v,902\n{row}\n")
    with pytest.raises(DataError, match=r"excluded\.csv:2: expected 'video,second', found "):
        read_excluded(file)


def test_what_is_no_text_or_without_labels_is_told(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_bytes(b"\xff\xfe\x00v")
    with pytest.raises(DataError, match="not UTF-8 text"):
        read_boxes(tmp_path / "train.csv", detected=False)
    bare = read_boxes(written(tmp_path, "bare.csv", "v,902,0.1,0.1,0.2,0.2,,\n"), detected=False)
    with pytest.raises(DataError, match="no box in it has a label"):
        class_names(bare, {})
