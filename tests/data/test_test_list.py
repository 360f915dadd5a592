"""The videos of a test: whose classes they have, and which of them are there."""

from __future__ import annotations

from pathlib import Path

import pytest

from expander.config.settings import DataConfig
from expander.data.test_list import open_held_out
from expander.errors import DataError


def listed(folder: Path, text: str) -> DataConfig:
    (folder / "v.mp4").write_bytes(b"")
    (folder / "val.csv").write_text(text)
    return DataConfig(train_ann=str(folder / "val.csv"), val_ann=str(folder / "val.csv"), root=str(folder))


def test_classes_are_matched_by_name_where_both_have_names(tmp_path: Path) -> None:
    config = listed(tmp_path, "path,label,class,split\nv.mp4,0,run,val\nw.mp4,1,sit,val\n")
    assert open_held_out(config, ("sit", "jump", "run")).videos.labels == (2, 0)
    assert open_held_out(config, ("0", "1")).videos.labels == (0, 1)
    with pytest.raises(DataError, match="class 'run' is none of the checkpoint's 2"):
        open_held_out(config, ("sit", "jump"))
    with pytest.raises(DataError, match="2 classes; the checkpoint has 3"):
        open_held_out(config, ("0", "1", "2"))


def test_a_label_beyond_the_checkpoints_classes_is_told_with_its_line(tmp_path: Path) -> None:
    config = listed(tmp_path, "v.mp4 0\nw.mp4 2\n")
    with pytest.raises(DataError, match=r"val\.csv:2: its label is beyond the 2 classes"):
        open_held_out(config, ("a", "b"))


def test_training_videos_need_not_be_there(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("t.mp4 0\nu.mp4 1\n")
    (tmp_path / "val.txt").write_text("v.mp4 1\n")
    (tmp_path / "v.mp4").write_bytes(b"")
    assert open_held_out(DataConfig(folder=str(tmp_path)), ("a", "b")).videos.labels == (1,)


def test_listed_videos_of_kinetics_without_a_file_are_failures(tmp_path: Path) -> None:
    text = "label,youtube_id,time_start,time_end,split\nrun,v,0,10,validate\nsit,gone,1,2,validate\n"
    (tmp_path / "val.csv").write_text(text)
    (tmp_path / "v_000000_000010.mp4").write_bytes(b"")
    file = str(tmp_path / "val.csv")
    found = open_held_out(DataConfig(train_ann=file, val_ann=file, root=str(tmp_path)), ("run", "sit"))
    assert found.names == ("v_000000_000010.mp4",)
    assert found.lost == ("gone_000001_000002",)
