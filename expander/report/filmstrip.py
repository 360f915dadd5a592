"""What the network sees: frames of validation videos at a spec's frames x stride x crop, as numpy arrays.

The same frames and the same window as a validation view: the middle clip, its short side resized to
the test size, the centre crop (bilinear, align_corners False, no antialiasing).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from expander.data.annotations import VideoData, numbers_of
from expander.data.ava.footage import centre, indices_around
from expander.data.ava.keyframes import DetectionData
from expander.data.tasks import TaskData
from expander.report.results import json_file
from expander.report.style import encoded
from expander.specs.spec import Spec
from expander.video.decoder import Decoder, VideoError
from expander.video.sampling import view_indices

Frames = npt.NDArray[np.uint8]
VIDEOS = 3
"""Videos shown, of different classes."""

KEPT = "clips.json"
"""Frames kept in a run folder for where its videos are not."""


@dataclass(frozen=True, slots=True)
class Strip:
    """A clip of a video of a class: `frames` pictures of `crop` pixels side by side, as a data URI."""

    label: str
    video: str
    frames: int
    crop: int
    uri: str


@dataclass(frozen=True, slots=True)
class Film:
    """The strips of one spec; missing: why there are none."""

    spec: Spec
    strips: tuple[Strip, ...] = ()
    missing: str = ""


def films(data: TaskData | str, specs: Sequence[Spec], folder: Path) -> list[Film]:
    """What each spec sees of the same few validation videos; without videos, what the run folder keeps."""
    if isinstance(data, str):
        kept = json_file(folder / KEPT)
        return [_kept(spec, kept.get(spec.id), data) for spec in specs]
    with closing(Decoder()) as decoder:
        if isinstance(data, DetectionData):
            return [_people(spec, data, decoder) for spec in specs]
        return [_film(spec, data, decoder) for spec in specs]


def keep(shown: Sequence[Film]) -> str:
    """The content of a run folder's clips.json for these films."""
    return json.dumps({film.spec.id: [asdict(strip) for strip in film.strips] for film in shown}, indent=1)


def _kept(spec: Spec, rows: object, missing: str) -> Film:
    try:
        strips = tuple(Strip(**row) for row in rows) if isinstance(rows, list) else ()
    except TypeError:
        strips = ()
    fine = tuple(strip for strip in strips if strip.uri.startswith("data:image/"))
    return Film(spec, fine, "" if fine else missing)


def _film(spec: Spec, data: VideoData, decoder: Decoder) -> Film:
    strips, seen = [], set()
    reason = "no validation video can be read"
    for path, label in zip(data.val.paths, data.val.labels, strict=True):
        if label in seen:
            continue
        seen.add(label)
        try:
            pixels = clip(spec, path, decoder)
            named = ", ".join(data.classes[number] for number in numbers_of(label)) or "no label"
            strips.append(Strip(named, path.name, spec.frames, spec.crop, _uri(pixels)))
        except VideoError as error:
            reason = str(error)
        if len(strips) == VIDEOS:
            break
    return Film(spec, tuple(strips), "" if strips else reason)


def _people(spec: Spec, data: DetectionData, decoder: Decoder) -> Film:
    """Clips around key frames of the first videos, the middle of the picture: a network sees all of it."""
    strips, reason = [], "no validation video can be read"
    for frame in {one.video: one for one in reversed(data.val.truth)}.values():
        footage = data.val.footage[frame.video]
        try:
            rate = float(footage.fps or decoder.rate(footage.path))
            place = centre(frame.second, footage, rate)
            found = decoder.read(footage.path, partial(indices_around, place, spec))
            pixels = centre_crop(found, spec.test_size, spec.crop)
            strips.append(Strip(f"second {frame.second:g}", footage.path.name, spec.frames, spec.crop,
                                _uri(pixels)))  # fmt: skip
        except VideoError as error:
            reason = str(error)
        if len(strips) == VIDEOS:
            break
    return Film(spec, tuple(strips), "" if strips else reason)


def clip(spec: Spec, path: Path, decoder: Decoder) -> Frames:
    """(T, crop, crop, 3): the middle view of a video. Raises VideoError."""
    frames = decoder.read(path, lambda length: view_indices(0, 1, spec.frames, spec.stride, length))
    return centre_crop(frames, spec.test_size, spec.crop)


def _uri(pixels_THWC: Frames) -> str:
    kind, content = encoded(montage(pixels_THWC))
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def centre_crop(frames_THWC: Frames, short_side: int, crop: int) -> Frames:
    """(T, H, W, 3) to (T, crop, crop, 3): the short side resized, the centre cut out."""
    _, height, width, _ = frames_THWC.shape
    new_h = short_side if height <= width else max(short_side, height * short_side // width)
    new_w = short_side if width <= height else max(short_side, width * short_side // height)
    rows, columns = _taps(height, new_h, crop), _taps(width, new_w, crop)
    down = _blend(frames_THWC.astype(np.float32), *rows, axis=1)
    seen: Frames = np.round(_blend(down, *columns, axis=2)).astype(np.uint8)
    return seen


def _taps(source: int, target: int, crop: int) -> tuple[Any, Any, Any]:
    """Both neighbours and the weight of the second, for the `crop` middle places of a resized line."""
    start = -(-(target - crop) // 2)
    places = np.clip((np.arange(start, start + crop) + 0.5) * (source / target) - 0.5, 0, source - 1)
    first = np.floor(places).astype(np.int64)
    return first, np.minimum(first + 1, source - 1), (places - first).astype(np.float32)


def _blend(values: Any, first: Any, second: Any, weight: Any, axis: int) -> Any:
    shape = [1] * values.ndim
    shape[axis] = len(weight)
    share = weight.reshape(shape)
    return values.take(first, axis) * (1 - share) + values.take(second, axis) * share


def montage(pixels_THWC: Frames, gap: int = 2) -> Frames:
    """(crop, T * crop + gaps, 3): the frames side by side, white between them."""
    count, crop, _, _ = pixels_THWC.shape
    sheet = np.full((crop, count * (crop + gap) - gap, 3), 255, np.uint8)
    for number, frame in enumerate(pixels_THWC):
        sheet[:, number * (crop + gap) : number * (crop + gap) + crop] = frame
    return sheet
