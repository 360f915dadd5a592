"""What a test of detection found, as files: the result, the detections, the classes, a few key frames."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from expander.report.charts import class_results
from expander.report.detection.drawn_video import Tile, draw, written
from expander.report.style import drawing, sheet, style
from expander.runs.journal import write_atomic
from expander.runs.sealed_lines import sealed_document

if TYPE_CHECKING:
    from expander.engine.detect import Found, Shown

TRUE, FOUND = style("spatial")[0], style("temporal")[0]
ENLARGED, POINTS, LONGEST = 640, 6.0, 44
"""Of a key frame: columns of pixels that it has at least, size of its texts, letters of its title."""


def write(out: Path, found: Found) -> Path:
    """A result as JSON; beside it the detections as CSV, and figures of classes and key frames as PNG.

    Returns the CSV. Raises EnvironmentFault.
    """
    table = out.with_suffix(".detections.csv")
    write_atomic(table, found.table.encode())
    for kind, figure in (("classes", class_results(found.result)), ("keyframes", key_frames(found.shown))):
        if figure is not None:
            png = BytesIO()
            figure.savefig(png, format="png", dpi=120)
            write_atomic(out.with_suffix(f".{kind}.png"), png.getvalue())
    write_atomic(out, sealed_document(found.result))
    return table


def key_frames(shown: Sequence[Shown], width: float = 9.0) -> Figure | None:
    """Key frames with the true boxes above and the scored ones below; none of none."""
    if not shown:
        return None
    tall = max(one.picture.shape[0] / one.picture.shape[1] for one in shown)
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    with drawing():
        figure = sheet(width, rows * 2 * (width / columns * tall + 0.35))
        panels = figure.subplots(2 * rows, columns, squeeze=False)
        for panel in panels.flat:
            panel.set_axis_off()
        for number, one in enumerate(shown):
            row, column = divmod(number, columns)
            title = one.title if len(one.title) < LONGEST else f"…{one.title[1 - LONGEST :]}"
            for below, (boxes, colour) in enumerate(((one.truth, TRUE), (one.found, FOUND))):
                panel = panels[2 * row + below, column]
                panel.imshow(_with_boxes(one.picture, boxes, colour, width / columns))
                panel.set_title("found" if below else f"{title}: true", fontsize=7)
    return figure


def _with_boxes(picture_HWC: Tile, boxes: Sequence[tuple[Sequence[float], str]], colour: str, wide: float
                ) -> Tile:  # fmt: skip
    """The picture, small ones enlarged, with boxes and texts of POINTS when it is `wide` inches wide."""
    times = -(-ENLARGED // picture_HWC.shape[1])
    found = picture_HWC.repeat(times, 0).repeat(times, 1)
    letters = POINTS / 72 / wide * found.shape[1]
    draw(found, [(box, written(text, letters, colour)) for box, text in boxes], colour)
    return found
