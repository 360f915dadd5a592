"""Films that decord opens and cannot decode are read with PyAV; a message names the file that failed."""

from __future__ import annotations

from pathlib import Path

import av
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
PLAIN = {"bf": "0"}
"""Frames in order, which nothing keeps from decord but that it cannot."""


def stripes(number: int, height: int, width: int) -> NDArray[np.uint8]:
    """(H, W, 3): as bright as its number says."""
    return np.full((height, width, 3), 20 + 10 * number, np.uint8)


@pytest.mark.parametrize("width", WIDTHS)
def test_narrow_films_are_read(tmp_path: Path, width: int) -> None:
    path = film(tmp_path / "n.mp4", 20, size=(64, width), draw=stripes, options=PLAIN)
    found = Decoder().read(path, np.arange)
    assert found.shape == (20, 64, width, 3)
    assert np.abs(found.mean((1, 2, 3)) - (20 + 10 * np.arange(20))).max() < 4


@needs_decord
def test_that_decord_cannot_read_a_film_is_remembered(tmp_path: Path) -> None:
    """With B-frames: without them PyAV jumps, and reads it."""
    noise = np.random.default_rng(0).integers(0, 255, (64, 16, 3), np.uint8)
    path = film(tmp_path / "n.mp4", 20, size=(64, 16), options={"bf": "2", "b_strategy": "0"},
                draw=lambda number, *_: np.roll(noise, number, 0))  # fmt: skip
    decoder = Decoder(verdicts=tmp_path / "verdicts.jsonl")
    assert decoder.examine(path).route == "decord"  # by its packets nothing is wrong with it
    decoder.open(path)
    again = Decoder(verdicts=tmp_path / "verdicts.jsonl").examine(path)
    assert (again.route, again.reason) == ("pyav", "decord cannot read it")


def test_the_picture_that_failed_is_named(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "img_00001.jpg"), "w", format="image2") as container:
        stream = container.add_stream("mjpeg", rate=1)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuvj420p"
        container.mux(stream.encode(av.VideoFrame(32, 32, "yuvj420p")))
    (tmp_path / "img_00002.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r": img_00002\.jpg cannot be (opened|decoded)"):
        Decoder().read(tmp_path, np.arange)


def test_the_film_that_failed_is_named_not_another(tmp_path: Path) -> None:
    names = [f"{number}.mp4" for number in range(300)]
    for name in names:
        (tmp_path / name).write_bytes(b"no film")
    videos = VideoList([tmp_path / name for name in names], tuple(number % 2 for number in range(300)))
    with pytest.raises(DataError, match="none of 100 training videos") as caught:
        source_limits(VideoData(videos, videos, ("a", "b"), "f" * 64), DataConfig(cache_gb=0))
    first = np.random.default_rng(0).choice(300, 100, replace=False)[0]
    assert f"/{first}.mp4: cannot be opened" in str(caught.value)
