"""Videos prepared for search, training and test, from the options to the manifest: what a command and `api`
share.

A video that is prepared stays: a call that was stopped, or is repeated, does only what is missing.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from heapq import nlargest
from pathlib import Path
from typing import Any

from expander.backends.video_tasks import Tasks, here, on_cluster
from expander.config.settings import BackendConfig, DataConfig
from expander.config.space import load_space
from expander.data.annotations import Paths, VideoData
from expander.data.prepared import manifest, packing
from expander.data.prepared.manifest import Outcome, Source
from expander.data.prepared.originals import Listed, Look, sizes_of
from expander.data.prepared.resume import Record, finished, place_of
from expander.data.prepared.video import Job, sweep
from expander.data.sources import open_data
from expander.data.store.addresses import address_of, is_remote
from expander.errors import EnvironmentFault, UsageError, disk_faults
from expander.runs.journal import write_atomic
from expander.runs.machine import cache_folder, cores
from expander.runs.ownership import Lock
from expander.specs.spec import JITTER_SCALE
from expander.video.writing.encoder import CRF, GOP, VERSION, Encoding

SAMPLES = 8
"""Videos that are prepared before the disk needed is told."""
RESERVE = 1.1
"""Room asked for, as a part of what the samples foretell."""
Progress = Callable[[int, int], None]
"""Told of (done, total) videos; first of those that were done before."""


@dataclass(frozen=True, slots=True)
class PrepareOrder:
    """What is asked for. short_side: pixels, in place of what `space` can use. verify: whether finished
    videos are compared with their checksums. address: of a Ray cluster; none: processes of this machine.
    shard_bytes: of the videos of a shard; none: every video is a file.
    """

    data: DataConfig
    out: Path
    space: str = "x3d"
    short_side: int | None = None
    gop: int = GOP
    crf: int = CRF
    verify: bool = False
    processes: int | None = None
    address: str | None = None
    shard_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What is ahead. crop: the largest whose training frames are no larger than the short side. bytes,
    seconds: of the videos that are left, a guess. free: bytes on the disk. copies: bytes of the originals of
    a store that lie there meanwhile, at most.
    """

    how: Encoding
    crop: int
    videos: int
    left: int
    bytes: int
    seconds: float
    free: int
    copies: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """What was made. damaged: sources that could not be prepared, by their listed paths, and why."""

    folder: Path
    videos: int
    source_bytes: int
    bytes: int
    resampled: int
    fingerprint: str
    damaged: dict[str, str] = field(default_factory=dict)


def encoding(order: PrepareOrder) -> tuple[Encoding, int]:
    """How videos are encoded, and the largest crop that is served. Raises UsageError."""
    space = load_space(order.space)
    limit = space.axes["spatial"].limit if "spatial" in space.axes else 1.0
    largest = space.start.with_factor("spatial", limit)
    side = order.short_side or largest.jitter[1]
    if side < 16 or side % 2:
        raise UsageError(f"--short-side {side}: an even number of pixels, 16 at least")
    divisor = space.base.crop_divisor
    served = int(side / JITTER_SCALE + 0.7) // divisor * divisor  # its largest frame rounds to the short side
    return Encoding(side, order.gop, order.crf), min(served, largest.crop)


