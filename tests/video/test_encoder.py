"""Prepared videos: the frames of their sources, one rate, small closed groups, the same bytes each time."""

from __future__ import annotations

import os
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from films import copied, film, numbers, trimmed
from numpy.typing import NDArray

from expander.video.decoder import Decoder
from expander.video.frame_rate import USUAL
from expander.video.jump_proof.random_access import Proof
from expander.video.probe import examine
from expander.video.readers import Unreadable
from expander.video.writing.encoder import CHANGED, Encoded, Encoding, Unwritable, prepare

SMALL, WHOLE = Encoding(64), Encoding(128, crf=8)
LARGE = (128, 192)


def pixels(path: Path) -> NDArray[np.uint8]:
    return Decoder().read(path, np.arange)


def carried(path: Path) -> list[int]:
    """The numbers in the frames of a film of half the size."""
    return numbers(pixels(path).repeat(2, 1).repeat(2, 2))


def shot(path: Path, frames: int, **settings: Any) -> Path:
    return film(path, frames, size=LARGE, **settings)


def made(source: Path, how: Encoding = SMALL) -> tuple[Path, Encoded]:
    target = source.with_name("prepared.mp4")
    return target, prepare(source, target, how)


SOURCES = {
    "h264.mp4": {"options": {"g": "12", "bf": "2"}},
    "hevc.mp4": {"codec": "libx265", "options": {"x265-params": "log-level=none"}},
    "vp9.webm": {"codec": "libvpx-vp9"},
    "part2.avi": {"codec": "mpeg4", "options": {"bf": "2"}},
    "stream.ts": {"options": {"bf": "2"}},
    "ntsc.mkv": {"fps": Fraction(30000, 1001)},
    "film.mov": {"fps": Fraction(24000, 1001), "codec": "mpeg4"},
    "one.mp4": {"fps": 50, "options": {"bf": "0"}},
}


@pytest.mark.parametrize("name", SOURCES)
def test_frames_and_rate_are_those_of_the_source(tmp_path: Path, name: str) -> None:
    frames = 1 if name.startswith("one") else 40
    source = shot(tmp_path / name, frames, **SOURCES[name])  # type: ignore[arg-type]
    target, found = made(source)
    assert carried(target) == list(range(frames))
    opened, original = Decoder().open(target), Decoder().open(source)
    assert (opened.length, opened.height, opened.width) == (frames, 64, 96)
    assert (found.frames, found.source_frames, found.mapping) == (frames, frames, None)
    assert opened.fps == original.fps == Fraction(found.fps)
    assert opened.verdict.route == "decord"


def test_an_edit_list_and_a_turn_are_applied(tmp_path: Path) -> None:
    whole = shot(tmp_path / "whole.mp4", 60, options={"g": "12", "bf": "2"})
    target, _ = made(trimmed(whole, tmp_path / "trimmed.mp4", 17))
    assert carried(target) == list(range(17, 60))
    for rotation in (90, 180, 270):
        turned = shot(tmp_path / f"{rotation}.mp4", 5, rotation=rotation)
        target, found = made(turned, WHOLE)
        assert (found.height, found.width) == pixels(turned).shape[1:3]
        assert np.abs(pixels(target).astype(int) - pixels(turned)).mean() < 4


