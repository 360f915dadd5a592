"""Jumping with PyAV within videos that are stored as they are shown: the frames of the other readers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from films import copied, film, numbers

from expander.video.decoder import Decoder
from expander.video.jumping import DecordReader, JumpingReader, opened
from expander.video.probe import SHORT_GROUPS, Verdict, examine
from expander.video.readers import AvReader

SHOWN = {"bf": "0"}
CASES: dict[str, dict[str, Any]] = {
    "short groups.mp4": {"options": {"bf": "0", "g": "8"}},
    "one group.mp4": {"options": {"bf": "0", "g": "250"}},
    "key frames.mov": {"options": {"bf": "0", "g": "1"}},
    "several references.mp4": {"options": {"bf": "0", "g": "25", "refs": "4"}},
}


@pytest.mark.parametrize("name", CASES)
def test_any_frames_in_any_order_are_those_of_decord_and_of_a_whole_pass(tmp_path: Path, name: str) -> None:
    path = film(tmp_path / name, 60, **CASES[name])
    reader = JumpingReader.of(path)
    assert reader is not None
    whole, decord = AvReader(path), DecordReader(path)
    assert (reader.length, reader.fps, reader.shape) == (60, whole.fps, (64, 96))
    assert decord.fps == reader.fps
    rng = np.random.default_rng(0)
    for count in (1, 1, 1, 2, 5, 16, 60):
        wanted = np.sort(rng.choice(60, count, replace=False))
        frames = reader.gather(wanted)
        assert numbers(frames) == wanted.tolist()
        assert np.array_equal(frames, whole.gather(wanted))
        assert np.array_equal(frames, decord.gather(wanted))


def test_it_is_for_videos_that_are_stored_as_they_are_shown_and_evenly(tmp_path: Path) -> None:
    others: dict[str, dict[str, Any]] = {
        "reordered.mp4": {"options": {"bf": "2"}},
        "matroska.mkv": {"options": SHOWN},
        "hevc.mp4": {"codec": "libx265", "options": {"x265-params": "log-level=none:bframes=0"}},
        "uneven.mp4": {"options": SHOWN, "times": [n * n for n in range(40)]},
    }
    for name, settings in others.items():
        path = film(tmp_path / name, 40, **settings)
        assert JumpingReader.of(path) is None, name
        assert isinstance(opened(path, Verdict("decord"), lambda _: None)[0], DecordReader)


def test_times_that_do_not_fit_the_index_are_read_from_the_start(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mp4", 40, options={"bf": "0", "g": "8"})

    def later(number: int, packet: Any) -> bool:
        packet.pts += packet.duration * (number % 2)
        return True

    path = copied(source, tmp_path / "b.mp4", later)
    reader = JumpingReader.of(path)
    assert reader is not None
    assert numbers(reader.gather(np.array([5, 30]))) == numbers(AvReader(path).gather(np.array([5, 30])))


def test_the_decoder_takes_it_for_files_that_are_proved_alone(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", 40, options={"bf": "0", "g": "8"})
    assert examine(path) == Verdict("decord", SHORT_GROUPS)
    long = film(tmp_path / "long.mp4", 40, options={"bf": "0", "g": "20"})  # in which decord is quicker
    assert isinstance(opened(long, examine(long), lambda _: None)[0], DecordReader)
    assert isinstance(opened(path, examine(path), lambda _: None)[0], JumpingReader)
    assert isinstance(opened(path, Verdict("pyav", "turned"), lambda _: None)[0], AvReader)
    assert numbers(Decoder().read(path, lambda _: np.array([39, 3, 3, 17]))) == [39, 3, 3, 17]
