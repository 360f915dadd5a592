"""Lists of several labels a video: Charades' own CSV, SlowFast's lists of its frames, and plain rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Run
from films import film

from expander.config.settings import DataConfig
from expander.data.annotations import VideoData, numbers_of
from expander.data.format_detection import read_rows
from expander.data.multi_label import CHARADES_CLASSES
from expander.data.prepared import manifest
from expander.data.sources import open_data
from expander.errors import DataError

CHARADES = "id,subject,script,actions,length\n"
FRAMES = "original_vido_id video_id frame_id path labels\n"


def written(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text)
    return file


def test_a_charades_video_has_each_class_of_its_actions_once(tmp_path: Path) -> None:
    file = written(tmp_path, "Charades_v1_train.csv", f"{CHARADES}"
                   '46GP8,A,"Sits, then eats",c092 11.90 21.20;c147 0.00 12.60;c092 22.0 30.0,24.8\n'
                   "N11GT,B,Stands,,18.3\n"
                   "YSE2G,C,Runs,c000 0.00 5.25,10\n")  # fmt: skip
    rows = read_rows(file)
    assert (rows.form, rows.multi_label) == ("charades", True)
    assert rows.table["path"].tolist() == ["46GP8", "N11GT", "YSE2G"]
    assert rows.table["label"].tolist() == [(92, 147), (), (0,)]
    assert rows.classes[:2] == ("c000", "c001")
    names = "".join(f"c{number:03d} Doing {number}\n" for number in range(CHARADES_CLASSES))
    written(tmp_path, "Charades_v1_classes.txt", names)
    named = read_rows(file).classes
    assert (len(named), named[0], named[156]) == (157, "Doing 0", "Doing 156")


def test_charades_videos_are_found_by_their_ids_and_lost_ones_left_out(tmp_path: Path) -> None:
    for name in ("46GP8", "YSE2G", "VAL01"):
        (tmp_path / f"{name}.mp4").touch()
    train = written(tmp_path, "train.csv", f"{CHARADES}46GP8,,,c001 0 1;c002 0 1,\nLOST0,,,c003 0 1,\n"
                    "YSE2G,,,c002 0 1,\n")  # fmt: skip
    val = written(tmp_path, "val.csv", f"{CHARADES}VAL01,,,c002 0 1;c001 0 1,\n")
    data = open_data(DataConfig(train_ann=str(train), val_ann=str(val), root=str(tmp_path)))
    assert [path.name for path in data.train.paths] == ["46GP8.mp4", "YSE2G.mp4"]
    assert (data.train.labels, data.val.labels) == (((1, 2), (2,)), ((1, 2),))
    assert len(data.classes) == CHARADES_CLASSES


def test_a_video_of_frames_has_the_labels_of_all_of_them(tmp_path: Path) -> None:
    file = written(tmp_path, "train.csv", f"{FRAMES}"
                   '001YG 0 0 001YG/001YG-000001.jpg ""\n'
                   '001YG 0 1 001YG/001YG-000002.jpg "11,152"\n'
                   '\n004QE 1 0 "odd name/000001.jpg" 3\n'
                   '001YG 0 2 001YG/001YG-000003.jpg "7,11"\n'
                   '00607 2 0 00607/00607-000001.jpg ""\n')  # fmt: skip
    rows = read_rows(file)
    assert (rows.form, rows.multi_label) == ("charades_frames", True)
    assert rows.table["path"].tolist() == ["001YG", "odd name", "00607"]
    assert rows.table["label"].tolist() == [(7, 11, 152), (3,), ()]
    assert rows.table["frames"].tolist() == [3, 1, 1]
    assert rows.table["line"].tolist() == [2, 5, 7]


def test_a_list_whose_rows_differ_in_their_number_of_labels_is_one_of_several(tmp_path: Path) -> None:
    file = written(tmp_path, "train.txt", "a b.mp4 3 1\nc.mp4\nd.mp4,0,3,0\n\ne.mp4 2\n")
    rows = read_rows(file)
    assert (rows.form, rows.multi_label) == ("multilabel", True)
    assert rows.table["path"].tolist() == ["a b.mp4", "c.mp4", "d.mp4", "e.mp4"]
    assert rows.table["label"].tolist() == [(1, 3), (), (0, 3), (2,)]
    assert rows.table["line"].tolist() == [1, 2, 3, 5]


def test_the_labels_of_a_row_are_the_numbers_at_its_end(tmp_path: Path) -> None:
    """Also of a row of a hundred thousand of them, and of one that ends in a name after all."""
    many = " 1" * 100_000
    file = written(tmp_path, "train.txt", f"3 4\na 5 b,0,,\t2\nc 12345678\nd.mp4{many}\ne{many}f 6\n")
    table = read_rows(file, "multilabel").table
    assert table["path"].tolist() == ["3", "a 5 b", "c 12345678", "d.mp4", f"e{many}f"]
    assert table["label"].tolist() == [(4,), (0, 2), (), (1,), (6,)]


GOOD = "46GP8,,,c001 0 1,\n"
FAULTS = {
    "an action without its times": ("charades", f"{CHARADES}{GOOD}a,,,c092,\n", ":3: expected a row 'id"),
    "a class that Charades has not": ("charades", f"{CHARADES}a,,,c157 0 1,\n", ":2: expected a row 'id"),
    "a time that is no number": ("charades", f"{CHARADES}{GOOD}a,,,c001 1.2.3 4,\n", ":3: expected a row"),
    "a row without an id": ("charades", f"{CHARADES}{GOOD}{GOOD},,,c001 0 1,\n", ":4: expected a row"),
    "more columns than the header": ("charades", f"{CHARADES}a,b,c,c001 0 1,3,4\n", ":2: it has more col"),
    "a header without actions": ("charades", "id,subject\na,b\n", ":1: the header lacks actions"),
    "a frame without labels": ("charades_frames", f"{FRAMES}a 0 0 a/1.jpg 3\na 0 1 a/2.jpg\n",
                               ":3: expected 'video number index folder/frame.jpg"),
    "a frame outside of a folder": ("charades_frames", f'{FRAMES}a 0 0 1.jpg "3"\n', ":2: expected 'video"),
    "labels that are words": ("charades_frames", f'{FRAMES}a 0 0 a/1.jpg "run"\n', ":2: expected 'video"),
    "a label of 5000 digits": ("charades_frames", f"{FRAMES}a 0 0 a/1.jpg {'9' * 5000}\n", ":2: expected"),
    "a path of a megabyte": ("charades_frames", f"{FRAMES}a 0 0 {'a/' * 500_000} 1\n", ":2: expected"),
    "a quote that is not closed": ("charades_frames", f'{FRAMES}a 0 0 a/1.jpg "1,\n2" 0 1 a/2.jpg "1"\n',
                                   ":2: expected"),
    "a header of another list": ("charades_frames", 'a 0 0 a/1.jpg ""\n', ":1: expected the header"),
    "an empty number": ("expander", "path,labels,classes,split\na.mp4,0;;1,x;;y,train\n", ":2: expected"),
    "more numbers than names": ("expander", "path,labels,classes,split\na.mp4,,,val\nb.mp4,0;1,x,val\n",
                                ":3: expected path,number;number"),
    "a split of its own": ("expander", "path,labels,classes,split\na.mp4,0,x,tests\n", ":2: expected path"),
    "a row of numbers alone": ("multilabel", "a.mp4 1 2\n, 3\n", ":2: expected 'path label label …'"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_faulty_row_is_told_with_its_file_and_line(tmp_path: Path, name: str) -> None:
    form, text, said = FAULTS[name]
    file = written(tmp_path, "list.txt", text)
    with pytest.raises(DataError) as told:
        read_rows(file, form)
    assert str(told.value).startswith(f"{file}{said}")


def test_names_of_classes_in_another_order_are_told_with_their_line(tmp_path: Path) -> None:
    names = [f"c{number:03d} Doing {number}" for number in range(CHARADES_CLASSES)]
    names[4], names[5] = names[5], names[4]
    classes = written(tmp_path, "Charades_v1_classes.txt", "\n".join(names))
    file = written(tmp_path, "train.csv", f"{CHARADES}{GOOD}")
    with pytest.raises(DataError) as told:
        read_rows(file)
    assert str(told.value).startswith(f"{classes}:5: expected the classes c000 to c156 in order")
    written(tmp_path, "Charades_v1_classes.txt", "".join(f"{name}\n" for name in sorted(names)[:-1]))
    with pytest.raises(DataError, match="156 classes, Charades has 157"):
        read_rows(file)


def test_labels_beyond_the_classes_or_of_one_list_alone_are_told(tmp_path: Path) -> None:
    for name in "abcd":
        (tmp_path / f"{name}.mp4").touch()
    written(tmp_path, "classes.txt", "x\ny\n")
    config = DataConfig(train_ann=str(tmp_path / "train.txt"), val_ann=str(tmp_path / "val.txt"),
                        root=str(tmp_path))  # fmt: skip
    written(tmp_path, "train.txt", "a.mp4 0 1\nb.mp4\n")
    written(tmp_path, "val.txt", "c.mp4\nd.mp4 0 1 2\n")
    with pytest.raises(DataError, match=r"val\.txt:2: its label is beyond the 2 classes"):
        open_data(config)
    written(tmp_path, "val.txt", "c.mp4 0\nd.mp4 1\n")
    with pytest.raises(DataError, match=r"val\.txt: it has one label a video and .*train\.txt several"):
        open_data(config)
    several = replace(config, ann_format="multilabel")
    assert open_data(several).val.labels == ((0,), (1,))
    written(tmp_path, "val.txt", "c.mp4\nd.mp4\n")
    with pytest.raises(DataError, match=r"val\.txt: none of its videos has a label"):
        open_data(several)


def described(data: VideoData) -> list[tuple[Path, list[str]]]:
    """Where each video is, and the names of its classes."""
    return [(path.resolve(), [data.classes[number] for number in numbers_of(label)])
            for videos in (data.train, data.val)
            for path, label in zip(videos.paths, videos.labels, strict=True)]  # fmt: skip


LABELS = {
    "any number": ("a.mp4 0 2\nb.mp4\n", "c.mp4 2\nd.mp4 0 2\n"),
    "one each": ("a.mp4 0\nb.mp4 2\n", "c.mp4 2\nd.mp4 0\n"),
    "two each": ("a.mp4 0 1\nb.mp4 1 2\n", "c.mp4 1 2\nd.mp4 0 1\n"),
}  # fmt: skip
"""Lists, and their second and third would be taken for others but for the header of the index."""


@pytest.mark.parametrize("name", LABELS)
def test_an_index_of_several_labels_is_the_same_data_set(tmp_path: Path, expander: Run, name: str) -> None:
    for stem in "abcd":
        (tmp_path / f"{stem}.mp4").touch()
    for split, text in zip(("train", "val"), LABELS[name], strict=True):
        written(tmp_path, f"{split}.txt", text)
    written(tmp_path, "classes.txt", "red, dark\nblue\ngreen\n")
    done = expander("data", "index", ".", "--ann-format", "multilabel", "--out", "index/ours.csv")
    assert done.returncode == 0, done.stderr
    before = open_data(DataConfig(folder=str(tmp_path), ann_format="multilabel"))
    index = tmp_path / "index"
    config = DataConfig(folder=str(index / "ours.csv"), root=str(index), allow_outside=True)
    again = open_data(config)
    assert (again.form, again.multi_label) == ("expander", True)
    assert (again.train.labels, again.val.labels) == (before.train.labels, before.val.labels)
    assert described(again) == described(before)
    written(tmp_path, "classes.txt", "red;dark\nblue\ngreen\n")
    refused = expander("data", "index", ".", "--ann-format", "multilabel", "--out", "index/ours.csv")
    assert refused.returncode == 2
    assert "class 'red;dark': the index joins the names of several classes by semicolons" in refused.stderr


@pytest.mark.parametrize("name", LABELS)
def test_prepared_videos_of_several_labels_are_the_same_data_set(
    tmp_path: Path, expander: Run, name: str
) -> None:
    root = tmp_path / "films"
    for number, stem in enumerate("abcd"):
        film(root / f"{stem}.mp4", 8 + number, size=(64, 96))
    for split, text in zip(("train", "val"), LABELS[name], strict=True):
        written(root, f"{split}.txt", text)
    written(root, "classes.txt", "red\nblue\ngreen\n")
    prepare = ["data", "prepare", "films", "--out", "out", "--short-side", "48", "--workers", "1",
               "--ann-format", "multilabel"]  # fmt: skip
    assert expander(*prepare).returncode == 0
    before = open_data(DataConfig(folder=str(root), ann_format="multilabel"))
    out = tmp_path / "out"
    again = open_data(DataConfig(folder=str(out)))
    assert (again.multi_label, again.classes) == (True, before.classes)
    assert (again.train.labels, again.val.labels) == (before.train.labels, before.val.labels)
    rows = manifest.read(out).to_dict("records")
    listed = [line.partition(" ") for text in LABELS[name] for line in text.splitlines()]
    assert [(row["source"], row["label"]) for row in rows] == [(path, labels) for path, _, labels in listed]
    assert all((out / row["path"]).stat().st_size == row["bytes"] for row in rows)
    files = {path: path.read_bytes() for path in out.rglob("*") if path.is_file() and path.name != ".lock"}
    assert expander(*prepare).returncode == 0  # nothing is done twice
    assert {path: path.read_bytes() for path in files} == files
    refused = expander(*prepare, "--shards")
    assert refused.returncode == 2
    assert "--shards: samples of shards have one label, and these videos several" in refused.stderr
