"""A test of action detection from what it is asked to be to its result: weights, key frames, frame mAP."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expander.config.settings import DataConfig
from expander.data.ava.boxes import to_test
from expander.data.ava.folder import open_validation
from expander.data.ava.keyframes import DetectionData, KeyFrame
from expander.data.ava.samples import TestPeople
from expander.data.ava.writing import detections
from expander.data.sources import decoder
from expander.engine.references import data_of, find_spec, find_training, find_weights, home_of
from expander.engine.test import Kept, device_of, locked
from expander.errors import DataError, UsageError
from expander.evaluation.scores import KeyFrameScores
from expander.metrics.boxes import Floats
from expander.metrics.frame_map import IOU, average_precisions, interval, mean_over
from expander.runs.names import below, inside
from expander.runs.targets import regular
from expander.specs.cost import cost
from expander.training.detection.scores import Answers, Loading, PeopleScores, answered, measured
from expander.training.loop import Diverged
from expander.weights.safetensors_file import Loaded, load_weights

Progress = Callable[[int, int], None]
SCHEMA = 1
SHOWN = 6


@dataclass(frozen=True, slots=True)
class DetectionTest:
    """What is to be tested and on what; the fields are options of `expander test --task detection`.

    least: score of a detected person; none, data.test_score. batch: clips at a time. workers: loader
    processes. resume: whether a test that was stopped, of the same result, is gone on with.
    """

    spec: str
    checkpoint: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    least: float | None = None
    device: str | None = None
    batch: int = 10
    workers: int = 1
    timeout: float | None = None
    out: Path | None = None
    resume: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """All that a test needs. frames: the key frames with the boxes that are scored. out: of its result."""

    loaded: Loaded
    path: Path
    config: DataConfig
    data: DetectionData
    frames: tuple[KeyFrame, ...]
    how: Loading
    out: Path | None
    scores: Kept[KeyFrameScores]


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """result: for JSON, as docs/detection.md describes it. table: every box and score, as a file of
    detections. shown: pictures of a few key frames.
    """

    result: dict[str, Any]
    table: str
    shown: tuple[Shown, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A key frame to look at. picture: (H, W, 3) bytes. truth, found: boxes in shares, and actions, a line
    each.
    """

    title: str
    picture: NDArray[np.uint8]
    truth: tuple[tuple[tuple[float, ...], str], ...]
    found: tuple[tuple[tuple[float, ...], str], ...]


def prepare(order: DetectionTest, progress: Progress | None = None) -> Prepared:
    """Weights and key frames. Raises UsageError, DataError or EnvironmentFault."""
    device = device_of(order.device)
    path = find_weights(order.checkpoint or order.spec)
    if order.checkpoint is None and path.suffix != ".safetensors":
        raise UsageError(f"CHECKPOINT is missing: the weights of {order.spec}; only a run brings its own")
    loaded = load_weights(path, find_spec(order.spec), "detection")
    config = _config(order)
    data = open_validation(config, loaded.classes, progress)
    if data.classes != loaded.classes:
        raise DataError(f"{path}: knows {_named(loaded.classes)}, and {data.val.file} has "
                        f"{_named(data.classes)}")  # fmt: skip
    frames = to_test(data, config.test_score)
    how, out = Loading(order.batch, order.workers, device), _result_path(order)
    if out is None:
        if order.resume:
            raise UsageError("--resume needs the --out of the test that was stopped")
        return Prepared(loaded, path, config, data, frames, how, None, Kept())
    place, sizes = out.with_suffix(".scores.jsonl"), [len(frame) for frame in frames]
    head = {"task": "detection", "checkpoint": loaded.sha256, "spec": str(loaded.spec),
            "min_score": config.test_score, "data": data.fingerprint}  # fmt: skip
    kept = locked(place, lambda: KeyFrameScores(place, head, sizes, len(loaded.classes), order.resume))
    return Prepared(loaded, path, config, data, frames, how, out, kept)


def carry_out(prepared: Prepared, progress: Progress | None = None) -> Found:
    """The result and the scores behind it. Raises DataError when no video is read."""
    begun = time.monotonic()
    loaded, data, frames, file = prepared.loaded, prepared.data, prepared.frames, prepared.scores.file
    known = file.known if file else {}
    with closing(decoder(replace(prepared.config, cache_gb=0.0), "")) as uncached:
        clips = TestPeople(frames, data.val.footage, loaded.spec, uncached)
        found = _answers(prepared, clips, progress)
        # Who tests is told of unreadable videos in the result.
        scores = measured(frames, found, data, replace(prepared.config, max_bad_fraction=0.99))
        shown = tuple(_shown(prepared, clips, found))
    result = _result(prepared, scores, time.monotonic() - begun, len(frames) - len(known))
    scored = [(frame, found.scores[number]) for number, frame in enumerate(frames)]
    table = detections(scored, data.evaluated, () if data.numbered else loaded.classes)
    return Found(result, table, shown)


