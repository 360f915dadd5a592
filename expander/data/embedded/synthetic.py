"""The embedded data set: real H.264 MP4 files, made once, seeded and checksummed.

`render` in figures.py draws the frames; this file lists them and names the set in the cache (making.py).
Layout: videos/{train,val}/<class>/<number>.mp4, train.txt and val.txt with lines `relative/path label`,
classes.txt and manifest.json.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from expander.data.embedded import making
from expander.data.embedded.figures import CLASSES, FPS, render
from expander.data.embedded.making import Progress

VERSION = 5
"""Raised with every change of the pixels, so that an old cache is never taken for a new set."""

SPLITS = ("train", "val")


@dataclass(frozen=True, slots=True)
class SetConfig:
    """What is made: the classes, videos per class and split, frames and pixels of a video."""

    classes: tuple[str, ...] = CLASSES
    train: int = 50
    val: int = 50
    frames: int = 64
    height: int = 96
    width: int = 112

    @property
    def fingerprint(self) -> str:
        """Eight hex digits of all that decides on the pixels except the seed."""
        text = json.dumps([VERSION, asdict(self)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class _Item:
    """One video to be made: its split, class number and number within the class."""

    split: str
    label: int
    index: int

    def path(self, config: SetConfig) -> str:
        """Place of the file, relative to the root of the set."""
        return f"videos/{self.split}/{config.classes[self.label]}/{self.index:04d}.mp4"


def _items(config: SetConfig) -> Iterator[_Item]:
    for split, count in zip(SPLITS, (config.train, config.val), strict=True):
        for label in range(len(config.classes)):
            for index in range(count):
                yield _Item(split, label, index)


def _make_video(root: Path, config: SetConfig, seed: int, item: _Item) -> dict[str, Any]:
    """Render and encode one video; its entry in the manifest."""
    # Seeded by what the video is, so that neither order nor number of workers changes a pixel.
    rng = np.random.default_rng([seed, SPLITS.index(item.split), item.label, item.index])
    file = root / item.path(config)
    making.encode(render(config.classes[item.label], rng, config.frames, config.height, config.width), file)
    return making.entry(file)


def _lists(config: SetConfig) -> dict[str, str]:
    """Texts of train.txt, val.txt and classes.txt."""
    texts = {"classes.txt": "".join(f"{name}\n" for name in config.classes)}
    for split in SPLITS:
        rows = (item for item in _items(config) if item.split == split)
        texts[f"{split}.txt"] = "".join(f"{row.path(config)} {row.label}\n" for row in rows)
    return texts


def _build(
    config: SetConfig, seed: int, workers: int | None, progress: Progress | None, root: Path
) -> None:
    """Fill the empty folder `root`."""
    items = list(_items(config))
    for folder in {(root / item.path(config)).parent for item in items}:
        folder.mkdir(parents=True)
    entries = making.each(partial(_make_video, root, config, seed), items, workers, progress)
    files = dict(zip((item.path(config) for item in items), entries, strict=True))
    files |= making.write_texts(root, _lists(config))
    head = {"version": VERSION, "seed": seed, "fingerprint": config.fingerprint, "fps": FPS}
    making.write_manifest(root, {**head, "config": asdict(config)}, files)


def make(
    root: Path,
    config: SetConfig | None = None,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Make a set in the folder `root`, which appears complete or not at all; returns `root`.

    `workers`: processes, None for one a core; `progress(done, total)` is called for each video.
    Raises FileExistsError where `root` is a file or a folder that is not empty.
    """
    return making.put(root, partial(_build, config or SetConfig(), seed, workers, progress))


def ensure(
    cache_root: Path,
    config: SetConfig | None = None,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """The folder of the set in the cache, made if it is not there or damaged; see making.keep."""
    config = config or SetConfig()
    root = cache_root / f"embedded-v{VERSION}-{config.fingerprint}-seed{seed}"
    return making.keep(root, partial(_build, config, seed, workers, progress))
