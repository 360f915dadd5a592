"""The embedded data set: same pixels for the same seed, sound files, labels hidden in time."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from absent import NO_DECORD
from numpy.typing import NDArray

from expander.data.embedded.scenes import CLASSES, LIGHTS, NONE, PAIRS, ClassProgram, Video, render
from expander.data.embedded.synthetic import FPS, MANIFEST, SetConfig, ensure, make, verify

TINY = SetConfig(classes=CLASSES[:3], train=2, val=1, frames=12, height=64, width=80)
PROGRAMS = {program.name: program for program in CLASSES}


def _hashes(root: Path) -> dict[str, str]:
    files = json.loads((root / MANIFEST).read_text())["files"]
    return {name: entry["sha256"] for name, entry in files.items()}


def _clean(program: ClassProgram, seed: int, frames: int = 24) -> Video:
    """A video of the class without distractors, shake and noise."""
    return render(program, np.random.default_rng(seed), frames, 112, 144, NONE)


def _changed(video: Video) -> NDArray[np.bool_]:
    """(T - 1, H, W): where a frame differs clearly from the one before."""
    difference = np.diff(video.astype(np.int16), axis=0)
    changed: NDArray[np.bool_] = np.abs(difference).max(axis=3) > 8
    return changed


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
    assert names == [program.name for program in TINY.classes]
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


@pytest.mark.parametrize(("name", "sign"), [("posts-up", -1), ("posts-down", 1)])
def test_a_moving_class_moves_its_way_and_nothing_else_does(name: str, sign: int) -> None:
    for seed in range(6):
        changed = _changed(_clean(PROGRAMS[name], seed))
        rows = np.arange(changed.shape[1])
        centre = (changed.sum(axis=2) * rows).sum(axis=1) / changed.sum(axis=(1, 2))
        steps = np.diff(centre)
        # Wrapping from one edge to the other is a few steps the wrong way.
        assert np.mean(np.sign(steps) == sign) > 0.6
        assert sign * np.median(steps) > 1
    assert not _changed(_clean(PROGRAMS["combs-steady"], 0)).any()


@pytest.mark.parametrize(
    ("name", "period"), [("checks-flickering", 16), ("combs-blinking", 32), ("bars-blinking", 48)]
)
def test_a_flickering_class_repeats_after_its_period_and_changes_after_half(
    name: str, period: int
) -> None:
    video = _clean(PROGRAMS[name], 3, frames=2 * period).mean(axis=(1, 2, 3))
    assert np.allclose(video[:period], video[period:])
    assert np.all(np.abs(video[: period // 2] - video[period // 2 : period]) > 1)


@pytest.mark.parametrize("texture", ["diamonds", "hexagons"])
def test_brightening_and_dimming_are_told_by_the_order_of_frames_only(texture: str) -> None:
    bright, dim = PROGRAMS[f"{texture}-brightening"], PROGRAMS[f"{texture}-dimming"]
    assert bright.light
    assert dim.light
    assert bright.light.states == dim.light.states[::-1] == tuple(range(len(LIGHTS)))
    for program, sign in ((bright, 1), (dim, -1)):
        steps = np.diff(_clean(program, 1, frames=60).mean(axis=(1, 2, 3)))
        assert np.mean(np.sign(steps[np.abs(steps) > 0.01]) == sign) > 0.7


def test_the_mean_colour_of_a_frame_does_not_give_a_class_away() -> None:
    def colours(split: int, count: int) -> NDArray[np.float64]:
        rngs = [[np.random.default_rng([split, c, i]) for i in range(count)] for c in range(24)]
        frames = [[render(CLASSES[c], rng, 1, 112, 144)[0] for rng in rngs[c]] for c in range(24)]
        average: NDArray[np.float64] = np.asarray(frames).mean(axis=(2, 3), dtype=np.float64)
        return average

    means = colours(0, 24).mean(axis=1)
    tested = colours(1, 24)
    nearest = np.linalg.norm(tested[:, :, None] - means, axis=3).argmin(axis=2)
    accuracy = np.mean(nearest == np.arange(24)[:, None])
    assert accuracy < 0.14  # chance is 1/24; 576 frames: four standard deviations are 0.03


def test_two_classes_of_a_texture_share_all_that_one_frame_shows() -> None:
    for program, partner in zip(PAIRS[::2], PAIRS[1::2], strict=True):
        assert (program.texture, program.period) == (partner.texture, partner.period)
        assert (program.light is None) == (partner.light is None)
        if program.light and partner.light:
            assert set(program.light.states) == set(partner.light.states)
