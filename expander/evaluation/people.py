"""What each person of a video does: boxes in, actions and their probabilities out.

    for person in people_of(Path("runs/ava/best.safetensors"), Path("party.mp4"), Path("boxes.csv")):
        print(person.second, person.box, person.actions)
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import torch

from expander.config.reading import is_folder
from expander.data.ava.annotations import key_frames
from expander.data.ava.footage import PICTURES_FPS
from expander.data.ava.keyframes import Footage, KeyFrame
from expander.data.ava.rows import read_asked
from expander.data.ava.samples import TestPeople
from expander.errors import DataError
from expander.evaluation.classifier import Prediction
from expander.specs.spec import Spec
from expander.training.detection.scores import Loading, answered
from expander.video.decoder import TIMEOUT, Decoder
from expander.weights.safetensors_file import load_weights

CLIPS = 8
"""At a time."""


@dataclass(frozen=True, slots=True)
class Person:
    """A box x1, y1, x2, y2 in shares of the picture, and the likeliest actions in it, the likeliest first.

    number: of the box among those of its second, from 1. Probabilities of several actions may be high.
    """

    second: float
    number: int
    box: tuple[float, ...]
    actions: tuple[Prediction, ...]


def people_of(
    weights: Path, video: Path, boxes: Path, topk: int = 3, spec: Spec | None = None, timeout: float = TIMEOUT
) -> list[Person]:
    """The people of a file of boxes (`data.ava.rows.read_asked`), by second and as listed.

    video: a file, or a folder of pictures at PICTURES_FPS; both begin with second 0.
    spec: clip and crop of another spec of the same network. timeout: seconds that the video may take to
    decode. Raises DataError, and UsageError for weights of another network or task.
    """
    loaded = load_weights(weights, spec, "detection")
    frames = key_frames(read_asked(boxes, video.name), loaded.classes)
    with closing(Decoder(timeout=timeout)) as decoder:
        footage = Footage(video, 0.0, PICTURES_FPS if is_folder(video) else None)
        _check_inside(frames, footage, decoder, boxes)
        clips = TestPeople(frames, {frame.video: footage for frame in frames}, loaded.spec, decoder)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        found = answered(loaded.network.to(device), clips, range(len(frames)), Loading(CLIPS, 0, device))
    if found.bad:
        raise DataError(found.bad[0])
    people = []
    for place, frame in enumerate(frames):
        pairs = zip(frame.boxes.tolist(), found.scores[place], strict=True)
        for number, (box, scores) in enumerate(pairs, 1):
            order = scores.argsort()[::-1][:topk].tolist()
            actions = tuple(Prediction(loaded.classes[n], float(scores[n])) for n in order)
            people.append(Person(frame.second, number, tuple(box), actions))
    return people


def _check_inside(frames: Sequence[KeyFrame], footage: Footage, decoder: Decoder, boxes: Path) -> None:
    """Raises DataError for a key frame after the end of the video."""
    video = decoder.open(footage.path)
    seconds = float(Fraction(video.length) / (footage.fps or video.fps))
    for frame in frames:
        if frame.second > seconds:
            raise DataError(f"{boxes}:{frame.line}: second {frame.second:g} is after the end of "
                            f"{footage.path}, which has {seconds:.2f} s")  # fmt: skip
