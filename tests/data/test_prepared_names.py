"""Prepared sets whose splits have equal names in them, and whose own files are damaged."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import pytest
from conftest import Run
from films import film
from test_prepared import OPTIONS, Prepare, last, prepare

from expander.data.prepared import manifest
from expander.errors import DataError

__all__ = ["prepare"]


@pytest.mark.parametrize("layout", ["class folders", "two roots"])
def test_equal_names_of_two_splits_are_two_videos(expander: Run, tmp_path: Path, layout: str) -> None:
    for number, split in enumerate(("train", "val")):
        for label in "ab":
            film(tmp_path / "d" / split / label / "1.mp4", 12 + number, size=(96, 128))
        (tmp_path / f"{split}.txt").write_text("a/1.mp4 0\nb/1.mp4 1\n")
    lists = ("--train-ann", "train.txt", "--train-root", "d/train",
             "--val-ann", "val.txt", "--val-root", "d/val")  # fmt: skip
    given = ("d",) if layout == "class folders" else lists
    done = expander("data", "prepare", *given, "--out", "out", *OPTIONS)
    assert done.returncode == 0, done.stderr
    table = manifest.read(tmp_path / "out")
    assert table["path"].nunique() == 4
    assert table["frames"].tolist() == [12, 12, 13, 13]
    again = expander("data", "prepare", *given, "--out", "out", *OPTIONS)
    assert again.returncode == 0, again.stderr


def test_a_damaged_manifest_is_told_in_one_line(prepare: Prepare, tmp_path: Path) -> None:
    assert prepare().returncode == 0
    file = tmp_path / "out" / manifest.NAME
    whole, rng = file.read_bytes(), random.Random(0)
    for _ in range(60):
        place = rng.randrange(len(whole))
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << rng.randrange(8)]) + whole[place + 1 :])
        with contextlib.suppress(DataError):
            list(manifest.read_outcomes(tmp_path / "out"))
            manifest.read(tmp_path / "out")


@pytest.mark.parametrize("text", ["[]", "5", '"x"', "{", "\udcff"])
def test_settings_that_are_no_settings_are_told_in_one_line(
    prepare: Prepare, tmp_path: Path, text: str
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / manifest.SETTINGS).write_text(text, errors="surrogateescape")
    done = prepare()
    assert done.returncode == 3, done.stderr
    assert f"out/{manifest.SETTINGS}: cannot be read: " in last(done)
