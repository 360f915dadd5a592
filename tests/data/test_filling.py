"""The cache of decoded frames of a machine: filled once by whoever comes first, with what can be decoded."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from expander.config.settings import DataConfig
from expander.data.filling import fill_cache
from expander.data.sources import open_data


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where decoded frames are kept in this test: empty at first."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "expander" / "frames"


def config_of(videos: Path, train: Path | None = None, gigabytes: float = 1.0) -> DataConfig:
    return DataConfig(train_ann=str(train or videos / "train.txt"), val_ann=str(videos / "val.txt"),
                      root=str(videos), allow_outside=True, cache_gb=gigabytes)  # fmt: skip


def filled(config: DataConfig) -> int:
    return fill_cache(open_data(config), config)


def kept(cached: Path) -> dict[str, int]:
    return {file.name: file.stat().st_ino for file in cached.glob("*/*.rgb")}


@pytest.mark.slow
def test_of_processes_that_ask_at_the_same_time_one_decodes(videos: Path, cached: Path) -> None:
    config = config_of(videos)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        decoded = list(pool.map(filled, [config] * 2))
    assert sorted(decoded) == [0, 72]
    before = kept(cached)
    assert len(before) == 72
    assert filled(config) == 0
    assert kept(cached) == before


def test_what_cannot_be_decoded_is_not_tried_by_every_trial(
    videos: Path, tmp_path: Path, cached: Path
) -> None:
    rows = (videos / "train.txt").read_text().splitlines()
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    listed = tmp_path / "train.txt"
    listed.write_text("\n".join([*rows[:-1], f"{tmp_path / 'broken.mp4'} {rows[-1].rsplit()[-1]}"]))
    config = config_of(videos, listed)
    assert filled(config) == 71
    (folder,) = (folder for folder in cached.iterdir() if folder.is_dir())
    assert (folder / "unreadable").read_text() == "1"
    assert filled(config) == 0
    next(folder.glob("*.rgb")).unlink()
    assert filled(config) == 1
    assert len(kept(cached)) == 71


def test_a_set_for_which_there_is_no_room_is_left_to_the_trials(videos: Path, cached: Path) -> None:
    """A video is 64 frames and more of 3 x 112 x 144 bytes: 72 of them are above 0.2 GB."""
    assert filled(config_of(videos, gigabytes=0.01)) == 0
    assert filled(config_of(videos, gigabytes=0)) == 0
    assert kept(cached) == {}
