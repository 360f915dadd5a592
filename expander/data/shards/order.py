"""The order of a pass that goes from shard to shard: shards at random, their videos through a shuffle buffer.

A pass in wholly random order jumps to another place for every clip. That costs nothing on an SSD, and a lot
on a hard disk. Here the videos come from a few shards at a time. Like the other order it
follows from the seed alone, before anything is read. So a training resumes at any position, and processes
that each take their part of every batch never repeat a video.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from expander.config.settings import DataConfig
from expander.data.annotations import Paths, VideoList
from expander.errors import UsageError


@dataclass(frozen=True, slots=True)
class Buffered:
    """starts: the number of the first video of each shard. videos: of all. size: of the buffer, videos."""

    starts: tuple[int, ...]
    videos: int
    size: int

    def order(self, rng: np.random.Generator) -> list[int]:
        """Every video once."""
        ends = (*self.starts[1:], self.videos)
        shards = rng.permutation(len(self.starts))
        row = [video for shard in shards for video in range(self.starts[shard], ends[shard])]
        size = min(self.size, len(row))
        held, found = row[:size], []
        slots = rng.integers(size, size=len(row) - size).tolist()
        for video, slot in zip(row[size:], slots, strict=True):
            found.append(held[slot])
            held[slot] = video
        return found + [held[slot] for slot in rng.permutation(size)]


def buffered(videos: VideoList, config: DataConfig) -> Buffered | None:
    """The order that `shuffle_buffer` asks for; none: all at random. Raises UsageError: no shards."""
    if not config.shuffle_buffer:
        return None
    assert isinstance(videos.paths, Paths)
    names = [name.rpartition(".tar/")[0] for name in videos.paths.names]
    if not any(names):
        raise UsageError("data.shuffle_buffer: the videos are files of their own, which have no better order"
                         "; leave it out, or name shards")  # fmt: skip
    return Buffered(_starts(names), len(names), config.shuffle_buffer)


def _starts(names: Sequence[str]) -> tuple[int, ...]:
    return tuple(number for number, name in enumerate(names) if number == 0 or name != names[number - 1])
