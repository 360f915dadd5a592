"""The gather of resize, crop and flip against torch's resize of the whole frame."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import interpolate

from expander.specs.spec import Base, Spec
from expander.video.transforms import Window, centre_window, random_window, resized, view

arithmetic = settings(
    deadline=None, derandomize=True, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
sizes = st.integers(3, 97)


def noise(frames: int, height: int, width: int) -> Tensor:
    random = torch.Generator().manual_seed(height * 1000 + width)
    return torch.randint(0, 256, (frames, height, width, 3), generator=random, dtype=torch.uint8)


def reference(frames_THWC: Tensor, window: Window) -> Tensor:
    """Whole frames resized by torch, then cropped, flipped and normalised."""
    _, height, width, _ = frames_THWC.shape
    size = resized(height, width, window.short_side)
    frames_TCHW = frames_THWC.permute(0, 3, 1, 2).float() / 255
    frames_TCHW = interpolate(frames_TCHW, size, mode="bilinear", align_corners=False)
    rows = slice(window.top, window.top + window.crop)
    columns = slice(window.left, window.left + window.crop)
    crop_TCHW = frames_TCHW[:, :, rows, columns]
    crop_TCHW = crop_TCHW.flip(3) if window.flip else crop_TCHW
    return ((crop_TCHW - 0.45) / 0.225).permute(0, 2, 3, 1)


@arithmetic
@given(
    height=sizes,
    width=sizes,
    short_side=st.integers(4, 80),
    crop=st.floats(0.05, 1),
    place=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    flip=st.booleans(),
)
def test_view_equals_a_resize_of_the_whole_frame_and_a_crop(
    height: int, width: int, short_side: int, crop: float, place: tuple[float, float], flip: bool
) -> None:
    new_h, new_w = resized(height, width, short_side)
    size = max(1, int(crop * short_side))
    top, left = int(place[0] * (new_h - size)), int(place[1] * (new_w - size))
    window = Window(short_side, size, top, left, flip)
    frames = noise(2, height, width)
    found = view(frames, window)
    assert found.shape == (2, size, size, 3)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, reference(frames, window), atol=1e-4, rtol=0)


def test_a_validation_leaves_the_views_of_the_next_training_as_they_are() -> None:
    frames, window = noise(2, 97, 113), Window(41, 29, top=7, left=3, flip=True)
    with torch.inference_mode():  # what it computes first is kept
        view(frames, window)
    first, second = view(frames, window), view(frames, window)
    weight = torch.ones(3, requires_grad=True)
    (second * weight).sum().backward()
    torch.testing.assert_close(first, reference(frames, window), atol=1e-4, rtol=0)
    assert torch.equal(first, second)
    assert weight.grad is not None


@pytest.mark.parametrize(("height", "width"), [(240, 320), (321, 241), (128, 171)])
@pytest.mark.parametrize("flip", [False, True])
def test_view_equals_torch_at_video_sizes(height: int, width: int, flip: bool) -> None:
    frames = noise(1, height, width)
    window = Window(182, 160, top=11, left=20 if width > height else 22, flip=flip)
    torch.testing.assert_close(view(frames, window), reference(frames, window), atol=1e-4, rtol=0)


def test_without_a_resize_view_is_a_normalised_crop() -> None:
    frames = noise(3, 20, 30)
    found = view(frames, Window(20, 5, top=3, left=7))
    expected = (frames[:, 3:8, 7:12].float() / 255 - 0.45) / 0.225
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_black_and_white_are_the_ends_of_the_normalised_range() -> None:
    window = Window(16, 16, 0, 0)
    assert view(torch.zeros(1, 9, 9, 3, dtype=torch.uint8), window).unique().tolist() == [-2.0]
    white = view(torch.full((1, 9, 9, 3), 255, dtype=torch.uint8), window)
    assert white.min().item() == pytest.approx(0.55 / 0.225)
    assert white.max().item() == pytest.approx(0.55 / 0.225)


def test_view_leaves_its_frames_alone() -> None:
    frames = noise(1, 10, 10)
    before = frames.clone()
    view(frames, Window(8, 8, 0, 0, flip=True))
    assert torch.equal(frames, before)


@pytest.mark.parametrize(
    ("size", "short_side", "expected"),
    [((240, 320), 182, (182, 242)), ((320, 240), 182, (242, 182)), ((256, 256), 100, (100, 100)),
     ((480, 853), 256, (256, 454)), ((1, 1000), 7, (7, 7000))],
)  # fmt: skip
def test_the_short_side_is_resized_and_the_long_side_keeps_the_ratio(
    size: tuple[int, int], short_side: int, expected: tuple[int, int]
) -> None:
    """853 * 256 / 480 = 454.9, truncated."""
    assert resized(*size, short_side) == expected


@arithmetic
@given(
    height=st.integers(1, 2000), width=st.integers(1, 2000), crop=st.integers(1, 400), seed=st.integers(0, 99)
)
def test_windows_lie_inside_the_resized_frame(height: int, width: int, crop: int, seed: int) -> None:
    spec = Spec(Base(crop=crop, crop_divisor=1))
    rng = np.random.default_rng(seed)
    for window in (centre_window(height, width, spec), random_window(height, width, spec, True, rng)):
        new_h, new_w = resized(height, width, window.short_side)
        assert min(new_h, new_w) == window.short_side
        assert window.crop == crop
        assert 0 <= window.top <= new_h - crop
        assert 0 <= window.left <= new_w - crop


@pytest.mark.parametrize(
    ("height", "width", "top", "left"),
    [(182, 242, 11, 41), (242, 182, 41, 11), (182, 243, 11, 42), (243, 182, 42, 11)],
)
def test_the_centre_window_is_centred_rounded_up(height: int, width: int, top: int, left: int) -> None:
    """A crop of 160 in frames of 182: 11 on both sides; of 83 spare columns 42 on the left."""
    spec = Spec(spatial=160 / 112)
    assert centre_window(height, width, spec) == Window(182, 160, top, left, flip=False)


def test_random_windows_use_the_whole_jitter_every_corner_and_both_flips() -> None:
    spec = Spec(Base(crop=14, crop_divisor=1))
    assert spec.jitter == (16, 20)
    rng = np.random.default_rng(0)
    windows = [random_window(18, 18, spec, True, rng) for _ in range(2000)]
    assert {window.short_side for window in windows} == set(range(16, 21))
    for short_side in range(16, 21):
        mine = [window for window in windows if window.short_side == short_side]
        assert {window.top for window in mine} == set(range(short_side - 14 + 1))
        assert {window.left for window in mine} == set(range(short_side - 14 + 1))
    assert 900 < sum(window.flip for window in windows) < 1100


def test_without_flip_no_window_is_flipped() -> None:
    rng = np.random.default_rng(0)
    assert not any(random_window(50, 70, Spec(), False, rng).flip for _ in range(100))


def test_the_same_seed_gives_the_same_window() -> None:
    one, two = (random_window(240, 320, Spec(), True, np.random.default_rng(5)) for _ in range(2))
    assert one == two