def coded(
    path: Path, picture: NDArray[np.uint8], crf: int, space: int, extent: int | None = None,
    rotation: int = 0,
) -> Path:  # fmt: skip
    """Five times a picture, whose colours are coded as the file says, in a film that is turned."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": str(crf)})
        stream.height, stream.width, stream.pix_fmt = *picture.shape[:2], "yuv420p"
        stream.codec_context.colorspace = space
        if extent is not None:
            stream.codec_context.color_range = extent
        if rotation:
            stream.set_display_rotation(rotation)
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        for number in range(5):
            shown = frame.reformat(
                format="yuv420p", dst_colorspace=space if space != 2 else None, dst_color_range=extent
            )
            shown.pts = number
            container.mux(stream.encode(shown))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("space", [1, 2, 5, 9], ids=["709", "unknown", "601", "2020"])
@pytest.mark.parametrize("rotation", [0, 90])
def test_colours_are_those_of_the_source(tmp_path: Path, space: int, rotation: int) -> None:
    """Of films of phones, which are turned and say how their colours are coded."""
    flat = np.full((96, 128, 3), (210, 70, 25), np.uint8)
    source = coded(tmp_path / "source.mp4", flat, 1, space, rotation=rotation)
    target, _ = made(source, Encoding(96, crf=1))
    assert np.abs(pixels(target).mean((0, 1, 2)) - pixels(source).mean((0, 1, 2))).max() < 2


@pytest.mark.parametrize("pause", [75, 150])
def test_a_film_that_mostly_pauses_keeps_half_of_its_frames(tmp_path: Path, pause: int) -> None:
    times = np.cumsum([0, *([*[1] * 29, pause] * 4), *[1] * 29]).tolist()
    source = shot(tmp_path / "variable.mp4", len(times), times=times)
    target, found = made(source)
    mean = 25 * (len(times) - 1) / times[-1]
    assert Fraction(found.fps) == min(USUAL, key=lambda rate: abs(rate - min(25, 2 * mean)))
    assert found.mapping is not None
    assert carried(target) == found.mapping


def test_a_variable_rate_becomes_constant_and_says_which_frame_each_is(tmp_path: Path) -> None:
    steps = [1] * 30 + [10] + [1] * 30 + [25] + [1] * 20  # two pauses
    times = np.cumsum([0, *steps]).tolist()
    source = shot(tmp_path / "variable.mp4", len(times), times=times)
    target, found = made(source)
    assert found.fps == "25"
    assert found.frames == times[-1] + 1
    assert found.mapping is not None
    assert carried(target) == found.mapping
    shown = [max(number for number, time in enumerate(times) if time <= tick) for tick in range(found.frames)]
    assert found.mapping == shown
    with av.open(str(target)) as container:
        stamps = sorted(packet.pts for packet in container.demux(video=0) if packet.size)
    assert len({later - earlier for earlier, later in pairwise(stamps)}) == 1


def test_a_rate_that_jitters_by_less_than_half_a_frame_loses_nothing(tmp_path: Path) -> None:
    times = [100 * number + (30 if number % 3 else -10) for number in range(1, 41)]
    source = shot(tmp_path / "jitter.mkv", 40, fps=1000, times=times)
    target, found = made(source)
    assert found.mapping is None
    assert carried(target) == list(range(40))


@pytest.mark.parametrize("gop", [1, 4, 12])
def test_a_key_frame_comes_every_so_many_frames_and_begins_anew(tmp_path: Path, gop: int) -> None:
    target, _ = made(shot(tmp_path / "a.mp4", 40), Encoding(64, gop))
    with av.open(str(target)) as container:
        assert [stream.type for stream in container.streams] == ["video"]
        proof = Proof(container, container.streams.video[0])
        keys = []
        for packet in container.demux(video=0):
            if packet.size:
                proof.take(packet)
                keys.append(packet.is_keyframe)
        proof.close(container.streams.video[0])
    assert proof.doubt == ""
    assert proof.steady
    assert [number for number, key in enumerate(keys) if key] == list(range(0, 40, gop))


def test_sound_is_dropped(tmp_path: Path) -> None:
    source = tmp_path / "sound.mp4"
    with av.open(str(source), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.height, video.width, video.pix_fmt = 64, 96, "yuv420p"
        audio = container.add_stream("aac", rate=16000)
        for _ in range(10):
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            sound.sample_rate = 16000
            container.mux(audio.encode(sound))
            container.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((64, 96, 3), np.uint8))))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    target, _ = made(source)
    with av.open(str(target)) as container:
        assert [stream.type for stream in container.streams] == ["video"]


def test_the_same_source_gives_the_same_bytes(tmp_path: Path) -> None:
    source = shot(tmp_path / "a.mp4", 40, options={"bf": "2"})
    first = [made(source), made(source)[0].read_bytes()]
    second = [made(source), made(source)[0].read_bytes()]
    assert first == second
    assert made(source, Encoding(64, crf=40))[0].read_bytes() != first[1]


@pytest.mark.parametrize(
    ("source", "size"),
    [((256, 340), (160, 212)), ((340, 256), (212, 160)), ((720, 1280), (160, 284)), ((161, 161), (160, 160)),
     ((101, 131), (100, 130)), ((160, 999), (160, 998)), ((1, 5), (2, 4))],
)  # fmt: skip
def test_the_short_side_shrinks_to_the_wanted_and_never_grows(
    source: tuple[int, int], size: tuple[int, int]
) -> None:
    assert Encoding(160).size(*source) == size


def stripes(_: int, height: int, width: int) -> NDArray[np.uint8]:
    colours = np.array([(200, 30, 30), (30, 200, 30), (30, 30, 200), (255, 255, 255), (0, 0, 0)], np.uint8)
    return np.tile(colours[np.arange(width) * 5 // width], (height, 1, 1))


@pytest.mark.parametrize("space", [1, 2, 5])
@pytest.mark.parametrize("extent", [1, 2])
def test_colours_are_those_that_are_read_from_the_source(tmp_path: Path, space: int, extent: int) -> None:
    source = coded(tmp_path / "colour.mp4", stripes(0, 80, 160), 8, space, extent)
    target, _ = made(source, Encoding(80, crf=5))
    assert np.abs(pixels(target).astype(int) - pixels(source)).max() <= 3


def test_a_damaged_source_is_refused_with_the_reason(tmp_path: Path) -> None:
    whole = shot(tmp_path / "whole.mp4", 60).read_bytes()
    half = whole[: len(whole) // 2]
    for name, content in {"empty.mp4": b"", "text.mp4": b"<html>", "cut.mp4": half}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(Unreadable) as error:
            made(tmp_path / name)
        assert str(error.value) == examine(tmp_path / name).reason
    given = shot(tmp_path / "a.mkv", 60)
    lossy = copied(given, tmp_path / "lossy.ts", lambda number, _: number not in (9, 10))
    with pytest.raises(Unreadable, match=r"damaged|cannot be decoded"):
        made(lossy)


def test_a_source_that_changes_meanwhile_is_refused(tmp_path: Path) -> None:
    source = shot(tmp_path / "a.mp4", 40)
    writes = iter([lambda: os.utime(source, (1, 1))])
    with pytest.raises(Unreadable, match=CHANGED):
        prepare(source, tmp_path / "b.mp4", SMALL, lambda _: next(writes, lambda: None)())


def test_a_full_disk_is_told_from_a_damaged_source(tmp_path: Path) -> None:
    source = shot(tmp_path / "a.mp4", 40)
    with pytest.raises(Unwritable, match="No space left on device"):
        prepare(source, Path("/dev/full"), SMALL)
    with pytest.raises(Unwritable, match="No such file or directory"):
        prepare(source, tmp_path / "no" / "b.mp4", SMALL)


def test_pictures_become_a_video(tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    with av.open(str(shot(tmp_path / "a.mp4", 12, options={"crf": "5"}))) as container:
        for number, frame in enumerate(container.decode(video=0), 1):
            frame.to_image().save(tmp_path / "frames" / f"img_{number:05}.png")
    target, found = made(tmp_path / "frames")
    assert carried(target) == list(range(12))
    assert Fraction(found.fps) == 30
