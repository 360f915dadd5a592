"""How embedded sets are made and kept: films encoded in processes, folders that appear whole or not at all.

A set is a folder with manifest.json, which has the bytes and the SHA-256 of its files.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import shutil
import uuid
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import av

from expander.config.reading import parse_json, read_text
from expander.data.embedded.figures import FPS, Video
from expander.runs.machine import alive, cores
from expander.runs.workers import worker_pool

MANIFEST = "manifest.json"
Progress = Callable[[int, int], None]
Entries = dict[str, dict[str, Any]]
"""Bytes and SHA-256 of files, by their path from the folder of the set."""
Item = TypeVar("Item")
Made = TypeVar("Made")

log = logging.getLogger(__name__)


def encode(video: Video, path: Path, preset: str = "ultrafast") -> None:
    """Write frames (T, H, W, 3) as an H.264 MP4 of FPS frames a second. preset: of x264."""
    with av.open(os.fspath(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.height, stream.width = video.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1  # one thread: the same bytes on every machine
        # Without B-frames the file needs no edit list, which some decoders read wrongly.
        stream.options = {"preset": preset, "crf": "23", "bf": "0", "g": "32"}
        for picture in video:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def entry(file: Path) -> dict[str, Any]:
    """What the manifest says of a file."""
    data = file.read_bytes()
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def write_texts(root: Path, texts: dict[str, str]) -> Entries:
    """Writes files of the set, by name; their entries in the manifest."""
    for name, text in texts.items():
        (root / name).write_bytes(text.encode())
    return {name: entry(root / name) for name in texts}


def write_manifest(root: Path, head: dict[str, Any], files: Entries) -> None:
    """head: what the set was made of."""
    (root / MANIFEST).write_text(json.dumps({**head, "files": files}, indent=1) + "\n")


def each(
    work: Callable[[Item], Made], items: Sequence[Item], workers: int | None, progress: Progress | None
) -> list[Made]:
    """What `work` makes of every item, in order. workers: processes, None for one a core."""
    count = workers or cores()
    if count == 1:
        return _collect(map(work, items), len(items), progress)
    with worker_pool(count) as pool:
        results = pool.map(work, items, chunksize=8)
        try:
            return _collect(results, len(items), progress)
        except BaseException:
            # Before `map` takes back its orders one by one, over which the thread of the pool would stumble.
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _collect(results: Iterable[Made], total: int, progress: Progress | None) -> list[Made]:
    found = list[Made]()
    for result in results:
        found.append(result)
        if progress is not None:
            progress(len(found), total)
    return found


def put(root: Path, build: Callable[[Path], None]) -> Path:
    """The folder `root`, which `build` fills under another name: it appears complete or not at all.

    Raises FileExistsError where `root` is a file or a folder that is not empty.
    """
    if root.exists() and (root.is_file() or any(root.iterdir())):
        raise FileExistsError(f"{root} exists and is not an empty folder: name another place")
    root.parent.mkdir(parents=True, exist_ok=True)
    _sweep(root)
    building = _aside(root)
    building.mkdir()
    try:
        build(building)
        # Atomic, and refused by the system where another process has put its set there first.
        building.replace(root)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return root


def keep(root: Path, build: Callable[[Path], None]) -> Path:
    """The folder `root`, made if it is not there, made again if it is damaged.

    Several processes may call this at once: each that finds nothing makes a set, the first to
    finish puts it in place and the others take that one.
    """
    if root.exists():
        problems = verify(root, checksums=False)
        if not problems:
            return root
        log.warning("made again, %d damaged: %s: %s", len(problems), root, problems[0])
        _discard(root)
    try:
        return put(root, build)
    except OSError:
        if verify(root, checksums=False):
            raise
        return root


def verify(root: Path, *, checksums: bool = True) -> list[str]:
    """What differs from the manifest, a line a file, empty if nothing does.

    Without `checksums` only the presence and the size of the files are looked at.
    """
    try:
        files: Entries = parse_json(read_text(root / MANIFEST))["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f"{MANIFEST}: cannot be read ({error})"]
    problems = []
    for name, said in files.items():
        path = root / name
        if not path.is_file():
            problems.append(f"{name}: missing")
        elif path.stat().st_size != said["bytes"]:
            problems.append(f"{name}: {path.stat().st_size} bytes instead of {said['bytes']}")
        elif checksums and entry(path)["sha256"] != said["sha256"]:
            problems.append(f"{name}: the content has changed (sha256)")
    return problems


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
