"""Films that decord opens and cannot decode are read with PyAV; a message names the file that failed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from absent import needs_decord
from films import film
from numpy.typing import NDArray

from expander.config.settings import DataConfig
from expander.data.annotations import VideoData, VideoList
from expander.data.sources import source_limits
from expander.errors import DataError
from expander.video.decoder import Decoder

WIDTHS = (16, 24, 32, 48, 72, 96)


def stripes(number: int, height: int, width: int) -> NDArray[np.uint8]:
    """(H, W, 3): as bright as its number says."""
    return np.full((height, width, 3), 20 + 10 * number, np.uint8)


@pytest.mark.parametrize("width", WIDTHS)
def test_narrow_films_are_read(tmp_path: Path, width: int) -> None:
    path = film(tmp_path / "n.mp4", 20, size=(64, width), draw=stripes)
    found = Decoder().read(path, np.arange)
    assert found.shape == (20, 64, width, 3)
    assert np.abs(found.mean((1, 2, 3)) - (20 + 10 * np.arange(20))).max() < 4


@needs_decord
def test_that_decord_cannot_read_a_film_is_remembered(tmp_path: Path) -> None:
    path = film(tmp_path / "n.mp4", 20, size=(64, 16), draw=stripes)
    decoder = Decoder(verdicts=tmp_path / "verdicts.jsonl")
    assert decoder.examine(path).route == "decord"  # by its packets nothing is wrong with it
    decoder.open(path)
    again = Decoder(verdicts=tmp_path / "verdicts.jsonl").examine(path)
    assert (again.route, again.reason) == ("pyav", "decord cannot read it")


def test_the_film_that_failed_is_named_not_another(tmp_path: Path) -> None:
    names = [f"{number}.mp4" for number in range(300)]
    for name in names:
        (tmp_path / name).write_bytes(b"no film")
    videos = VideoList([tmp_path / name for name in names], tuple(number % 2 for number in range(300)))
    with pytest.raises(DataError, match="none of 100 training videos") as caught:
        source_limits(VideoData(videos, videos, ("a", "b"), "f" * 64), DataConfig(cache_gb=0))
    first = np.random.default_rng(0).choice(300, 100, replace=False)[0]
    assert f"/{first}.mp4: cannot be opened" in str(caught.value)
