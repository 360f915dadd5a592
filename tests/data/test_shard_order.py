"""A pass through a shuffle buffer: every video once, from few shards at a time, resumed anywhere."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_shards import sample, tar_of

from expander.config.settings import DataConfig
from expander.data.annotations import Paths, VideoList
from expander.data.clips import training_order
from expander.data.shards.order import Buffered, buffered
from expander.data.sources import open_data
from expander.errors import UsageError

STARTS = st.lists(st.integers(1, 20), min_size=1, max_size=8).map(
    lambda lengths: (tuple(int(n) for n in np.cumsum([0, *lengths[:-1]])), sum(lengths)))  # fmt: skip


@settings(deadline=None, derandomize=True, max_examples=100)
@given(STARTS, st.integers(1, 200), st.integers(0, 5))
def test_every_pass_shows_every_video_once(shape: tuple[tuple[int, ...], int], size: int, seed: int) -> None:
    starts, videos = shape
    through = Buffered(starts, videos, size)
    order = [video for video, _, _ in training_order(videos, 3 * videos, seed, 0, through)]
    for number in range(3):
        assert sorted(order[number * videos : (number + 1) * videos]) == list(range(videos))


@settings(deadline=None, derandomize=True, max_examples=100)
@given(STARTS, st.integers(1, 50), st.integers(0, 150))
def test_from_any_position_it_is_the_rest(shape: tuple[tuple[int, ...], int], size: int, begin: int) -> None:
    starts, videos = shape
    through = Buffered(starts, videos, size)
    whole = list(training_order(videos, 100, 3, 0, through))
    assert list(training_order(videos, 100, 3, begin, through)) == whole[begin:]


def test_shards_come_one_after_another_and_no_video_waits_for_more_than_the_buffer() -> None:
    through = Buffered(tuple(range(0, 1000, 100)), 1000, 50)
    order = through.order(np.random.default_rng(0))
    entered: deque[int] = deque(dict.fromkeys(video // 100 for video in order))
    firsts = {shard: min(order.index(v) for v in range(shard * 100, shard * 100 + 100)) for shard in entered}
    assert sorted(entered) == list(range(10))
    assert list(entered) != list(range(10))
    # Of each shard nothing comes before those that were read before it, less what the buffer holds.
    for place, shard in enumerate(sorted(entered, key=firsts.__getitem__)):
        assert firsts[shard] >= max(0, 100 * place - 50)
    within = [video for video in order if video // 100 == entered[0]]
    assert within != sorted(within)


def test_the_buffer_is_for_shards_whose_videos_it_knows(tmp_path: Path) -> None:
    for split, names in (("train-0", "ab"), ("train-1", "cde"), ("val-0", "fg")):
        samples = [sample(name, number % 2, name.encode()) for number, name in enumerate(names)]
        tar_of(tmp_path / f"{split}.tar", [member for one in samples for member in one])
    config = DataConfig(folder=str(tmp_path), shuffle_buffer=3)
    found = open_data(config)
    assert buffered(found.train, config) == Buffered((0, 2), 5, 3)
    assert buffered(found.train, replace(config, shuffle_buffer=0)) is None
    files = VideoList(Paths(tmp_path, ("a.mp4", "b.mp4")), (0, 1))
    with pytest.raises(UsageError, match="which have no better order"):
        buffered(files, config)
