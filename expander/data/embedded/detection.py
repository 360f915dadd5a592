"""The embedded set for action detection: films of two or three people, with boxes at key seconds.

`render_scene` in scenes.py draws the films. Layout: videos/{train,val}/<number>.mp4, train.csv and val.csv
(boxes and labels), train_detected.csv and val_detected.csv (as a detector of people would find them),
classes.txt and manifest.json. Labels of a person are the action, while it is under way, and the posture.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from expander.data.ava.rows import CORNERS, HEADER
from expander.data.embedded import making
from expander.data.embedded.figures import FPS
from expander.data.embedded.making import Progress
from expander.data.embedded.scenes import Person, render_scene
from expander.data.embedded.skeleton import Array

VERSION = 1
"""Raised with every change of the pixels or the boxes."""

SPLITS = ("train", "val")
ACTIONS = ("sit-down", "stand-up", "wave", "raise-hand", "push-ups", "jumping-jacks", "squats", "kick")
"""The first four are told by time only: the order of frames, or whether there is motion."""
POSTURES = ("upright", "low")
MISSED, FALSE, LOUD = 0.06, 0.3, 0.06
"""Of a detector of people: share of people that it misses; boxes of nobody in a key frame, with low scores
and with high ones.
"""
JITTER = 0.03
"""Standard deviation of a detected corner, in shares of the box."""

Row = tuple[str | float, ...]


@dataclass(frozen=True, slots=True)
class SceneConfig:
    """What is made: films per split, frames and pixels of a film, its key seconds."""

    actions: tuple[str, ...] = ACTIONS
    train: int = 200
    val: int = 80
    frames: int = 60
    height: int = 112
    width: int = 176
    seconds: tuple[float, ...] = (1.0, 1.5, 2.0)

    @property
    def classes(self) -> tuple[str, ...]:
        """In the order of their numbers."""
        return (*self.actions, *POSTURES)

    @property
    def fingerprint(self) -> str:
        """Eight hex digits of all that decides on the files except the seed."""
        text = json.dumps([VERSION, asdict(self)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class _Item:
    """One film to be made: its split and its number within."""

    split: str
    index: int

    @property
    def path(self) -> str:
        """Place of the file, relative to the root of the set."""
        return f"videos/{self.split}/{self.index:04d}.mp4"


@dataclass(frozen=True, slots=True)
class _Film:
    """A film that was made: its entry in the manifest, and rows of what is true and of what was detected."""

    entry: dict[str, Any]
    truth: list[Row]
    detected: list[Row]


def ensure_scenes(
    cache_root: Path,
    config: SceneConfig | None = None,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """The set's folder in the cache, made if it is not there, made again if it is damaged; see making.keep.

    workers: processes, None for one a core; progress(done, total) is called for each film.
    """
    config = config or SceneConfig()
    root = cache_root / f"embedded-detection-v{VERSION}-{config.fingerprint}-seed{seed}"
    return making.keep(root, partial(_build, config, seed, workers, progress))


def _build(
    config: SceneConfig, seed: int, workers: int | None, progress: Progress | None, root: Path
) -> None:  # fmt: skip
    """Fill the empty folder `root`."""
    counts = dict(zip(SPLITS, (config.train, config.val), strict=True))
    items = [_Item(split, index) for split, count in counts.items() for index in range(count)]
    for split in SPLITS:
        (root / "videos" / split).mkdir(parents=True)
    films = making.each(partial(_make_film, root, config, seed), items, workers, progress)
    files = {item.path: film.entry for item, film in zip(items, films, strict=True)}
    texts = {"classes.txt": "".join(f"{name}\n" for name in config.classes)}
    for split in SPLITS:
        own = [film for item, film in zip(items, films, strict=True) if item.split == split]
        texts[f"{split}.csv"] = _csv(HEADER, [row for film in own for row in film.truth])
        head = ["video", "second", *CORNERS, "score"]
        texts[f"{split}_detected.csv"] = _csv(head, [row for film in own for row in film.detected])
    files |= making.write_texts(root, texts)
    head_of_all = {"version": VERSION, "seed": seed, "fingerprint": config.fingerprint, "fps": FPS}
    making.write_manifest(root, {**head_of_all, "config": asdict(config)}, files)


def _make_film(root: Path, config: SceneConfig, seed: int, item: _Item) -> _Film:
    """Renders and encodes a film of two people or, every second, of three."""
    # Seeded by what the film is, so that neither order nor number of workers changes a pixel.
    rng = np.random.default_rng([seed, SPLITS.index(item.split), item.index])
    actions = rng.choice(config.actions, size=2 + item.index % 2, replace=False).tolist()
    video, people = render_scene(actions, rng, config.frames, config.height, config.width)
    making.encode(video, root / item.path, "veryfast")  # half as large as the quickest makes it
    truth, detected = list[Row](), list[Row]()
    for second in config.seconds:
        frame = round(second * FPS)
        truth += [(item.path, second, *_written(one.boxes[frame]), _labels(one, frame)) for one in people]
        found = _detected(np.stack([one.boxes[frame] for one in people]), rng)
        detected += [(item.path, second, *_written(box), score) for box, score in found]
    return _Film(making.entry(root / item.path), truth, detected)


def _labels(person: Person, frame: int) -> str:
    doing = [person.action] if person.acting[frame] else []
    return ";".join([*doing, POSTURES[int(person.low[frame])]])


def _detected(boxes: Array, rng: np.random.Generator) -> list[tuple[Array, float]]:
    """What a detector of people makes of true boxes (n, 4): boxes and scores, the highest first."""
    found = list[tuple[Array, float]]()
    for box in boxes[rng.random(len(boxes)) >= MISSED]:
        size = np.tile(box[2:] - box[:2], 2)
        found.append((box + rng.normal(0, JITTER, size=4) * size, 1 - rng.beta(1, 15)))
    for often, scores in ((FALSE, (0.05, 0.6)), (LOUD, (0.8, 0.95))):
        if rng.random() < often:
            size = rng.uniform((0.08, 0.2), (0.3, 0.55))
            corner = rng.random(2) * (1 - size)
            found.append((np.concatenate([corner, corner + size]), rng.uniform(*scores)))
    rounded = [(np.clip(box, 0, 1), round(float(score), 3)) for box, score in found]
    return sorted(rounded, key=lambda one: -one[1])


def _written(box: Array) -> list[float]:
    return [round(float(corner), 4) for corner in box]


def _csv(head: Sequence[str], rows: Sequence[Row]) -> str:
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows([head, *rows])
    return text.getvalue()