def prepare(
    order: PrepareOrder,
    on_data: Callable[[VideoData], None] = lambda _: None,
    on_plan: Callable[[Plan], None] = lambda _: None,
    progress: Progress = lambda _, __: None,
    dry: bool = False,
) -> Prepared | None:
    """Prepares what is not prepared yet; nothing but the plan if `dry`.

    Raises UsageError for a folder of something else, DataError for data that are no good, EnvironmentFault
    for a disk that is too small, full or not to be written, and for a store that does not answer.
    """
    how, crop = encoding(order)
    if (address := address_of(order.out)) is not None:
        raise UsageError(f"--out {address}: videos are prepared on a disk; copy it there once it is whole")
    data = open_data(order.data)
    on_data(data)
    if data.multi_label and order.shard_bytes:
        raise UsageError("--shards: samples of shards have one label, and these videos several; leave it out")
    out = order.out.resolve()
    head = {"encoder": VERSION, **asdict(how)}
    if order.shard_bytes:
        head["shard_bytes"] = order.shard_bytes
    if data.multi_label:
        head[manifest.SEVERAL] = True
    _check_place(out, data, head)
    sources = sources_of(data)
    job = Job(str(out), how, order.data.decode_timeout, str(cache_folder() / "decoder.log"))
    if dry:
        look = Listed().state_of
        known = finished(out, sources, look, order.verify, packing.members(out))
        left = [source for source in sources if source.name not in known]
        with tempfile.TemporaryDirectory() as place:
            tried = _Samples(_samples(order, replace(job, folder=place), left))
        on_plan(_plan(order, crop, how, len(sources), left, tried, look))
        return None
    _make(out)
    with Lock(out / ".lock"):
        _check_place(out, data, head)  # what another process may have begun meanwhile
        _make(out / "videos")
        write_atomic(out / manifest.SETTINGS, (json.dumps(head) + "\n").encode())
        return _all(order, job, crop, data, sources, head, on_plan, progress)


