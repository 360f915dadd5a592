"""Clips and crops of the five protocols against the formulas of the libraries, on real files too."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from films import film, textured

from expander.config.space import load_spec
from expander.errors import UsageError
from expander.specs.spec import Base, Spec
from expander.video.decoder import Decoder
from expander.video.transforms import centre_window, cut, painted, view
from expander.video.view_protocols import (
    PROTOCOLS,
    Protocol,
    Views,
    canvas,
    clip_frames,
    parse_protocol,
    parse_views,
    view_crop,
)
from expander.video.views import Look, look

SMALL = Spec(Base(frames=13, stride=6, crop=56))  # short side 64: frames of 64 x 96 are not resized
LENGTHS = (1, 5, 77, 78, 300, 301)
RATES = (24, 25, Fraction(30000, 1001), 30, 60)


def slowfast(clips: int, frames: int, stride: int, length: int, fps: float) -> list[list[int]]:
    """As its code computes it: floats, torch.linspace, clamp, truncate."""
    span = max(frames * stride / 30 * fps, 1.0)
    found = []
    for i in range(clips):
        start = max(length - span, 0) * i / clips
        places = torch.linspace(start, start + span - 1, frames).clamp(0, length - 1)
        found.append(places.long().tolist())
    return found


def mmaction2(clips: int, frames: int, stride: int, length: int, fps: float) -> list[list[int]]:
    span = max(1.0, frames * stride * (fps / 30))
    room = max(length - span, 0)
    starts = np.arange(clips) * np.floor(room / (clips - 1)) if clips > 1 else np.array([room // 2])
    within = np.linspace(0, span - 1, frames).astype(np.int32)
    return np.mod(starts[:, None] + within, length).astype(int).tolist()


def mmaction2_0(clips: int, frames: int, stride: int, length: int, _: object) -> list[list[int]]:
    """Its 0.x: strides in source frames at any rate, each clip in the middle of its share of the starts."""
    span = frames * stride
    share = (length - span + 1) / clips
    starts = [int(i * share + share / 2) if length >= span else 0 for i in range(clips)]
    return [[(start + j * stride) % length for j in range(frames)] for start in starts]


def pytorchvideo(clips: int, frames: int, stride: int, length: int, fps: Fraction) -> list[list[int]]:
    """From the time of every frame."""
    times, seconds = [n / fps for n in range(length)], Fraction(frames * stride, 30)
    room = max(length / fps - seconds, 0)
    found = []
    for i in range(clips):
        start = i * room / max(clips - 1, 1)
        inside = [n for n, time in enumerate(times) if start <= time < start + seconds]
        rows = torch.linspace(0, len(inside) - 1, frames).long().tolist()
        found.append([inside[row] for row in rows])
    return found


def uniform(clips: int, frames: int, stride: int, length: int, _: object) -> list[list[int]]:
    """The default: clips of `stride` source frames at any rate; one clip is the middle."""
    room = max(length - (frames - 1) * stride - 1, 0)
    starts = [room * i // (clips - 1) if clips > 1 else room // 2 for i in range(clips)]
    return [[min(start + stride * j, length - 1) for j in range(frames)] for start in starts]


FORMULAS: dict[Protocol, Callable[..., list[list[int]]]] = {
    "expander": uniform, "slowfast": slowfast, "mmaction2": mmaction2,
    "mmaction2-0.x": mmaction2_0, "pytorchvideo": pytorchvideo,
}  # fmt: skip


def of_formula(protocol: Protocol, clips: int, spec: Spec, length: int, fps: Fraction) -> list[list[int]]:
    rate = fps if protocol == "pytorchvideo" else float(fps)
    return FORMULAS[protocol](clips, spec.frames, spec.stride, length, rate)


def squares(protocol: Protocol, crops: int, height: int, width: int, crop: int) -> list[tuple[int, int]]:
    """(top, left) of the crops of a frame, by the libraries' rules."""
    down, across = height - crop, width - crop
    if protocol.startswith("mmaction2"):
        middle, ends = (down // 2, across // 2), [(0, 0), (down // 2 * 2, across // 2 * 2)]
        return [*ends, middle] if crops == 3 else [middle]
    middle = (int(np.ceil(down / 2)), int(np.ceil(across / 2)))
    return [(0, 0), middle, (down, across)] if crops == 3 else [middle]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tensors as small as these are slower with several."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, Fraction], Path]:
    """Numbered, patterned videos of every length and rate, and one that is higher than wide."""
    root, found = tmp_path_factory.mktemp("films"), {}
    for length, fps in itertools.product(LENGTHS, map(Fraction, RATES)):
        name = f"{length}-{float(fps):.2f}.mp4"
        found[length, fps] = film(root / name, length, fps, options={"qp": "1"}, draw=textured)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("crops", [1, 3])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_view_of_real_files_is_the_frames_and_the_square_of_the_formulas(
    films: dict[tuple[int, Fraction], Path], protocol: Protocol, crops: int
) -> None:
    decoder, crop = Decoder(), 56 if crops == 1 else 64
    all_drawn = np.stack([textured(number, 64, 96)[..., 1] for number in range(max(LENGTHS))])
    for (length, fps), path in films.items():
        drawn = all_drawn[:length]
        seen = look(path, Look(SMALL, Views(10, crops), protocol), decoder)
        assert len(seen) == 10 * crops
        places = squares(protocol, crops, 64, 96, crop)
        for clip, rows in enumerate(of_formula(protocol, 10, SMALL, length, fps)):
            for number, (top, left) in enumerate(places):
                found = seen[clip * crops + number][..., 1] * 57.375 + 114.75  # grey: one colour will do
                wanted = drawn[rows, top : top + crop, left : left + crop]
                apart = np.abs(found.numpy() - wanted).max()
                assert apart < 24, f"{path.name} clip {clip} crop {number}"  # a bit or a shift is over 100
    decoder.close()


def test_a_video_that_is_higher_than_wide_is_cropped_along_its_height(tmp_path: Path) -> None:
    path = film(tmp_path / "high.mp4", 20, size=(96, 64), options={"qp": "1"}, draw=textured)
    decoder = Decoder()
    for protocol in PROTOCOLS:
        seen = look(path, Look(SMALL, Views(1, 3), protocol), decoder)
        rows = of_formula(protocol, 1, SMALL, 20, Fraction(25))[0]
        drawn = np.stack([textured(number, 96, 64) for number in range(20)])
        for number, (top, _) in enumerate(squares(protocol, 3, 96, 64, 64)):
            found = seen[number].numpy() * 57.375 + 114.75
            assert np.abs(found - drawn[rows, top : top + 64]).max() < 24, (protocol, number)


@pytest.mark.parametrize("clips", [1, 2, 10])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_clips_of_any_spec_follow_the_formulas(protocol: Protocol, clips: int) -> None:
    for frames, stride in ((1, 24), (4, 12), (13, 6)):
        spec = Spec(Base(frames=frames, stride=stride))
        for length, rate in itertools.product((1, 2, 5, 47, 48, 77, 78, 79, 300, 301), RATES):
            found = clip_frames(protocol, clips, spec, length, Fraction(rate))
            wanted = of_formula(protocol, clips, spec, length, Fraction(rate))
            assert found.tolist() == wanted, (frames, length, rate)


def test_the_frames_of_the_published_networks_at_30_a_second() -> None:
    xs, s = load_spec("x3d_xs"), load_spec("x3d_s")
    for protocol in ("slowfast", "mmaction2", "pytorchvideo"):
        first = [clip_frames(protocol, 10, spec, 300, Fraction(30))[0].tolist() for spec in (xs, s)]
        assert first[0] == [0, 15, 31, 47]
        assert first[1] == [0, 6, 12, 19, 25, 32, 38, 44, 51, 57, 64, 70, 77]


def test_the_last_clip_of_slowfast_ends_a_tenth_of_the_room_before_the_video() -> None:
    s, fps = load_spec("x3d_s"), Fraction(30)
    last = {protocol: clip_frames(protocol, 10, s, 300, fps)[-1, -1] for protocol in PROTOCOLS}
    assert last == {"expander": 299, "slowfast": int(222 * 0.9 + 77), "mmaction2": 9 * 24 + 77,
                    "mmaction2-0.x": int(223 * 0.95) + 72, "pytorchvideo": 299}  # fmt: skip


def test_test_crops_are_the_published_ones() -> None:
    names = ("x3d_xs", "x3d_s", "x3d_m", "x3d_l")
    sizes = {name: view_crop("slowfast", 3, load_spec(name)) for name in names}
    assert sizes == {"x3d_xs": 182, "x3d_s": 182, "x3d_m": 256, "x3d_l": 356}
    assert view_crop("slowfast", 1, load_spec("x3d_m")) == 224
    for protocol, wanted in (("mmaction2", 182), ("mmaction2-0.x", 192)):
        assert view_crop(protocol, 3, load_spec("x3d_s")) == wanted
        assert view_crop(protocol, 1, load_spec("x3d_s")) == 160
        assert view_crop(protocol, 3, load_spec("x3d_m")) == 256


def test_the_clips_of_both_generations_of_mmaction2_by_hand() -> None:
    """X3D-S, 10 clips of 13 x 6 in 300 frames at 60 a second: a clip is 156 frames to 1.x, 78 to 0.x."""
    s, fps = load_spec("x3d_s"), Fraction(60)
    new, old = (clip_frames(protocol, 10, s, 300, fps) for protocol in ("mmaction2", "mmaction2-0.x"))
    assert new[:, 0].tolist() == [0, 16, 32, 48, 64, 80, 96, 112, 128, 144]
    assert new[0].tolist() == [0, 12, 25, 38, 51, 64, 77, 90, 103, 116, 129, 142, 155]
    assert old[:, 0].tolist() == [11, 33, 55, 78, 100, 122, 144, 167, 189, 211]
    assert old[0].tolist() == list(range(11, 11 + 13 * 6, 6))
    # A video of a clip's length less one has no start; it begins at 0 and loops.
    assert clip_frames("mmaction2-0.x", 3, s, 77, fps).tolist() == [[j * 6 for j in range(13)]] * 3
    assert clip_frames("mmaction2-0.x", 2, s, 10, fps)[1].tolist() == [j * 6 % 10 for j in range(13)]


@pytest.mark.parametrize("network", ["x3d_s", "x3d_m"])
@pytest.mark.parametrize("protocol", ["mmaction2", "mmaction2-0.x"])
def test_mmaction2_takes_its_frames_at_every_length_rate_and_number_of_clips(
    protocol: Protocol, network: str
) -> None:
    spec = load_spec(network)
    lengths = [*range(1, 400, 7), 77, 78, 79, 80, 81, 1000, 9001]
    for length, rate, clips in itertools.product(lengths, (*RATES, 15, Fraction(24000, 1001)), (1, 3, 4, 10)):
        found = clip_frames(protocol, clips, spec, length, Fraction(rate))
        assert found.tolist() == of_formula(protocol, clips, spec, length, Fraction(rate)), (length, rate)


@pytest.mark.parametrize(
    ("protocol", "crops", "size", "places"),
    [
        ("slowfast", 1, (182, 323), [(11, 82)]),
        ("slowfast", 3, (182, 323), [(0, 0), (0, 71), (0, 141)]),
        ("pytorchvideo", 3, (182, 323), [(0, 0), (0, 71), (0, 141)]),
        ("expander", 3, (182, 323), [(0, 0), (0, 71), (0, 141)]),
        ("mmaction2", 1, (182, 324), [(11, 82)]),
        ("mmaction2", 3, (182, 324), [(0, 0), (0, 142), (0, 71)]),
        ("mmaction2-0.x", 1, (192, 341), [(16, 90)]),
        ("mmaction2-0.x", 3, (192, 341), [(0, 0), (0, 148), (0, 74)]),
    ],
)
def test_the_squares_of_a_wide_frame(
    protocol: Protocol, crops: int, size: tuple[int, int], places: list[tuple[int, int]]
) -> None:
    """Of 720 x 1280: at a short side of 182 its width is 323.55, at 192 it is 341.33."""
    found = canvas(protocol, crops, load_spec("x3d_s"), 720, 1280)
    assert (found.height, found.width) == size
    assert list(found.places) == places


def test_mmaction2_rounds_the_longer_side_and_the_others_truncate_it() -> None:
    m = load_spec("x3d_m")  # 256 * 1278 / 720 is 454.4, 256 * 1279 / 720 is 454.76
    assert [canvas("mmaction2", 3, m, 720, width).width for width in (1278, 1279)] == [454, 455]
    assert [canvas("slowfast", 3, m, 720, width).width for width in (1278, 1279)] == [454, 454]
    assert canvas("mmaction2", 3, m, 1279, 720).height == 455


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_pixels_are_those_of_resizing_the_whole_frame_first(protocol: Protocol) -> None:
    frames = torch.randint(0, 256, (2, 75, 131, 3), dtype=torch.uint8)
    spec = Spec(Base(frames=2, stride=1, crop=40))  # short side 46
    for crops in (1, 3):
        place = canvas(protocol, crops, spec, 75, 131)
        size = (place.height, place.width)
        pixels = frames.permute(0, 3, 1, 2).float()
        resized = F.interpolate(pixels, size, mode="bilinear", align_corners=False)
        theirs = protocol.startswith("mmaction2")
        whole = (resized.round() - 114.75) / 57.38 if theirs else (resized / 255 - 0.45) / 0.225
        found = painted(frames, place, theirs)
        for number, (top, left) in enumerate(place.places):
            crop = place.crop
            wanted = whole[:, :, top : top + crop, left : left + crop].permute(0, 2, 3, 1)
            off = (cut(found, place, number) - wanted).abs()
            # A value at half a step may be rounded to either side.
            assert (off > 1e-4).float().mean() < (1e-3 if theirs else 1e-9)


def test_the_default_protocol_looks_where_the_validation_of_a_search_looks() -> None:
    frames = torch.randint(0, 256, (2, 75, 131, 3), dtype=torch.uint8)
    spec = Spec(Base(frames=2, stride=1, crop=40))
    place = canvas("expander", 1, spec, 75, 131)
    validated = view(frames, centre_window(75, 131, spec))
    assert torch.equal(cut(painted(frames, place), place, 0), validated)


def test_views_are_named_as_users_know_them() -> None:
    assert parse_views("10") == Views(10, 1)
    assert parse_views("30") == Views(10, 3)
    assert parse_views("5x3") == Views(5, 3)
    for text in ("20", "0x1", "10x2", "x", "10x", "axb", "-1x1", "10x3x1"):
        with pytest.raises(UsageError, match="views"):
            parse_views(text)


def test_a_protocol_is_one_of_those_there_are() -> None:
    assert [parse_protocol(name) for name in PROTOCOLS] == list(PROTOCOLS)
    with pytest.raises(UsageError, match=r"unknown protocol 'x3d'; there are expander, slowfast, mmaction2"):
        parse_protocol("x3d")
