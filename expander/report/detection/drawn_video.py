"""A video with boxes and what is done in them, as a film."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from expander.report.style import PAGE, style
from expander.video.decoder import TIMEOUT, Decoder
from expander.video.readers import Frames
from expander.video.writing.writer import write_film

COLOUR = style("temporal")[0]
POINTS = 8.0
LONGEST = 1.0
"""Seconds that a box is shown for at most; less where key frames are nearer to each other."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A box x1, y1, x2, y2 in shares of the picture at a second, and the text at it."""

    second: float
    box: tuple[float, ...]
    text: str


def draw_video(video: Path, people: Sequence[Labelled], out: Path, timeout: float = TIMEOUT) -> None:
    """Writes the video with the boxes around their seconds. Raises DataError or EnvironmentFault."""
    with closing(Decoder(timeout=timeout)) as decoder:
        opened = decoder.open(video)
        shown = _by_frame(people, float(opened.fps), opened.length)
        tiles = {one.text: _tile(one.text) for one in people}
        parts = decoder.stream(video, opened, np.arange(opened.length))
        write_film(out, _drawn(parts, shown, tiles), opened.fps)


def _by_frame(people: Sequence[Labelled], fps: float, length: int) -> dict[int, list[Labelled]]:
    """Who is shown in which frame: those of the nearest key second, if it is near enough."""
    seconds = np.unique([one.second for one in people])
    gap = min(LONGEST, *np.diff(seconds)) if len(seconds) > 1 else LONGEST
    found: dict[int, list[Labelled]] = {}
    for one in people:
        first, last = round((one.second - gap / 2) * fps), round((one.second + gap / 2) * fps)
        for frame in range(max(0, first), min(length, last)):
            found.setdefault(frame, []).append(one)
    return found


def _drawn(
    parts: Iterator[Frames], shown: Mapping[int, list[Labelled]], tiles: Mapping[str, NDArray[np.uint8]]
) -> Iterator[Frames]:
    number = 0
    for part in parts:
        frames = part.copy()
        for picture in frames:
            for one in shown.get(number, ()):
                _draw(picture, one.box, tiles[one.text])
            number += 1
        yield frames


def _draw(picture_HWC: NDArray[np.uint8], box: Sequence[float], tile_HWC: NDArray[np.uint8]) -> None:
    """A frame around the box and its text: below it, or within it at the edge of the picture."""
    height, width = picture_HWC.shape[:2]
    left, right = (min(max(round(x * width), 0), width - 1) for x in (box[0], box[2]))
    top, bottom = (min(max(round(y * height), 0), height - 1) for y in (box[1], box[3]))
    colour, thick = [round(255 * part) for part in to_rgb(COLOUR)], max(1, round(min(height, width) / 200))
    picture_HWC[top : bottom + 1, left : left + thick] = colour
    picture_HWC[top : bottom + 1, max(left, right - thick + 1) : right + 1] = colour
    picture_HWC[top : top + thick, left : right + 1] = colour
    picture_HWC[max(top, bottom - thick + 1) : bottom + 1, left : right + 1] = colour
    tall, wide = min(height, tile_HWC.shape[0]), min(width, tile_HWC.shape[1])
    row, column = min(bottom + 1, height - tall), min(left, width - wide)
    picture_HWC[row : row + tall, column : column + wide] = tile_HWC[:tall, :wide]


def _tile(text: str) -> NDArray[np.uint8]:
    """(h, w, 3) bytes of the text on the colour of the boxes."""
    figure = Figure(dpi=100, facecolor=COLOUR)
    canvas: Any = FigureCanvasAgg(figure)
    written = figure.text(0, 0, text, fontsize=POINTS, color=PAGE, va="bottom", ha="left")
    extent = written.get_window_extent(canvas.get_renderer())
    figure.set_size_inches((extent.width + 6) / 100, (extent.height + 4) / 100)
    written.set_position((3 / (extent.width + 6), 2 / (extent.height + 4)))
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()
