"""What the network sees: frames of validation videos at a spec's frames x stride x crop, as numpy arrays.

The same frames and the same window as a validation view: the middle clip, its short side resized to
the test size, the centre crop (bilinear, align_corners False, no antialiasing).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from expander.config import DataConfig
from expander.data import synthetic
from expander.data.annotations import VideoData
from expander.data.decode import Decoder, VideoError
from expander.data.sampling import view_indices
from expander.data.sources import cache_folder, open_data
from expander.errors import ExpanderError
from expander.report.history import History
from expander.spec import Spec

Frames = npt.NDArray[np.uint8]
VIDEOS = 3
"""Videos shown, of different classes."""


@dataclass(frozen=True, slots=True)
class Strip:
    """A clip: pixels (T, crop, crop, 3) of a video of a class."""

    label: str
    video: str
    pixels: Frames


@dataclass(frozen=True, slots=True)
class Film:
    """The strips of one spec; missing: why there are none."""

    spec: Spec
    strips: tuple[Strip, ...] = ()
    missing: str = ""


def films(past: History, specs: list[Spec]) -> list[Film]:
    """What each spec sees of the same few validation videos; nothing is made or downloaded for it."""
    try:
        data = _videos(past)
    except (ExpanderError, OSError) as error:
        return [Film(spec, missing=str(error)) for spec in specs]
    if isinstance(data, str):
        return [Film(spec, missing=data) for spec in specs]
    decoder = Decoder()
    try:
        return [_film(spec, data, decoder) for spec in specs]
    finally:
        decoder.close()


def _videos(past: History) -> VideoData | str:
    """The run's data set, or why it is not there."""
    if past.start is None:
        return "the journal is empty"
    config: DataConfig = past.start.data
    if config.folder is None and config.train_ann is None and not _embedded_exists():
        return "the embedded videos are not on this machine; expander data make makes them"
    data = open_data(config)
    if data.fingerprint != past.start.data_fingerprint:
        return "the data set has changed since the run"
    return data


def _embedded_exists() -> bool:
    made = synthetic.SetConfig()
    return any(cache_folder().glob(f"embedded-v{synthetic.VERSION}-{made.fingerprint}-seed*"))


def _film(spec: Spec, data: VideoData, decoder: Decoder) -> Film:
    strips, seen = [], set()
    reason = "no validation video can be read"
    for path, label in zip(data.val.paths, data.val.labels, strict=True):
        if label in seen:
            continue
        seen.add(label)
        try:
            strips.append(_strip(spec, data.classes[label], path, decoder))
        except VideoError as error:
            reason = str(error)
        if len(strips) == VIDEOS:
            break
    return Film(spec, tuple(strips), "" if strips else reason)


def _strip(spec: Spec, name: str, path: Path, decoder: Decoder) -> Strip:
    frames = decoder.read(path, lambda length: view_indices(0, 1, spec.frames, spec.stride, length))
    return Strip(name, path.name, centre_crop(frames, spec.test_size, spec.crop))


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


def montage(strip: Strip, gap: int = 2) -> Frames:
    """(crop, T * crop + gaps, 3): the frames side by side, white between them."""
    count, crop, _, _ = strip.pixels.shape
    sheet = np.full((crop, count * (crop + gap) - gap, 3), 255, np.uint8)
    for number, frame in enumerate(strip.pixels):
        sheet[:, number * (crop + gap) : number * (crop + gap) + crop] = frame
    return sheet