def _all(
    order: PrepareOrder, job: Job, crop: int, data: VideoData, sources: list[Source], head: dict[str, Any],
    on_plan: Callable[[Plan], None], progress: Progress,
) -> Prepared:  # fmt: skip
    out = Path(job.folder)
    sweep(out)
    packed, look = packing.members(out), Listed().state_of
    known = finished(out, sources, look, order.verify, packed)
    left = [source for source in sources if source.name not in known]
    with Record(out) as record:

        def taken(outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
            for outcome in outcomes:
                record.add(outcome)
                known[outcome.name] = outcome
                progress(len(known), len(sources))
                yield outcome

        progress(len(known), len(sources))
        tried = _Samples(taken(_samples(order, job, left)))
        left = [source for source in left if source.name not in known]
        plan = _plan(order, crop, job.how, len(sources), left, tried, look)
        on_plan(plan)
        asked = RESERVE * plan.bytes + max(plan.copies, min(order.shard_bytes or 0, plan.bytes))
        if asked > plan.free:
            needed, free = f"{asked / 1e9:.2f} GB", f"{plan.free / 1e9:.2f} GB"
            raise EnvironmentFault(f"{out}: about {needed} more are needed, and {free} are free; make room, "
                                   "or name another --out or a smaller --short-side; what is prepared is "
                                   "kept")  # fmt: skip
        for _ in taken(_tasks(order, out)(job, left)):
            pass
    places = _packed(order, out, sources, known, packed) if order.shard_bytes else {}
    manifest.write(out, sources, known, data.classes, head, places)
    record.delete()
    return _summary(out, sources, known)


def _packed(
    order: PrepareOrder, out: Path, sources: list[Source], known: dict[str, Outcome], packed: dict[str, str]
) -> dict[str, str]:
    """Where each video is, now that they are in shards. Raises EnvironmentFault."""
    plan = packing.planned(sources, known, order.shard_bytes or packing.SIZE)
    places = {source.name: place_of(out, source, packed) for source in sources}
    return packing.pack(out, plan, places)


def _samples(order: PrepareOrder, job: Job, left: list[Source]) -> Iterator[Outcome]:
    chosen = random.Random(0).sample(left, min(SAMPLES, len(left)))
    return here(_processes(order))(job, chosen)


def _tasks(order: PrepareOrder, out: Path) -> Tasks:
    if order.address is None:
        return here(_processes(order))
    return on_cluster(BackendConfig(address=order.address), out)


def _processes(order: PrepareOrder) -> int:
    return order.processes or cores()


class _Samples:
    """What the first videos took. given, made: bytes of originals and of prepared videos. pace: seconds for a
    byte of an original, after the first is done: until then processes start.
    """

    def __init__(self, outcomes: Iterable[Outcome]) -> None:
        self.given = self.made = self.count = timed = 0
        begun = last = time.monotonic()
        for outcome in outcomes:
            last, self.count = time.monotonic(), self.count + 1
            if outcome.encoded is not None:
                self.given += outcome.source_bytes
                self.made += outcome.encoded.bytes
            if self.count == 1:
                begun = last
            else:
                timed += outcome.source_bytes
        self.pace = (last - begun) / timed if timed else 0.0


def _plan(
    order: PrepareOrder, crop: int, how: Encoding, videos: int, left: Sequence[Source], tried: _Samples,
    look: Look,
) -> Plan:  # fmt: skip
    """What is left, in proportion to the bytes of the samples and their originals."""
    sizes = sizes_of([source.file for source in left], look)
    far = (size for source, size in zip(left, sizes, strict=True) if is_remote(source.file))
    ahead, copied = sum(sizes), nlargest(_processes(order), far)
    needed = round(tried.made / tried.given * ahead) if tried.given else 0
    spread = min(_processes(order), max(1, tried.count)) / _processes(order)
    out = order.out.resolve()
    free = shutil.disk_usage(next(folder for folder in (out, *out.parents) if folder.is_dir())).free
    return Plan(how, crop, videos, len(left), needed, tried.pace * ahead * spread, free, sum(copied))


def _summary(out: Path, sources: Sequence[Source], known: dict[str, Outcome]) -> Prepared:
    rows = [known[source.name] for source in sources]
    made = [row.encoded for row in rows if row.encoded is not None]
    head = manifest.read_head(out) or {}
    return Prepared(
        out, len(rows), sum(row.source_bytes for row in rows if row.encoded is not None),
        sum(one.bytes for one in made), sum(one.mapping is not None for one in made), head["fingerprint"],
        {row.name: row.reason for row in rows if row.reason},
    )  # fmt: skip


def sources_of(data: VideoData) -> list[Source]:
    """The videos of both lists, in their order."""
    found = []
    assert isinstance(data.train.paths, Paths)
    assert isinstance(data.val.paths, Paths)
    apart = data.train.paths.root != data.val.paths.root  # then both may list the same path
    for split, videos in (("train", data.train), ("val", data.val)):
        assert isinstance(videos.paths, Paths)
        place = videos.paths.root
        root = str(place) if is_remote(place) else os.path.abspath(place)
        begin = f"{split}/" if apart else ""
        rows = zip(videos.paths.names, videos.labels, strict=True)
        found += [Source(f"{begin}{path}", path, root, label, split) for path, label in rows]
    return found


def _check_place(out: Path, data: VideoData, head: dict[str, Any]) -> None:
    """Raises UsageError for a folder that holds something else, or videos prepared in another way."""
    assert isinstance(data.train.paths, Paths)
    if out.is_file():
        raise UsageError(f"--out {out}: it is a file; name a folder")
    for root in {videos.paths.root for videos in (data.train, data.val) if isinstance(videos.paths, Paths)}:
        if out.is_relative_to(os.path.realpath(root)):
            raise UsageError(f"--out {out}: lies in the data; name a folder beside them")
    if (known := manifest.read_settings(out)) is None:
        if out.is_dir() and {entry.name for entry in os.scandir(out)} - {".lock"}:
            raise UsageError(f"--out {out}: is not empty and holds no prepared videos; name another folder")
    elif known != head:
        names = {name: None for name in (*known, *head) if known.get(name) != head.get(name)}
        other = ", ".join(f"{name} {known[name]}" if name in known else f"no {name}" for name in names)
        raise UsageError(f"--out {out}: its videos were prepared with {other}; name another folder, or the "
                         "same settings")  # fmt: skip


def _make(folder: Path) -> None:
    """Raises EnvironmentFault."""
    with disk_faults(folder, "made"):
        folder.mkdir(parents=True, exist_ok=True)
