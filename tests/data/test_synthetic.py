"""The embedded data set as files: the same for the same seed, sound, listed, made once."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from absent import NO_DECORD

from expander.data.embedded.figures import CLASSES, FPS, render
from expander.data.embedded.making import MANIFEST, verify
from expander.data.embedded.synthetic import SetConfig, ensure, make

TINY = SetConfig(classes=CLASSES[:3], train=2, val=1, frames=12, height=64, width=80)


def _hashes(root: Path) -> dict[str, str]:
    files = json.loads((root / MANIFEST).read_text())["files"]
    return {name: entry["sha256"] for name, entry in files.items()}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("made") / "set", TINY, seed=0, workers=1)


def test_same_seed_and_other_number_of_workers_give_the_same_files(
    tiny: Path, tmp_path: Path
) -> None:
    again = make(tmp_path / "again", TINY, seed=0, workers=2)
    assert _hashes(again) == _hashes(tiny)


def test_another_seed_gives_other_pixels_in_every_video(tiny: Path, tmp_path: Path) -> None:
    first, other = _hashes(tiny), _hashes(make(tmp_path / "other", TINY, seed=1, workers=1))
    videos = [name for name in first if name.endswith(".mp4")]
    assert len(videos) == 9
    assert not {first[name] for name in videos} & {other[name] for name in videos}


def test_no_two_videos_of_a_set_are_the_same(tiny: Path) -> None:
    hashes = _hashes(tiny)
    assert len(set(hashes.values())) == len(hashes)


def test_decord_reads_the_frames_that_were_rendered(tiny: Path) -> None:
    decord = pytest.importorskip("decord", reason=NO_DECORD)
    row = (tiny / "val.txt").read_text().splitlines()[2]
    name, label = row.rsplit(" ", 1)
    reader = decord.VideoReader(os.fspath(tiny / name))
    read = reader.get_batch(range(len(reader))).asnumpy()
    drawn = render(CLASSES[int(label)], np.random.default_rng([0, 1, int(label), 0]), 12, 64, 80)
    assert read.shape == drawn.shape == (12, 64, 80, 3)
    assert reader.get_avg_fps() == FPS
    error = np.abs(read.astype(np.int16) - drawn).mean(axis=(1, 2, 3))
    other = np.abs(read.astype(np.int16) - drawn[::-1]).mean(axis=(1, 2, 3))
    assert error.max() < 12  # grey levels; the colours are halved in resolution by yuv420p
    assert error.mean() < other.mean()


def test_lists_name_every_video_once_with_the_label_of_its_folder(tiny: Path) -> None:
    names = (tiny / "classes.txt").read_text().splitlines()
    assert names == list(TINY.classes)
    listed = []
    for split, count in (("train", 2), ("val", 1)):
        rows = [row.rsplit(" ", 1) for row in (tiny / f"{split}.txt").read_text().splitlines()]
        assert [int(label) for _, label in rows] == sorted([*range(3)] * count)
        assert all(Path(path).parent.name == names[int(label)] for path, label in rows)
        listed += [tiny / path for path, _ in rows]
    assert sorted(listed) == sorted(tiny.rglob("*.mp4"))


def test_progress_counts_every_video(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    make(tmp_path / "set", TINY, workers=1, progress=lambda *done: seen.append(done))
    assert seen == [(number, 9) for number in range(1, 10)]


def test_verify_finds_a_flipped_bit_and_a_missing_file(tmp_path: Path) -> None:
    root = make(tmp_path / "set", TINY, workers=1)
    assert verify(root) == []
    flipped, missing = sorted(root.rglob("*.mp4"))[:2]
    data = bytearray(flipped.read_bytes())
    data[-1] ^= 1
    flipped.write_bytes(data)
    missing.unlink()
    problems = verify(root)
    assert len(problems) == 2
    assert any(flipped.name in problem and "sha256" in problem for problem in problems)
    assert any(missing.name in problem and "missing" in problem for problem in problems)
    assert len(verify(root, checksums=False)) == 1


def test_verify_of_a_folder_without_a_manifest_is_a_problem(tmp_path: Path) -> None:
    assert verify(tmp_path)


def test_make_refuses_a_folder_with_files_and_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine.txt").write_text("keep")
    with pytest.raises(FileExistsError, match="not an empty folder"):
        make(tmp_path / "set", TINY, workers=1)
    assert [path.name for path in tmp_path.rglob("*")] == ["set", "mine.txt"]


def test_ensure_makes_once_and_makes_a_damaged_set_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[int] = []

    def count(done: int, _: int) -> None:
        calls.append(done)

    root = ensure(tmp_path, TINY, workers=1, progress=count)
    assert ensure(tmp_path, TINY, workers=1, progress=count) == root
    assert len(calls) == 9
    next(root.rglob("*.mp4")).write_bytes(b"cut")
    with caplog.at_level(logging.WARNING):
        assert ensure(tmp_path, TINY, workers=1, progress=count) == root
    assert len(calls) == 18
    assert "made again" in caplog.text
    assert verify(root) == []
    assert [path.name for path in tmp_path.iterdir()] == [root.name]


def test_ensure_keeps_the_set_of_a_process_that_was_faster(tmp_path: Path) -> None:
    done: list[Path] = []

    def race(number: int, _: int) -> None:
        if number == 1:
            done.append(ensure(tmp_path, TINY, workers=1))

    assert ensure(tmp_path, TINY, workers=1, progress=race) == done[0]
    assert verify(done[0]) == []
    assert [path.name for path in tmp_path.iterdir()] == [done[0].name]


def test_other_settings_or_seeds_are_other_folders(tmp_path: Path) -> None:
    short = replace(TINY, frames=2, train=1)
    roots = {ensure(tmp_path, short, 0, 1), ensure(tmp_path, short, 1, 1)}
    roots.add(ensure(tmp_path, replace(short, height=32), 0, 1))
    assert len(roots) == 3
