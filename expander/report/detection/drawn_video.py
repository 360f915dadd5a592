"""Boxes and what is done in them: drawn in a picture, and in a video as a film."""

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
LINES = 45
"""Of text, one below the other, that a picture is high: 24 pixels each of 1080."""
LEAST = 7.0
"""Pixels that a line of text has at least: less cannot be read."""
LONGEST = 1.0
"""Seconds that a box is shown for; less where another key second is nearer."""


DPI = 100
Tile = NDArray[np.uint8]
"""(h, w, 3) bytes."""


@dataclass(frozen=True, slots=True)
class Area:
    """Rows from top to bottom and columns from left to right, the last ones not included."""

    top: int
    left: int
    bottom: int
    right: int

    def meets(self, other: Area) -> bool:
        """Whether they have a pixel in common."""
        return (self.top < other.bottom and other.top < self.bottom
                and self.left < other.right and other.left < self.right)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Labelled:
    """A box x1, y1, x2, y2 in shares of the picture at a second, and the text at it: the likeliest action in
    its first line, others below.
    """

    second: float
    box: tuple[float, ...]
    text: str


def draw_video(video: Path, people: Sequence[Labelled], out: Path, timeout: float = TIMEOUT) -> None:
    """Writes the video with the boxes around their seconds. Raises DataError or EnvironmentFault."""
    with closing(Decoder(timeout=timeout)) as decoder:
        opened = decoder.open(video)
        shown = by_frame(people, float(opened.fps), opened.length)
        tiles = tiles_of(people, opened.height)
        parts = decoder.stream(video, opened, np.arange(opened.length))
        write_film(out, _drawn(parts, shown, tiles), opened.fps)


def tiles_of(people: Sequence[Labelled], height: int) -> dict[str, Tile]:
    """Each text, and its first line alone, written for pictures of so many rows."""
    texts = {text for one in people for text in (one.text, _likeliest(one.text))}
    return {text: written(text, max(LEAST, height / LINES), COLOUR) for text in texts}


def by_frame(people: Sequence[Labelled], fps: float, length: int) -> dict[int, list[Labelled]]:
    """Who is shown in which frame: those of its nearest key second, if that is near enough."""
    if not people:
        return {}
    at = dict[float, list[Labelled]]()
    for one in people:
        at.setdefault(one.second, []).append(one)
    seconds, times = np.array(sorted(at)), np.arange(length) / fps
    nearest = seconds[np.searchsorted((seconds[1:] + seconds[:-1]) / 2, times)]
    near = np.abs(times - nearest) <= LONGEST / 2 + 1e-9  # a frame on the edge is shown, rounded as it may be
    return {int(frame): at[float(nearest[frame])] for frame in np.flatnonzero(near)}


def _drawn(
    parts: Iterator[Frames], shown: Mapping[int, list[Labelled]], tiles: Mapping[str, Tile]
) -> Iterator[Frames]:
    number = 0
    for part in parts:
        frames = part.copy()
        for picture in frames:
            draw(picture, [(one.box, fitting(one, tiles, picture)) for one in shown.get(number, ())], COLOUR)
            number += 1
        yield frames


def fitting(one: Labelled, tiles: Mapping[str, Tile], picture_HWC: Tile) -> Tile:
    """The text at a box; its first line alone, where the box is smaller than all of it."""
    area, tile = _pixels(one.box, *picture_HWC.shape[:2]), tiles[one.text]
    smaller = area.right - area.left < tile.shape[1] or area.bottom - area.top < tile.shape[0]
    return tiles[_likeliest(one.text)] if smaller else tile


def draw(picture_HWC: Tile, people: Sequence[tuple[Sequence[float], Tile]], colour: str) -> None:
    """Frames around boxes, and over them their texts, of which none covers another if there is room."""
    height, width = picture_HWC.shape[:2]
    areas = [_pixels(box, height, width) for box, _ in people]
    for area in areas:
        _outline(picture_HWC, area, colour)
    taken: list[Area] = []
    for (_, whole), area in zip(people, areas, strict=True):
        tile = whole[:height, :width]
        place = _place(area, tile.shape, height, width, taken)
        taken.append(place)
        picture_HWC[place.top : place.bottom, place.left : place.right] = tile


def _likeliest(text: str) -> str:
    return text.partition("\n")[0]


def _pixels(box: Sequence[float], height: int, width: int) -> Area:
    """The rows and columns of a box, each side within the picture."""
    left, right = (min(max(round(x * width), 0), width - 1) for x in (box[0], box[2]))
    top, bottom = (min(max(round(y * height), 0), height - 1) for y in (box[1], box[3]))
    return Area(top, left, bottom + 1, right + 1)


def _outline(picture_HWC: Tile, area: Area, colour: str) -> None:
    thick = max(1, round(min(picture_HWC.shape[:2]) / 150))
    inside = picture_HWC[area.top : area.bottom, area.left : area.right]
    bytes_of = [round(255 * part) for part in to_rgb(colour)]
    inside[:thick] = inside[-thick:] = inside[:, :thick] = inside[:, -thick:] = bytes_of


def _place(area: Area, size: Sequence[int], height: int, width: int, taken: Sequence[Area]) -> Area:
    """Where a text goes: below its box, above it or at its inner edges, from the left or up to the right; the
    first place where nothing is written, or else below.
    """
    tall, wide = size[:2]
    found = []
    for top in (area.bottom, area.top - tall, area.top, area.bottom - tall):
        for left in (area.left, area.right - wide):
            row, column = min(max(top, 0), height - tall), min(max(left, 0), width - wide)
            found.append(Area(row, column, row + tall, column + wide))
    return next((one for one in found if not any(map(one.meets, taken))), found[0])


def written(text: str, pixels: float, colour: str) -> Tile:
    """The text on a colour, its letters of a font of so many pixels; of no text nothing."""
    if not text:
        return np.zeros((0, 0, 3), np.uint8)
    figure = Figure(dpi=DPI, facecolor=colour)
    canvas: Any = FigureCanvasAgg(figure)
    letters = figure.text(0, 0, text, fontsize=pixels * 72 / DPI, color=PAGE, va="bottom", ha="left")
    extent, edge = letters.get_window_extent(canvas.get_renderer()), pixels / 5
    width, height = extent.width + 2 * edge, extent.height + edge
    figure.set_size_inches(width / DPI, height / DPI)
    letters.set_position((edge / width, edge / 2 / height))
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()
