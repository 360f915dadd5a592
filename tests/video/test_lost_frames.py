"""Films that lost frames, or were joined, before they got their times: nothing in their times says it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from boxes import two_descriptions, two_headers, with_key_frames
from films import agrees, copied, film, from_the_start, picture

from expander.video.decoder import Decoder, VideoError
from expander.video.jump_proof.random_access import NOT_TRUSTED
from expander.video.probe import examine

LOST = f"pictures are missing: {NOT_TRUSTED}"
CODED = [
    ("libx264", {"g": "12", "bf": "0"}), ("libx264", {"g": "12", "bf": "2"}),
    ("libx265", {"x265-params": "log-level=none:open-gop=0:keyint=12"}),
    ("libx265", {"x265-params": "log-level=none:open-gop=0:keyint=12:bframes=0"}),
]  # fmt: skip


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize(("codec", "options"), CODED)
def test_a_film_that_lost_a_key_frame_is_read_from_the_start(
    tmp_path: Path, suffix: str, codec: str, options: dict[str, str]
) -> None:
    whole = film(tmp_path / "whole.mp4", 60, codec=codec, options=options)
    path = copied(whole, tmp_path / f"lost.{suffix}", lambda number, _: number != 24)
    assert (examine(path).route, examine(path).reason) == ("pyav", LOST)
    assert agrees(path, from_the_start(path))


@pytest.mark.parametrize("lost", [(24,), (30,), (24, 48), (24, 25, 26), (70,)], ids=str)
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize(("codec", "options"), CODED)
def test_a_film_that_lost_frames_before_it_got_its_times_is_read_from_the_start(
    tmp_path: Path, suffix: str, codec: str, options: dict[str, str], lost: tuple[int, ...]
) -> None:
    """A camera's stream, put into a container later: its times are even, but for those of B-frames."""

    def close_up(number: int, packet: Any) -> bool:
        earlier = sum(other < number for other in lost)
        packet.pts -= earlier * packet.duration
        packet.dts -= earlier * packet.duration
        return number not in lost

    path = copied(film(tmp_path / "whole.mp4", 72, codec=codec, options=options),
                  tmp_path / f"lost.{suffix}", close_up)  # fmt: skip
    shown = from_the_start(path)
    assert Decoder().open(path).length == len(shown)
    # Else what is decoded without a frame that it needs is shown: of whatever was in memory.
    if len(shown) < 72 - len(lost):
        assert examine(path).route == "pyav"
        assert agrees(path, shown)


@pytest.mark.parametrize("preset", ["ultrafast", "medium", "veryslow"])
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_whole_films_are_not_doubted(tmp_path: Path, codec: str, preset: str) -> None:
    """Of more frames than their numbers reach, with B-frames that others refer to and several slices."""
    options = {"preset": preset, "g": "40", "x265-params": "log-level=none:open-gop=0:keyint=40:slices=2"}
    path = film(tmp_path / "x.mp4", 300, codec=codec, options=options)
    assert examine(path).route == "decord"


@pytest.mark.parametrize("size", [(64, 96), (128, 192), (96, 64)])
def test_a_film_of_two_sample_descriptions_is_read_from_the_start(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    """As tools leave it that join clips without encoding them again."""
    first = film(tmp_path / "a.mp4", 40, options={"g": "12", "bf": "0"})
    second = film(tmp_path / "b.mp4", 40, options={"g": "12", "bf": "0", "crf": "40"}, size=size,
                  draw=lambda number, *shape: picture(40 + number, *shape))  # fmt: skip
    path = two_descriptions(first, second, tmp_path / "x.mp4")
    assert examine(path).reason == "its headers, so perhaps the size of its pictures, change midway"
    assert agrees(path, list(range(80)) if size == (64, 96) else from_the_start(path))


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("size", [(64, 96), (128, 192)])
def test_a_film_of_two_headers_in_one_record_is_read_from_the_start(
    tmp_path: Path, suffix: str, size: tuple[int, int]
) -> None:
    """As tools leave it that join clips of two encoders under one description."""
    parts = [
        film(tmp_path / f"{name}.mp4", 40, size=shape,
             options={"x264-params": f"keyint=12:bframes=0:sps-id={name}"},
             draw=lambda number, *shape, name=name: picture(40 * name + number, *shape))
        for name, shape in enumerate([(64, 96), size])
    ]  # fmt: skip
    path = two_headers(*parts, tmp_path / f"x.{suffix}")
    assert examine(path).reason == "h264: several headers, or none that can be read"
    assert agrees(path, from_the_start(path))
    assert from_the_start(path)[:40] == list(range(40))


@pytest.mark.parametrize("frames", [3, 5, 40])
@pytest.mark.parametrize(("fps", "tick"), [(25, 600), (25, 50), (30, 600), (Fraction(25, 2), 600)], ids=str)
def test_the_rate_of_h264_in_an_avi_is_that_of_its_places(
    tmp_path: Path, fps: Fraction | int, tick: int, frames: int
) -> None:
    """An AVI that counts places far finer than its frames come: most of them are empty."""
    whole = film(tmp_path / "whole.mp4", frames, fps=fps, options={"g": "12", "bf": "0"})
    assert Decoder().open(copied(whole, tmp_path / "x.avi", tick=tick)).fps == fps


@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("suffix", ["mkv", "webm"])
def test_a_matroska_that_ends_early_is_cut_short(tmp_path: Path, suffix: str, part: float) -> None:
    codec = "libx264" if suffix == "mkv" else "libvpx"
    path = film(tmp_path / f"x.{suffix}", 72, codec=codec, options={"g": "12"})
    assert examine(path).route == "decord"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(VideoError, match=r"cut short: \d+ frames are in it$"):
        Decoder().open(path)


def test_a_matroska_that_was_streamed_says_no_size_and_is_read(tmp_path: Path) -> None:
    whole = film(tmp_path / "whole.mkv", 30, options={"g": "12"})
    path = copied(whole, tmp_path / "live.mkv", options={"live": "1"})
    assert agrees(path, from_the_start(path))


def test_a_film_whose_table_of_key_frames_begins_late_is_read(tmp_path: Path) -> None:
    """FFmpeg then says of a jump to the start what a system says of a file that nobody may read."""
    whole = film(tmp_path / "whole.mp4", 40, options={"g": "12"})
    path = with_key_frames(whole, tmp_path / "x.mp4", [13, 25])
    assert examine(path).route == "pyav"
    assert agrees(path, list(range(40)))
