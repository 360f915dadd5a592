"""The data of a task: videos with labels, or key frames with people."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from expander.config.settings import DataConfig, Task
from expander.data.annotations import VideoData
from expander.data.ava.boxes import to_train
from expander.data.ava.folder import open_detection, recognised
from expander.data.ava.keyframes import DetectionData
from expander.data.sources import decoder, open_data
from expander.errors import DataError
from expander.video.decoder import Decoder

TaskData = VideoData | DetectionData
KEPT = 0.1
"""Share of the videos, unreadable ones say, whose frames may be missing where those of others are kept."""


def open_for(
    task: Task, config: DataConfig, progress: Callable[[int, int], None] | None = None, again: bool = False
) -> TaskData:
    """See `open_data` and `open_detection`. Raises DataError or EnvironmentFault."""
    return open_detection(config, progress) if task == "detection" else open_data(config, progress, again)


def reopened(task: Task, config: DataConfig, fingerprint: str) -> TaskData:
    """The data of a run that has begun, by the fingerprint that it began with; if they have changed, as they
    are now.

    What this machine keeps of a store's lists and folders may be of an earlier run: where it is not this
    run's, the store is asked anew. Raises DataError or EnvironmentFault.
    """
    with contextlib.suppress(DataError):
        if (data := open_for(task, config, again=True)).fingerprint == fingerprint:
            return data
    return open_for(task, config)


def task_of(config: DataConfig) -> Task:
    """Detection where the data is a folder with lists of boxes. Raises DataError."""
    boxes = config.folder is not None and recognised(Path(config.folder))
    return "detection" if boxes else "classification"


def decoder_of(data: DetectionData, config: DataConfig) -> Decoder:
    """Who decodes the footage. Raises EnvironmentFault.

    With decoded frames kept only where those of nearly all videos are: of films of hours a few seconds around
    key frames are wanted, and what is kept is decoded whole.
    """
    frames = decoder(config, data.fingerprint)
    paths = [*data.train.paths, *data.val.paths]
    if sum(map(frames.lacks, paths)) <= KEPT * len(paths):
        return frames
    frames.close()
    return decoder(replace(config, cache_gb=0.0), data.fingerprint)


def samples_of(data: TaskData, config: DataConfig) -> int:
    """What a pass over the training data has: videos, or key frames with people that are trained on."""
    if isinstance(data, DetectionData):
        return len(to_train(data.train, config.train_score))
    return len(data.train)
