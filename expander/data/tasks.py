"""The data of a task: videos with labels, or key frames with people."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from expander.config.settings import DataConfig, Task
from expander.data.annotations import VideoData
from expander.data.ava.boxes import to_train
from expander.data.ava.folder import open_detection, recognised
from expander.data.ava.keyframes import DetectionData
from expander.data.sources import open_data

TaskData = VideoData | DetectionData


def open_for(
    task: Task, config: DataConfig, progress: Callable[[int, int], None] | None = None, again: bool = False
) -> TaskData:
    """See `open_data` and `open_detection`. Raises DataError or EnvironmentFault."""
    return open_detection(config, progress) if task == "detection" else open_data(config, progress, again)


def task_of(config: DataConfig) -> Task:
    """Detection where the data is a folder with lists of boxes. Raises DataError."""
    boxes = config.folder is not None and recognised(Path(config.folder))
    return "detection" if boxes else "classification"


def samples_of(data: TaskData, config: DataConfig) -> int:
    """What a pass over the training data has: videos, or key frames with people that are trained on."""
    if isinstance(data, DetectionData):
        return len(to_train(data.train, config.train_score))
    return len(data.train)
