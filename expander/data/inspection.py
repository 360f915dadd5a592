"""Every video of a data set looked at once: files by their packets, folders of pictures by their names."""

from __future__ import annotations

from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path

from expander.config.settings import DataConfig
from expander.data.annotations import VideoData
from expander.data.sources import every
from expander.video.decoder import Decoder, VideoError
from expander.video.pictures import fault_of
from expander.video.probe import Verdict


def examined(
    data: VideoData, config: DataConfig, progress: Callable[[int, int], None] | None = None
) -> list[tuple[Path, Verdict]]:
    """Each video and its verdict, training first. Pictures are counted against the list; one is decoded."""
    paths = [*data.train.paths, *data.val.paths]
    counts = [count for videos in (data.train, data.val)
              for _, count in zip_longest(videos.labels, videos.frames)]  # fmt: skip
    listed = dict(zip(paths, counts, strict=True))
    verdicts = every(paths, config, data.fingerprint, lambda frames, path: _look(frames, path, listed[path]),
                     progress)  # fmt: skip
    return list(zip(paths, verdicts, strict=True))


def _look(frames: Decoder, path: Path, listed: int | None) -> Verdict:
    verdict = frames.examine(path)
    if verdict.route != "pictures":
        return verdict
    if fault := fault_of(path, listed):
        return Verdict("bad", fault)
    try:
        frames.probe(path)
    except VideoError as error:
        return Verdict("bad", str(error).removeprefix(f"{path}: "))
    return verdict
