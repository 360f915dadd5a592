"""Films whose packets hide something: frames that are gone, two pictures at once, odd colours, odd times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from films import CONTAINERS, agrees, copied, film, from_the_start, picture

from expander.video.decoder import Decoder, VideoError
from expander.video.jump_proof.random_access import NOT_TRUSTED
from expander.video.probe import examine
from expander.video.readers import AvReader
from expander.video.worker import PIXELS, DecodingProcess, _Child


def test_times_that_contradict_the_order_of_frames_are_not_followed(tmp_path: Path) -> None:
    whole = film(tmp_path / "whole.mp4", 60, options={"g": "12", "bf": "0"})

    def late(number: int, packet: Any) -> bool:
        packet.pts += packet.duration * 3 // 2 if number == 30 else 0
        return True

    path = copied(whole, tmp_path / "late.mp4", late)
    assert examine(path).route == "pyav"
    assert agrees(path, from_the_start(path))


def test_of_several_streams_the_one_that_players_show_is_read(tmp_path: Path) -> None:
    path = tmp_path / "two.mp4"
    with av.open(str(path), "w") as container:
        small, large = (container.add_stream("libx264", rate=25) for _ in range(2))
        for stream, size in ((small, (64, 96)), (large, (128, 192))):
            stream.height, stream.width = size
            stream.pix_fmt = "yuv420p"
        for number in range(30):
            for stream, shown in ((small, number), (large, 100 + number)):
                drawn = picture(shown, stream.height, stream.width)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(drawn, format="rgb24")))
        for stream in (small, large):
            container.mux(stream.encode(None))
    assert (examine(path).route, examine(path).reason) == ("pyav", "several video streams")
    with av.open(str(path)) as container:
        first = 100 * container.streams.best("video").index  # type: ignore[union-attr]
    assert agrees(path, list(range(first, first + 30)))


def test_colours_of_ten_bits_are_read_by_one_reader_only(tmp_path: Path) -> None:
    path = tmp_path / "ten.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "12"})
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p10le"
        for number in range(30):
            frame = av.VideoFrame.from_ndarray(picture(number, 64, 96), format="rgb24")
            container.mux(stream.encode(frame.reformat(format="yuv420p10le")))
        container.mux(stream.encode(None))
    assert examine(path).reason == "yuv420p10le: decord may give other colours"
    assert agrees(path, list(range(30)))


@pytest.mark.parametrize("suffix", ["h264", "avi"])
def test_h264_without_times_is_read(tmp_path: Path, suffix: str) -> None:
    """A raw stream; and in an AVI that counts fields, so that half of its places are empty."""
    whole = film(tmp_path / "whole.mp4", 40, options={"g": "12", "bf": "0"})
    path = copied(whole, tmp_path / f"x.{suffix}", tick=50)
    assert examine(path).route == "pyav"
    assert NOT_TRUSTED in examine(path).reason
    assert agrees(path, list(range(40)))


def test_an_avi_that_ends_early_is_cut_short(tmp_path: Path) -> None:
    path = film(tmp_path / "x.avi", 40, codec="mjpeg", options={"q": "2"})
    content = path.read_bytes()
    for part in (0.5, 0.9):
        path.write_bytes(content[: int(len(content) * part)])
        with pytest.raises(VideoError, match=r"cut short|damaged"):
            Decoder().read(path, np.arange)


def test_the_same_pictures_are_the_same_to_the_last_digit_in_every_container(tmp_path: Path) -> None:
    """Copied without decoding, through both readers, with a cache and without: so scores are the same too."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (40, 66, 98, 3), np.uint8)
    whole = film(tmp_path / "whole.mp4", 40, options={"g": "12", "bf": "0"}, size=(66, 98),
                 draw=lambda number, *_: noise[number])  # fmt: skip
    picks = np.array([3, 30, 17, 39, 0])
    expected, routes = Decoder().read(whole, lambda _: picks), {"decord"}
    assert examine(whole).route == "decord"
    for suffix in CONTAINERS:
        path = copied(whole, tmp_path / f"copy.{suffix}")
        routes.add(examine(path).route)
        for decoder in (Decoder(), Decoder(tmp_path / "cache" / suffix, 1e9)):
            for _ in range(2):
                assert np.array_equal(decoder.read(path, lambda _: picks), expected), path.name
            decoder.close()
    assert routes == {"decord", "pyav"}


def test_a_long_film_may_take_longer_than_its_timeout_as_long_as_it_gets_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lets 90 s of a 4K phone film be read on a slow processor; a stall still ends in time."""
    process = DecodingProcess(60)
    process.open(film(tmp_path / "x.mp4", 3))
    answers = iter([{"pixels": PIXELS // 2}, {"pixels": 2 * PIXELS}, {"route": "decord"}])
    deadlines = []

    def hear() -> dict[str, Any]:
        deadlines.append(process.deadline)
        return next(answers)

    monkeypatch.setattr(process, "_hear", hear)
    process.examine(tmp_path / "x.mp4")
    first, *later = deadlines
    assert [round(deadline - first) for deadline in later] == [30, 120]
    process.close()


def test_the_decoding_process_tells_how_far_it_is_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    told, now = [], [100.0]
    monkeypatch.setattr("expander.video.worker._answer", lambda _, found: told.append(found["pixels"]))
    monkeypatch.setattr("expander.video.worker.signal.alarm", lambda _: None)
    monkeypatch.setattr("expander.video.worker.time.monotonic", lambda: now[0])
    child = _Child(1, 60)
    child.told = now[0]
    for _ in range(30):
        child.progress(1000)
        now[0] += 0.125
    assert told == [10_000, 19_000, 28_000]


def test_a_film_read_from_the_start_tells_its_progress(tmp_path: Path) -> None:
    pixels: list[int] = []
    path = film(tmp_path / "x.avi", 12, codec="libx264")
    assert AvReader(path, pixels.append).length == 12
    assert pixels == [64 * 96] * 12