def _answers(prepared: Prepared, clips: TestPeople, progress: Progress | None) -> Answers:
    """The scores of every key frame: those that are kept of a test that was stopped, and the others."""
    file, done = prepared.scores.file, dict[int, Floats]()
    if file is not None:
        done |= file.known

    def heard(part: Answers) -> None:
        done.update(part.scores)
        if file is not None:
            file.add(part.scores, next(iter(part.bad), ""))
        if progress is not None:
            progress(len(done), len(clips))

    # Only whole batches are kept, so that those that are left are the ones of an undisturbed test.
    left = [number for number in range(len(clips)) if number not in done]
    network = prepared.loaded.network.to(prepared.how.device)
    try:
        found = answered(network, clips, left, prepared.how, heard)
    except Diverged:
        raise DataError(f"{prepared.path}: its scores are not finite: it is damaged or its training "
                        "diverged") from None  # fmt: skip
    return Answers(done, found.bad)


def _shown(prepared: Prepared, clips: TestPeople, found: Answers) -> Iterator[Shown]:
    """SHOWN key frames with people in them, of videos that could be read, spread over the list."""
    data, frames = prepared.data, prepared.frames
    truths = {frame.moment: frame for frame in data.val.truth}
    read = [number for number, frame in enumerate(frames)
            if frame.moment in truths and np.isfinite(found.scores[number]).all()]  # fmt: skip
    for place in np.unique(np.linspace(0, len(read) - 1, SHOWN).round().astype(int)).tolist():
        number = read[place]
        frame, truth = frames[number], truths[frames[number].moment]
        assert truth.labels is not None
        said = ["\n".join(f"{data.classes[n]} {row[n]:.0%}" for n in _likely(row, data.evaluated))
                for row in found.scores[number]]  # fmt: skip
        right = ["\n".join(data.classes[n] for n in np.flatnonzero(row)) for row in truth.labels]
        yield Shown(f"{frame.video}, second {frame.second:g}", clips.picture(number)[0],
                    _told(truth, right), _told(frame, said))  # fmt: skip


def _likely(scores: Floats, evaluated: tuple[int, ...]) -> list[int]:
    """The likeliest class, and others that are more likely than not; at most three."""
    order = sorted(evaluated, key=lambda number: -scores[number])[:3]
    return [number for place, number in enumerate(order) if place == 0 or scores[number] >= 0.5]


def _told(frame: KeyFrame, texts: Sequence[str]) -> tuple[tuple[tuple[float, ...], str], ...]:
    return tuple(zip(map(tuple, frame.boxes.tolist()), texts, strict=True))


def _result(prepared: Prepared, scores: PeopleScores, seconds: float, done: int) -> dict[str, Any]:
    """done: key frames of this call."""
    loaded, data = prepared.loaded, prepared.data
    each = scores.each
    precisions = average_precisions(each)
    low, high = interval(each, data.evaluated)
    boxes = sum(map(len, prepared.frames))
    macs = cost(loaded.spec, boxes=1).macs
    return {
        "schema": SCHEMA, "task": "detection", "spec": asdict(loaded.spec), "iou": IOU,
        "people": "true" if data.val.detected is None else "detected",
        "min_score": None if data.val.detected is None else prepared.config.test_score,
        "metrics": {"frame_map": {"value": mean_over(precisions, data.evaluated), "low": low, "high": high}},
        "classes": list(loaded.classes),
        "per_class": [{"class": loaded.classes[number], "average_precision": float(precisions[number]),
                       "n": int(each[number].positives.sum())}
                      for number in data.evaluated if each[number].positives.any()],
        "n": len(data.val.truth), "videos": len(data.val.footage), "boxes": boxes,
        "n_failed": len(scores.bad), "failed": [{"reason": reason} for reason in scores.bad],
        "cost": {"macs_per_clip": macs, "macs_per_person": cost(loaded.spec, boxes=2).macs - macs},
        "seconds": seconds, "key_frames_per_second": done / seconds if seconds else 0.0,
        "data": data.fingerprint,
        "checkpoint": {"path": str(prepared.path), "sha256": loaded.sha256},
    }  # fmt: skip


def _config(order: DetectionTest) -> DataConfig:
    """The data that are named, or the run's, or the embedded ones. Raises UsageError."""
    config = None if order.data else data_of(order.spec)
    try:
        config = config or DataConfig(**order.data)
        if order.least is not None:
            config = replace(config, test_score=order.least)
    except (TypeError, ValueError) as error:
        raise UsageError(str(error)) from None
    return config if order.timeout is None else replace(config, decode_timeout=order.timeout)


def _named(classes: tuple[str, ...]) -> str:
    return f"{len(classes)} classes ({', '.join(classes[:3])}{', ...' if len(classes) > 3 else ''})"


def _result_path(order: DetectionTest) -> Path | None:
    """The one that is asked for, or in the folder of the run."""
    home = home_of(order.spec)
    if order.out is not None:
        return regular(order.out, "--out")
    if home is None:
        return None
    name, _, which = order.spec.partition(":")
    file = below(home / "tests", f"{which or ('best' if find_training(name) else 'final')}-detection.json")
    inside(home, file)
    return file
