"""Films whose resolution changes midway: the right frames, at the size of the first."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from films import film, numbers, picture

from expander.video.decoder import Decoder, VideoError
from expander.video.jump_proof.headers import changes
from expander.video.probe import examine

SMALL, LARGE = (64, 96), (128, 192)
PART = 20
CHANGES = "its headers, so perhaps the size of its pictures, change midway"
CODECS = [
    ("mp4", "libx264", {"g": "12", "bf": "0"}),
    ("mkv", "libx264", {"g": "12", "bf": "0"}),
    ("mp4", "libx265", {"x265-params": "log-level=none:open-gop=0:keyint=12:bframes=0:repeat-headers=1"}),
    ("avi", "mpeg4", {"g": "12"}),
    ("webm", "libvpx", {"g": "12", "deadline": "realtime", "lag-in-frames": "0"}),
    ("webm", "libvpx-vp9", {"g": "12", "deadline": "realtime", "lag-in-frames": "0"}),
]


def joined(path: Path, codec: str, sizes: list[tuple[int, int]], options: dict[str, str]) -> Path:
    """One stream of what an encoder for each size writes, frames 0, 1, 2, … drawn at those sizes."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        (stream.height, stream.width), stream.pix_fmt = sizes[0], "yuv420p"
        for part, size in enumerate(sizes):
            encoder = av.CodecContext.create(codec, "w")
            (encoder.height, encoder.width), encoder.pix_fmt = size, "yuv420p"
            encoder.framerate, encoder.time_base, encoder.options = Fraction(25), Fraction(1, 25), options
            packets = []
            for number in range(PART):
                drawn = picture(PART * part + number, *size)
                frame = av.VideoFrame.from_ndarray(drawn, format="rgb24").reformat(format="yuv420p")
                frame.pts, frame.time_base = number, Fraction(1, 25)
                packets += encoder.encode(frame)
            for packet in packets + encoder.encode(None):
                packet.pts += PART * part
                packet.dts += PART * part
                packet.time_base, packet.stream = Fraction(1, 25), stream
                container.mux(packet)
    return path


def shown(frames: np.ndarray, drawn: tuple[int, int]) -> list[int]:
    """The numbers of frames that were drawn at one size and are shown at another."""
    if drawn == frames.shape[1:3]:
        return numbers(frames)
    rows, columns = (np.arange(size) * frames.shape[axis + 1] // size for axis, size in enumerate(drawn))
    return numbers(frames[:, rows][:, :, columns])


def check(path: Path, first: tuple[int, int], second: tuple[int, int]) -> None:
    """That frames of either part are those asked for, alone and together, cached or not."""
    decoder, cached = Decoder(), Decoder(path.parent / "cache", 1e9)
    for picks in ([1, 5], [25, 38], [3, 19, 20, 33], [39, 0]):
        for reader in (decoder, cached):
            found = reader.read(path, lambda _, picks=picks: np.array(picks))
            assert found.shape[1:3] == first
            for frame, number in zip(found, picks, strict=True):
                assert shown(frame[None], first if number < PART else second) == [number], path.name
    decoder.close()
    cached.close()


@pytest.mark.parametrize(("suffix", "codec", "options"), CODECS, ids=lambda value: str(value)[:12])
@pytest.mark.parametrize("sizes", [[SMALL, LARGE], [LARGE, SMALL]], ids=["grows", "shrinks"])
def test_frames_are_right_though_the_resolution_changes(
    tmp_path: Path, suffix: str, codec: str, options: dict[str, str], sizes: list[tuple[int, int]]
) -> None:
    path = joined(tmp_path / f"x.{suffix}", codec, sizes, options)
    verdict = examine(path)
    assert verdict.route == "pyav"
    assert suffix == "avi" or verdict.reason == CHANGES
    check(path, *sizes)


@pytest.mark.parametrize(("suffix", "codec", "options"), CODECS, ids=lambda value: str(value)[:12])
def test_two_encoders_of_one_size_are_no_change(
    tmp_path: Path, suffix: str, codec: str, options: dict[str, str]
) -> None:
    path = joined(tmp_path / f"x.{suffix}", codec, [SMALL, SMALL], options)
    assert examine(path).route == ("pyav" if suffix == "avi" else "decord")
    check(path, SMALL, SMALL)


@pytest.mark.parametrize("sizes", [[SMALL, LARGE], [LARGE, SMALL]], ids=["grows", "shrinks"])
def test_raw_streams_one_after_the_other_are_read(tmp_path: Path, sizes: list[tuple[int, int]]) -> None:
    parts = []
    for part, size in enumerate(sizes):
        def draw(number: int, height: int, width: int, first: int = PART * part) -> np.ndarray:
            return picture(first + number, height, width)

        parts.append(film(tmp_path / f"{part}.h264", PART, size=size, draw=draw).read_bytes())
    path = tmp_path / "x.h264"
    path.write_bytes(b"".join(parts))
    check(path, *sizes)


def test_transport_streams_one_after_the_other_are_refused_in_one_line(tmp_path: Path) -> None:
    """Their packets are counted, and the count begins anew: as if some were lost."""
    parts = [film(tmp_path / f"{height}.ts", PART, size=(height, width)) for height, width in (SMALL, LARGE)]
    path = tmp_path / "x.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    with pytest.raises(VideoError, match=r"x\.ts: packet \d+ is damaged$"):
        Decoder().read(path, np.arange)


def test_a_vp9_frame_that_names_its_own_size_is_told() -> None:
    """Made by hand: encoders that change the size without a key frame do so only when a network is slow."""
    asked = changes("vp9", b"")
    asked([bytes([0x82, 0x49, 0x83, 0x42, 0, 0x3F, 0, 0x5F, 0])], True)
    bits = "10000110" + "00" + "00000001" + "0000" * 3  # no key frame, shown; what it refreshes; references
    for found, told in (("1", False), ("01", False), ("001", False), ("000", True)):
        head = (bits + found).ljust(80, "1")
        assert asked([int(head, 2).to_bytes(10, "big")], False) == told


def test_pictures_of_several_sizes_are_shown_at_that_of_the_first(tmp_path: Path) -> None:
    for number in range(6):
        size = SMALL if number < 3 else LARGE
        with av.open(str(tmp_path / f"img_{number:05d}.png"), "w", format="image2") as container:
            stream = container.add_stream("png", rate=1)
            (stream.height, stream.width), stream.pix_fmt = size, "rgb24"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number, *size), format="rgb24")))
    found = Decoder().read(tmp_path, lambda _: np.array([4, 1, 5]))
    assert [shown(frame[None], SMALL if number < 3 else LARGE)
            for frame, number in zip(found, (4, 1, 5), strict=True)] == [[4], [1], [5]]  # fmt: skip
