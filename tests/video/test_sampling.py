"""Which frames a clip takes: always inside the video, evenly spread, at the stride."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from expander.video.sampling import clip_indices, training_indices, view_indices

arithmetic = settings(deadline=None, derandomize=True, max_examples=200)
lengths, frames, strides = st.integers(1, 500), st.integers(1, 40), st.integers(1, 24)
shares = st.floats(0, 1, exclude_max=True)


def test_a_clip_takes_every_stride_th_frame() -> None:
    assert clip_indices(10, 4, 12, 300).tolist() == [10, 22, 34, 46]


def test_a_short_video_repeats_its_last_frame() -> None:
    assert clip_indices(0, 4, 12, 30).tolist() == [0, 12, 24, 29]
    assert training_indices(0.99, 4, 12, 30).tolist() == [0, 12, 24, 29]
    assert view_indices(1, 2, 4, 12, 1).tolist() == [0, 0, 0, 0]


def test_a_video_of_exactly_the_clip_has_one_clip() -> None:
    """13 frames at a stride of 6 span 73."""
    clip = list(range(0, 73, 6))
    for u in (0.0, 0.5, 0.999999):
        assert training_indices(u, 13, 6, 73).tolist() == clip
    for view in range(3):
        assert view_indices(view, 3, 13, 6, 73).tolist() == clip


@arithmetic
@given(u=shares, count=frames, stride=strides, length=lengths)
def test_a_training_clip_lies_inside_its_video(u: float, count: int, stride: int, length: int) -> None:
    indices = training_indices(u, count, stride, length)
    assert indices.shape == (count,)
    assert indices.min() >= 0
    assert indices.max() < length
    if length > (count - 1) * stride:
        assert (np.diff(indices) == stride).all()
    else:
        assert indices.tolist() == [min(stride * i, length - 1) for i in range(count)]


@arithmetic
@given(count=frames, stride=strides, room=st.integers(0, 60))
def test_every_start_from_which_a_clip_fits_is_equally_likely(count: int, stride: int, room: int) -> None:
    length = (count - 1) * stride + 1 + room
    for start in range(room + 1):
        u = (start + 0.5) / (room + 1)
        assert training_indices(u, count, stride, length)[0] == start


@arithmetic
@given(count=frames, stride=strides, length=lengths)
def test_the_ends_of_the_draw_are_the_ends_of_the_video(count: int, stride: int, length: int) -> None:
    first = training_indices(0.0, count, stride, length)
    last = training_indices(float(np.nextafter(1, 0)), count, stride, length)
    assert first[0] == 0
    assert last[0] == max(0, length - 1 - (count - 1) * stride)
    assert last[-1] == min(length - 1, last[0] + (count - 1) * stride)


@arithmetic
@given(views=st.integers(1, 12), count=frames, stride=strides, length=lengths)
def test_views_lie_inside_the_video_in_order(views: int, count: int, stride: int, length: int) -> None:
    clips = [view_indices(view, views, count, stride, length) for view in range(views)]
    assert all(clip.min() >= 0 for clip in clips)
    assert all(clip.max() < length for clip in clips)
    starts = [int(clip[0]) for clip in clips]
    assert starts == sorted(starts)


@arithmetic
@given(views=st.integers(2, 12), count=frames, stride=strides, length=lengths)
def test_views_reach_from_the_first_start_to_the_last_in_even_steps(
    views: int, count: int, stride: int, length: int
) -> None:
    room = max(0, length - 1 - (count - 1) * stride)
    starts = [int(view_indices(view, views, count, stride, length)[0]) for view in range(views)]
    assert (starts[0], starts[-1]) == (0, room)
    for view, start in enumerate(starts):
        assert abs(start - view * room / (views - 1)) < 1 + 1e-9


def test_one_view_is_the_middle_one() -> None:
    assert view_indices(0, 1, 1, 24, 101).tolist() == [50]
    assert view_indices(0, 1, 4, 12, 101).tolist() == [32, 44, 56, 68]
    assert view_indices(1, 3, 4, 12, 101).tolist() == [32, 44, 56, 68]
