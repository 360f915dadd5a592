"""Boxes and frames around key frames: cases by hand, another rule, and drawn pictures that show the boxes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from people import HEIGHT, WIDTH

from expander.data.ava.footage import centre, indices_around
from expander.data.ava.keyframes import Footage
from expander.data.ava.samples import seen_in
from expander.specs.spec import Base, Spec
from expander.video.transforms import MEAN, STD, Window, view

SPEC = Spec(Base(frames=4, stride=2, crop=32, stem_width=8, depths=(1,), head_width=16, classes=3))

# A picture of 48 x 80, resized to 24 x 40; the window is columns 10 to 26 and rows 4 to 20 of that.
WINDOW = Window(short_side=24, crop=16, top=4, left=10)


@pytest.mark.parametrize(
    ("box", "plain", "flipped"),
    [
        ((0.375, 0.25, 0.5, 0.75), [5, 2, 10, 14], [6, 2, 11, 14]),  # columns 15 to 20, rows 6 to 18
        ((0.5, 0.25, 1.0, 1.0), [10, 2, 16, 16], [0, 2, 6, 16]),  # over the right and the lower edge
        ((0.125, 0.0, 0.5, 0.5), [0, 0, 10, 8], [6, 0, 16, 8]),  # over the left and the upper edge
        ((0.0, 0.0, 1.0, 1.0), [0, 0, 16, 16], [0, 0, 16, 16]),  # 256 of 960 pixels are left
    ],
)
def test_boxes_go_through_resize_crop_and_flip(
    box: tuple[float, ...], plain: list[float], flipped: list[float]
) -> None:
    for window, expected in ((WINDOW, plain), (replace(WINDOW, flip=True), flipped)):
        found, kept = seen_in(window, np.array([box]), HEIGHT, WIDTH)
        assert found[0].tolist() == pytest.approx(expected)
        assert kept.tolist() == [True]


def test_a_box_that_is_cut_almost_away_is_left_out() -> None:
    boxes = np.array([
        [0.0, 0.25, 11 / 40, 0.75],  # of 11 columns 1 is left: less than a tenth
        [0.0, 0.25, 11.2 / 40, 0.75],  # of 11.2 columns 1.2: more
        [0.7, 0.25, 0.9, 0.75],  # begins behind the last column
        [0.0, 0.9, 1.0, 1.0],  # lies below the last row
        [0.4, 0.5, 0.4, 0.9],  # no width
    ])  # fmt: skip
    for flip in (False, True):
        found, kept = seen_in(replace(WINDOW, flip=flip), boxes, HEIGHT, WIDTH)
        assert kept.tolist() == [False, True, False, False, False]
        assert found.min() >= 0
        assert found.max() <= 16


@pytest.mark.parametrize("size", [(48, 80), (80, 48), (50, 50)])
def test_a_box_lies_around_what_is_drawn_in_it(size: tuple[int, int]) -> None:
    """A white rectangle: rows and columns of the clip that are more white than black, against the box."""
    height, width = size
    rng, looked = np.random.default_rng(0), 0
    for _ in range(20):
        top, left = int(rng.integers(8, height - 24)), int(rng.integers(8, width - 24))
        frames = torch.zeros(1, height, width, 3, dtype=torch.uint8)
        frames[:, top : top + 16, left : left + 14] = 255
        window = Window(2 * min(size), 3 * min(size) // 2, int(rng.integers(8)), int(rng.integers(8)),
                        bool(rng.integers(2)))  # fmt: skip
        box = [left / width, top / height, (left + 14) / width, (top + 16) / height]
        (found,), (kept,) = seen_in(window, np.array([box]), height, width)
        white = view(frames, window)[0, :, :, 0] > (0.5 - MEAN) / STD
        looked += kept
        if not kept:
            continue
        rows, columns = torch.nonzero(white.any(1)).flatten(), torch.nonzero(white.any(0)).flatten()
        seen = [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]
        assert found.tolist() == pytest.approx(seen, abs=1e-9)
    assert looked >= 5


def of_slowfast(place: int, spec: Spec, length: int) -> list[int]:
    """SlowFast's get_sequence: from half of T * stride before the key frame on, clamped to the video."""
    half = spec.frames * spec.stride // 2
    found = list(range(place - half, place + half, spec.stride))
    return [min(max(number, 0), length - 1) for number in found]


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (10, [6, 8, 10, 12]),
        (0, [0, 0, 0, 2]),
        (3, [0, 1, 3, 5]),
        (18, [14, 16, 18, 19]),
        (20, [16, 18, 19, 19]),  # just behind the end
    ],
)
def test_a_clip_lies_around_its_key_frame_within_the_video(place: int, expected: list[int]) -> None:
    assert indices_around(place, SPEC, 20).tolist() == expected
    assert of_slowfast(place, SPEC, 20) == expected


@pytest.mark.parametrize(("frames", "stride"), [(16, 5), (4, 12), (4, 16), (8, 8), (2, 16)])
def test_clips_of_published_sizes_are_those_of_slowfast(frames: int, stride: int) -> None:
    spec = Spec(replace(SPEC.base, frames=frames, stride=stride))
    for place in (0, 7, 60, 299):
        assert indices_around(place, spec, 300).tolist() == of_slowfast(place, spec, 300)


@pytest.mark.parametrize(("frames", "stride"), [(1, 16), (2, 8), (4, 5), (13, 6), (3, 3)])
def test_every_clip_shows_its_key_frame(frames: int, stride: int) -> None:
    """SlowFast's of one frame, or of thirteen, go past it."""
    spec = Spec(replace(SPEC.base, frames=frames, stride=stride))
    assert indices_around(150, spec, 300)[frames // 2] == 150


def test_seconds_count_from_where_the_frames_begin() -> None:
    assert centre(902.0, Footage(Path("v"), 900.0), 30) == 60
    assert centre(902.0, Footage(Path("v"), 0.0), 25) == 22550
    assert centre(1.5, Footage(Path("v")), 30000 / 1001) == 45
