"""The embedded data set: real H.264 MP4 files, made once, seeded and checksummed.

`render` in figures.py draws the frames; this file encodes them, lists them and keeps the set in a
cache. Layout: videos/{train,val}/<class>/<number>.mp4, train.txt and val.txt with lines
`relative/path label`, classes.txt and manifest.json.
"""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
import platform
import shutil
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np

from expander.config.reading import parse_json, read_text
from expander.data.embedded.figures import CLASSES, FPS, Video, render
from expander.runs.machine import alive, begin_worker, cores

VERSION = 5
"""Raised with every change of the pixels, so that an old cache is never taken for a new set."""

MANIFEST = "manifest.json"
SPLITS = ("train", "val")
Progress = Callable[[int, int], None]

log = logging.getLogger(__name__)


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


def encode(video: Video, path: Path) -> None:
    """Write frames (T, H, W, 3) as an H.264 MP4 of FPS frames a second."""
    with av.open(os.fspath(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.height, stream.width = video.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1  # one thread: the same bytes on every machine
        # Without B-frames the file needs no edit list, which some decoders read wrongly.
        stream.options = {"preset": "ultrafast", "crf": "23", "bf": "0", "g": "32"}
        for picture in video:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def _make_video(root: Path, config: SetConfig, seed: int, item: _Item) -> tuple[str, int, str]:
    """Render and encode one video; its relative path, bytes and SHA-256."""
    # Seeded by what the video is, so that neither order nor number of workers changes a pixel.
    rng = np.random.default_rng([seed, SPLITS.index(item.split), item.label, item.index])
    name = item.path(config)
    video = render(config.classes[item.label], rng, config.frames, config.height, config.width)
    encode(video, root / name)
    data = (root / name).read_bytes()
    return name, len(data), hashlib.sha256(data).hexdigest()


def _make_videos(
    root: Path, config: SetConfig, seed: int, workers: int, progress: Progress | None
) -> dict[str, dict[str, Any]]:
    """Make all videos; the manifest's entry of every file, by relative path."""
    items = list(_items(config))
    for folder in {(root / item.path(config)).parent for item in items}:
        folder.mkdir(parents=True)
    work = partial(_make_video, root, config, seed)
    if workers == 1:
        return _collect(map(work, items), len(items), progress)
    # Spawned, never forked: a fork of a process with decoder or torch threads can hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=begin_worker) as pool:
        results = pool.map(work, items, chunksize=8)
        try:
            return _collect(results, len(items), progress)
        except BaseException:
            # Before `map` takes back its orders one by one, over which the thread of the pool would stumble.
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _collect(
    results: Iterator[tuple[str, int, str]], total: int, progress: Progress | None
) -> dict[str, dict[str, Any]]:
    files: dict[str, dict[str, Any]] = {}
    for name, size, digest in results:
        files[name] = {"bytes": size, "sha256": digest}
        if progress is not None:
            progress(len(files), total)
    return files


def _write_lists(root: Path, config: SetConfig) -> dict[str, dict[str, Any]]:
    """Write train.txt, val.txt and classes.txt; their entries in the manifest."""
    texts = {"classes.txt": "".join(f"{name}\n" for name in config.classes)}
    for split in SPLITS:
        rows = (item for item in _items(config) if item.split == split)
        texts[f"{split}.txt"] = "".join(f"{row.path(config)} {row.label}\n" for row in rows)
    entries = {}
    for name, text in texts.items():
        data = text.encode()
        (root / name).write_bytes(data)
        entries[name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return entries


def _build(
    root: Path, config: SetConfig, seed: int, workers: int | None, progress: Progress | None
) -> None:
    """Fill the empty folder `root`."""
    count = workers or cores()
    files = _make_videos(root, config, seed, count, progress)
    files |= _write_lists(root, config)
    head = {"version": VERSION, "seed": seed, "fingerprint": config.fingerprint, "fps": FPS}
    manifest = {**head, "config": asdict(config), "files": files}
    (root / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")


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
    if root.exists() and (root.is_file() or any(root.iterdir())):
        raise FileExistsError(f"{root} exists and is not an empty folder: name another place")
    root.parent.mkdir(parents=True, exist_ok=True)
    _sweep(root)
    building = _aside(root)
    building.mkdir()
    try:
        _build(building, config or SetConfig(), seed, workers, progress)
        # Atomic, and refused by the system where another process has put its set there first.
        building.replace(root)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return root


def verify(root: Path, *, checksums: bool = True) -> list[str]:
    """What differs from the manifest, a line a file, empty if nothing does.

    Without `checksums` only the presence and the size of the files are looked at.
    """
    try:
        files: dict[str, dict[str, Any]] = parse_json(read_text(root / MANIFEST))["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f"{MANIFEST}: cannot be read ({error})"]
    problems = []
    for name, entry in files.items():
        path = root / name
        if not path.is_file():
            problems.append(f"{name}: missing")
        elif path.stat().st_size != entry["bytes"]:
            problems.append(f"{name}: {path.stat().st_size} bytes instead of {entry['bytes']}")
        elif checksums and hashlib.sha256(path.read_bytes()).hexdigest() != entry["sha256"]:
            problems.append(f"{name}: the content has changed (sha256)")
    return problems


def ensure(
    cache_root: Path,
    config: SetConfig | None = None,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """The set's folder in the cache, made if it is not there, made again if it is damaged.

    Several processes may call this at once: each that finds nothing makes a set, the first to
    finish puts it in place and the others take that one.
    """
    config = config or SetConfig()
    root = cache_root / f"embedded-v{VERSION}-{config.fingerprint}-seed{seed}"
    if root.exists():
        problems = verify(root, checksums=False)
        if not problems:
            return root
        log.warning("made again, %d damaged: %s: %s", len(problems), root, problems[0])
        _discard(root)
    try:
        return make(root, config, seed, workers, progress)
    except OSError:
        if verify(root, checksums=False):
            raise
        return root


def _discard(root: Path) -> None:
    """Delete a folder that others may be reading: first out of the way, then file by file."""
    grave = _aside(root)
    try:
        root.replace(grave)
    except FileNotFoundError:  # another process was faster
        return
    shutil.rmtree(grave, ignore_errors=True)


def _aside(root: Path) -> Path:
    """A place beside `root` of this process's own."""
    return root.parent / f".{root.name}.{platform.node()}.{os.getpid()}.{uuid.uuid4().hex[:8]}"


def _sweep(root: Path) -> None:
    """Deletes what processes of this machine that were killed have left beside `root`."""
    for left in root.parent.glob(f".{root.name}.{platform.node()}.*.*"):
        pid = left.name.split(".")[-2]
        if pid.isdigit() and not alive(int(pid)):
            shutil.rmtree(left, ignore_errors=True)
