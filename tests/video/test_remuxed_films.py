"""Films as other tools leave them: copied between containers, cut without decoding, interlaced."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from films import copied, film, numbers

from expander.video.decoder import Decoder
from expander.video.jump_proof import bitstream
from expander.video.jump_proof.random_access import NOT_TRUSTED
from expander.video.probe import examine

B_FRAMES = {"g": "12", "bf": "2"}


def wrong(path: Path, length: int, first: int = 0) -> int:
    """Of 50 reads of four frames each, those that gave another frame than the one asked for."""
    decoder, rng = Decoder(), np.random.default_rng(1)
    assert decoder.open(path).length == length
    missed = 0
    for _ in range(50):
        picks = np.sort(rng.choice(length, 4))
        missed += numbers(decoder.read(path, lambda _, picks=picks: picks)) != (first + picks).tolist()
    decoder.close()
    return missed


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov"])
def test_b_frames_that_were_copied_out_of_an_avi_come_in_the_order_they_are_shown(
    tmp_path: Path, suffix: str
) -> None:
    """An AVI knows when a frame is stored, not when it is shown: its copy says that both are one."""

    def as_stored(number: int, packet: Any) -> bool:
        packet.pts = packet.dts = number * packet.duration
        return True

    whole = film(tmp_path / "whole.mp4", 60, options=B_FRAMES)
    path = copied(whole, tmp_path / f"copy.{suffix}", as_stored)
    assert examine(path).reason == f"times that contradict the order of its frames: {NOT_TRUSTED}"
    assert wrong(path, 60) == 0


def test_a_film_in_which_every_frame_is_called_a_key_frame_is_read_right(tmp_path: Path) -> None:
    def key(_: int, packet: Any) -> bool:
        packet.is_keyframe = True
        return True

    for suffix, codec in itertools.product(("mp4", "mkv"), ("mpeg4", "libx264", "libx265")):
        quiet = {"x265-params": "log-level=none:bframes=0:keyint=12:open-gop=0"} if codec == "libx265" else {}
        whole = film(tmp_path / f"{codec}.mp4", 60, codec=codec, options={"g": "12", "bf": "0"} | quiet)
        assert wrong(copied(whole, tmp_path / f"keys-{codec}.{suffix}", key), 60) == 0, (suffix, codec)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_film_that_begins_where_decoding_cannot_is_read_right(tmp_path: Path, suffix: str) -> None:
    refresh = {"x264-params": "intra-refresh=1:keyint=12:bframes=0"}
    whole = film(tmp_path / "whole.mp4", 60, options=refresh)
    path = copied(whole, tmp_path / f"cut.{suffix}", lambda number, _: number >= 24)
    with av.open(str(path)) as container:  # frames that come whole again, from the first such one on
        shown = numbers(np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]))
    assert numbers(Decoder().read(path, np.arange)) == shown
    picks = np.array([3, len(shown) // 2, len(shown) - 1])
    assert numbers(Decoder().read(path, lambda _: picks)) == [shown[number] for number in picks]
    assert examine(path).reason == f"a key frame that does not begin anew: {NOT_TRUSTED}"


def test_an_edit_list_may_leave_out_whole_groups_of_pictures(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mp4", 60, options={"g": "12", "bf": "0"})
    content = bytearray(path.read_bytes())
    edit = content.index(b"elst") + 12  # after version, flags and number of edits (ISO/IEC 14496-12, 8.6.6)
    content[edit : edit + 4] = (24 * 40).to_bytes(4, "big")  # milliseconds that are shown
    path.write_bytes(content)
    assert wrong(path, 24) == 0


PROFILES = {
    "baseline": {"profile": "baseline"},
    "main": {"profile": "main"},
    "high": {"profile": "high"},
    "scales": {"x264-params": "cqm=jvt"},
    "high 4:2:2": {"profile": "high422"},
    "many references": {"x264-params": "ref=8:bframes=8:b-pyramid=normal"},
}


@pytest.mark.parametrize("name", PROFILES)
def test_interlaced_pictures_are_known_by_their_header(tmp_path: Path, name: str) -> None:
    for fields in (False, True) if name != "baseline" else (False,):
        options = dict(PROFILES[name])
        if fields:
            options["x264-params"] = ":".join(filter(None, [options.get("x264-params"), "interlaced=1"]))
        path = film(tmp_path / f"{fields}.mp4", 8, options=options)
        with av.open(str(path)) as container:
            extradata = container.streams.video[0].codec_context.extradata
        assert bitstream.may_hold_fields(extradata or b"") == fields
    assert bitstream.may_hold_fields(b"\x01\x64\0\x1f\xff\xe1\0\x04\x67\x64\0")  # cut off: nobody knows


def test_interlaced_pictures_have_the_same_colours_in_every_container(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (12, 64, 96, 3), np.uint8)
    whole = film(tmp_path / "film.mp4", 12, options={"x264-params": "interlaced=1:bframes=0"},
                 draw=lambda number, *_: noise[number])  # fmt: skip
    frames = Decoder().read(whole, np.arange)
    for suffix in ("ts", "mkv", "avi"):
        path = copied(whole, tmp_path / f"copy.{suffix}")
        assert np.array_equal(Decoder().read(path, np.arange), frames), suffix
    assert examine(whole).reason == "its pictures may be interlaced"


RATES = [*map(Fraction, (15, 25, 30)), Fraction(30000, 1001), Fraction(24000, 1001), Fraction(25, 2)]


@pytest.mark.parametrize(("fps", "bf"), list(itertools.product(RATES, ["0", "2"])))
def test_the_frame_rate_is_that_of_the_film_in_every_container(
    tmp_path: Path, fps: Fraction, bf: str
) -> None:
    decoder, found = Decoder(), {}
    whole = film(tmp_path / "film.mp4", 77, fps=fps, options={"g": "12", "bf": bf})
    for suffix in ("mov", "mkv", "ts"):
        found[suffix] = decoder.open(copied(whole, tmp_path / f"copy.{suffix}")).fps
    for suffix, codec in (("flv", "libx264"), ("mpg", "mpeg2video"), ("wmv", "wmv2"), ("ogv", "libvpx")):
        if suffix != "mpg" or fps >= 24:  # MPEG-2 knows a few rates only
            found[suffix] = decoder.open(film(tmp_path / f"film.{suffix}", 77, fps=fps, codec=codec)).fps
    decoder.close()
    assert found == dict.fromkeys(found, fps)


def test_an_avi_with_two_places_a_frame_has_the_rate_of_its_frames(tmp_path: Path) -> None:
    """As ffmpeg copies H.264 into it: places are for fields."""
    whole = film(tmp_path / "film.mp4", 77, options={"g": "12", "bf": "0"})
    assert Decoder().open(copied(whole, tmp_path / "copy.avi", tick=50)).fps == 25
