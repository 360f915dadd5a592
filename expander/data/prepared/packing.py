"""Prepared videos packed into shards: tars of samples KEY.cls, KEY.json, KEY.mp4, in the order of the lists.

A video is in a file of its own or in a shard, and at every moment in one of them at least. So a kill costs
nothing, and the same videos give the same bytes. Shards that are as they should be stay untouched.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tarfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BufferedIOBase, BytesIO
from pathlib import Path

from expander.data.prepared.manifest import Outcome, Source
from expander.data.prepared.originals import DRAFT
from expander.data.shards.tars import Group, groups_of
from expander.errors import DataError, disk_faults
from expander.video.tar_members import CHUNK, member, open_video
from expander.video.writing.encoder import Encoded

SIZE = 1_000_000_000
"""Bytes of videos in a shard, unless asked otherwise."""
NAME = "{split}-{number:06}.tar"
MODE = 0o644


@dataclass(frozen=True, slots=True)
class Packed:
    """A video as it goes into a shard."""

    source: Source
    encoded: Encoded

    @property
    def texts(self) -> dict[str, bytes]:
        """The members beside the video, by their endings."""
        made = self.encoded
        told = {"source": self.source.name, "label": self.source.label, "split": self.source.split,
                "sha256": made.sha256, "frames": made.frames, "fps": made.fps, "height": made.height,
                "width": made.width}  # fmt: skip
        return {"cls": str(self.source.label).encode(), "json": json.dumps(told).encode()}


Plan = dict[str, list[Packed]]
"""What each shard holds, by its name."""


def planned(sources: Sequence[Source], outcomes: Mapping[str, Outcome], size: int) -> Plan:
    """The videos of each split in the order of the lists; no shard has more than `size` bytes of videos,
    unless one of them has.
    """
    plan: Plan = {}
    for split in ("train", "val"):
        number, room = -1, -1
        for source in sources:
            encoded = outcomes[source.name].encoded
            if source.split != split or encoded is None:
                continue
            if encoded.bytes > room:
                number, room = number + 1, max(size, encoded.bytes)
            room -= encoded.bytes
            plan.setdefault(NAME.format(split=split, number=number), []).append(Packed(source, encoded))
    return plan


def members(folder: Path) -> dict[str, str]:
    """Where the videos are that lie in the shards of a folder: their paths there, by their keys.

    A shard that is damaged is of no use, and is as if it were not there.
    """
    found: dict[str, str] = {}
    for tar in sorted(folder.glob("*.tar")):
        for key, group in _groups(tar):
            if "mp4" in group:
                info = group["mp4"][0]
                found[key] = member(tar.name, info.name, info.offset_data, info.size)
    return found


def _groups(tar: Path) -> list[tuple[str, Group]]:
    with contextlib.suppress(DataError, OSError), tar.open("rb") as file:
        return list(groups_of(tar, file))
    return []


def pack(folder: Path, plan: Plan, places: Mapping[str, str]) -> dict[str, str]:
    """Makes the shards what the plan says, and deletes the files of videos that are in them.

    places: where each video is now, a file or a member, by the names of sources. Returns where each is then.
    Raises EnvironmentFault.
    """
    ready = {name for name, videos in plan.items() if _as_planned(folder, name, videos)}
    for tar in sorted(folder.glob("*.tar")):
        if tar.name not in ready:
            _unpack(folder, tar, plan, places)
    for name, videos in plan.items():
        if name not in ready:
            with disk_faults(folder / name):
                _write(folder, name, videos)
        for video in videos:
            (folder / video.source.path).unlink(missing_ok=True)
    _prune(folder / "videos")
    found = members(folder)
    return {one.source.name: found[one.source.key] for videos in plan.values() for one in videos}


def _as_planned(folder: Path, name: str, videos: Sequence[Packed]) -> bool:
    """Whether a shard holds these videos, and none of them was prepared anew since."""
    if any((folder / one.source.path).exists() for one in videos):
        return False
    there = [(key, {ending: text or info.size for ending, (info, text) in group.items()})
             for key, group in _groups(folder / name)]  # fmt: skip
    return there == [(one.source.key, {**one.texts, "mp4": one.encoded.bytes}) for one in videos]


def _unpack(folder: Path, tar: Path, plan: Plan, places: Mapping[str, str]) -> None:
    """Lays those videos of a shard that are still wanted into files of their own, and deletes the shard."""
    for videos in plan.values():
        for one in videos:
            place = places[one.source.name]
            if place.startswith(f"{tar.name}/"):
                with disk_faults(folder / one.source.path), open_video(folder / place) as video:
                    _whole(folder / one.source.path, video)
    with disk_faults(tar, "deleted"):
        tar.unlink()


def _write(folder: Path, name: str, videos: Sequence[Packed]) -> None:
    """A shard, whole or not at all; nothing in it depends on when it was made, or by whom."""
    draft = folder / f".{uuid.uuid4().hex}{DRAFT}"
    try:
        with draft.open("wb") as out, tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for one in videos:
                for ending, text in one.texts.items():
                    tar.addfile(_head(f"{one.source.key}.{ending}", len(text)), BytesIO(text))
                with (folder / one.source.path).open("rb") as video:
                    tar.addfile(_head(f"{one.source.key}.mp4", one.encoded.bytes), video)
            tar.close()
            out.flush()
            os.fsync(out.fileno())
        os.replace(draft, folder / name)
    finally:
        draft.unlink(missing_ok=True)


def _head(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, MODE
    return info


def _whole(file: Path, video: BufferedIOBase) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{uuid.uuid4().hex}{DRAFT}")
    try:
        with draft.open("wb") as out:
            shutil.copyfileobj(video, out, CHUNK)
            out.flush()
            os.fsync(out.fileno())
        os.replace(draft, file)
    finally:
        draft.unlink(missing_ok=True)


def _prune(videos: Path) -> None:
    """Deletes the folders of files that are in shards now; what else lies there stays."""
    for place in (*videos.glob("*"), videos):
        with contextlib.suppress(OSError):
            place.rmdir()
