"""Every video of a data set looked at once: files by their packets, folders of pictures by their names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import zip_longest
from pathlib import Path

from expander.config.settings import DataConfig
from expander.data.annotations import VideoList
from expander.data.ava.keyframes import DetectionData, DetectionSplit
from expander.data.sources import every
from expander.data.tasks import TaskData
from expander.video.decoder import Decoder, VideoError
from expander.video.pictures import fault_of
from expander.video.probe import Verdict


def examined(
    data: TaskData, config: DataConfig, progress: Callable[[int, int], None] | None = None
) -> list[tuple[Path, Verdict]]:
    """Each video and its verdict, training first. Pictures are counted against the list; one is decoded."""
    paths = [*data.train.paths, *data.val.paths]
    counts = [count for videos in (data.train, data.val) for count in _counts(videos)]
    listed = dict(zip(paths, counts, strict=True))
    verdicts = every(paths, config, data.fingerprint, lambda frames, path: _look(frames, path, listed[path]),
                     progress)  # fmt: skip
    return list(zip(paths, verdicts, strict=True))


def _counts(videos: VideoList | DetectionSplit) -> list[int | None]:
    """Of the pictures of each video, where its list has them."""
    if isinstance(videos, DetectionSplit):
        return [None] * len(videos.footage)
    return [count for _, count in zip_longest(videos.labels, videos.frames)]


@dataclass(frozen=True, slots=True)
class PeopleCounts:
    """How much a split of detection has. detected: boxes of a detector of people, none without such a file.
    missing: videos of the list that are not on disk.
    """

    key_frames: int
    videos: int
    boxes: int
    labels: int
    detected: int | None
    missing: tuple[str, ...]

    @classmethod
    def of(cls, split: DetectionSplit) -> PeopleCounts:
        """All boxes and labels of the ground truth."""
        labels = sum(int(frame.labels.sum()) for frame in split.truth if frame.labels is not None)
        boxes = sum(map(len, split.truth))
        detected = None if split.detected is None else sum(map(len, split.detected))
        return cls(len(split), len(split.footage), boxes, labels, detected, split.missing)


def people(data: TaskData) -> dict[str, PeopleCounts]:
    """Of the splits of data for detection by their names; of other data nothing."""
    if not isinstance(data, DetectionData):
        return {}
    return {"train": PeopleCounts.of(data.train), "val": PeopleCounts.of(data.val)}


def outside(data: DetectionData, config: DataConfig) -> list[str]:
    """Key frames before or after their video, as file:line and why. Unreadable videos are not looked at."""
    found = list[str]()
    for split in (data.train, data.val):
        spans = every(split.paths, config, data.fingerprint, _seconds)
        lasts = dict(zip(split.footage, spans, strict=True))
        for frame in split.truth:
            footage, (frames, own) = split.footage[frame.video], lasts[frame.video]
            seconds = float(frames / (footage.fps or own))
            if frames and not footage.begins <= frame.second < footage.begins + seconds:
                found.append(f"{split.file}:{frame.line}: second {frame.second:g} is not in {footage.path}, "
                             f"which has {footage.begins:g} to {footage.begins + seconds:.6g}")  # fmt: skip
    return found


def _seconds(frames: Decoder, path: Path) -> tuple[int, Fraction]:
    """Frames of a video, and frames a second; no frames of one that cannot be read."""
    try:
        return frames.probe(path)[0], frames.rate(path)
    except VideoError:
        return 0, Fraction(1)


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
