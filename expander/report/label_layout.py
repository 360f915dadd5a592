"""Names beside the segments of a path, moved until none covers another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from expander.report.style import PAGE

Point = tuple[float, float]
GAP = 12.0
"""Between a name and what it names, points."""
AROUND = 4.0
"""Pixels kept clear around a name: its ground is larger than its letters."""


def place(axes: Axes, names: Sequence[tuple[str, Point, Point]], marks: Sequence[Point]) -> None:
    """Writes each name near the middle of its segment (data coordinates), clear of `marks` and each other."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.draw()  # type: ignore[no-untyped-call]  # the layout is settled before anything is measured
    to_pixels = axes.transData.transform
    half = 6 * figure.dpi / 72
    taken = [Bbox.from_extents(x - half, y - half, x + half, y + half)
             for x, y in (to_pixels(mark) for mark in marks)]  # fmt: skip
    bounds = axes.get_window_extent()
    for name, start, end in names:
        taken.append(_written(axes, name, _spots(axes, start, end), taken, bounds))


def _written(
    axes: Axes, name: str, spots: Iterator[tuple[Point, Point]], taken: list[Bbox], bounds: Bbox
) -> Bbox:
    """Writes the name at the spot where it covers least; where that is, in pixels."""
    best: tuple[float, Annotation, Bbox] | None = None
    for at, offset in spots:
        label = _label(axes, name, at, offset)
        box = label.get_window_extent().padded(AROUND)
        outside = float(box.width * box.height) - _overlap(box, bounds)
        covered = sum(_overlap(box, other) for other in taken) + 3 * outside
        if best is None or covered < best[0]:
            if best is not None:
                best[1].remove()
            best = (covered, label, box)
        else:
            label.remove()
        if best[0] == 0:
            break
    assert best is not None
    return best[2]


def _label(axes: Axes, name: str, at: Point, offset: Point) -> Annotation:
    across, up = offset
    return axes.annotate(
        name, at, xycoords="axes fraction", xytext=offset, textcoords="offset points", fontsize=9.5, zorder=6,
        fontweight="bold", ha="left" if across > 0 else "right" if across < 0 else "center",
        va="bottom" if up > 0 else "top" if up < 0 else "center",
        bbox={"facecolor": PAGE, "edgecolor": "none", "alpha": 0.75, "pad": 0.8},
    )  # fmt: skip


def _spots(axes: Axes, start: Point, end: Point) -> Iterator[tuple[Point, Point]]:
    """Places along the segment, from its middle on, and offsets from them: near ones first."""
    ends = [axes.transAxes.inverted().transform(axes.transData.transform(p)) for p in (start, end)]
    for far in (1.0, 1.9, 2.8):
        for share in (0.5, 0.7, 0.3, 1.0) if start != end else (0.5,):
            x, y = (float(a + share * (b - a)) for a, b in zip(*ends, strict=True))
            for across, up in ((-0.6, 0.5), (0, 1), (0.6, -0.5), (0, -1), (-1, 0), (1, 0)):
                yield (x, y), (across * GAP * far, up * GAP * far)


def _overlap(one: Bbox, other: Bbox) -> float:
    shared = Bbox.intersection(one, other)
    return 0.0 if shared is None else float(shared.width * shared.height)
