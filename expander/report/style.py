"""How figures look, and how they get onto a page or into a file.

Figures are drawn once, in colours that stand for themselves in a PNG; on a page each is replaced by a
CSS variable, so that the same SVG reads on light and on dark. Colours are those of Okabe and Ito, told
apart by colour-blind readers; markers and line styles tell the same things apart in grey.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import image
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from expander.runs.events import CUT, UNCUT
from expander.runs.journal import write_atomic

INK, MUTED, GRID, PAGE = "#16181a", "#5b6064", "#d5d8da", "#fdfdfc"
AXIS_STYLE = {
    "base": (INK, "o"),
    "temporal": ("#0072b2", "s"),
    "frame_rate": ("#56b4e9", "D"),
    "spatial": ("#009e73", "^"),
    "width": ("#e69f00", "v"),
    "bottleneck": ("#d55e00", "P"),
    "depth": ("#cc79a7", "X"),
}
"""Colour and marker of each axis."""

OTHER_STYLE = ("#8a6fd1", "p")
"""Of an axis that is none of the six."""

COLOURS = {
    INK: "currentColor",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    PAGE: "var(--page)",
    **{colour: f"var(--c-{axis}, {colour})" for axis, (colour, _) in AXIS_STYLE.items() if colour != INK},
    OTHER_STYLE[0]: f"var(--c-other, {OTHER_STYLE[0]})",
}
"""What a page puts in the place of each colour."""

LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (7, 2)))
SETTINGS: Any = {
    "font.family": ["DejaVu Sans"],
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "legend.fontsize": 9,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "figure.facecolor": PAGE,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    # A name may hold a dollar sign: it is text, never a formula.
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "expander",
}


PIXELS = 108
"""Of a page, for an inch of a figure, where there is room."""


@contextmanager
def drawing() -> Iterator[None]:
    """In it, figures look as above; a name in a script that the font lacks is no reason for a warning."""
    with mpl.rc_context(SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support .* natively")
        yield


def sheet(width: float, height: float) -> Figure:
    """An empty figure, inches."""
    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.09, h_pad=0.06))
    FigureCanvasAgg(figure)
    return figure


def bare_axis(axis: str) -> str:
    """The axis that a candidate moved, without what it was tried as in the last step."""
    return axis.removeprefix(UNCUT).removeprefix(CUT)


def style(axis: str) -> tuple[str, str]:
    """Colour and marker of an axis."""
    return AXIS_STYLE.get(bare_axis(axis), OTHER_STYLE)


def svg(figure: Figure, name: str, meaning: str) -> str:
    """The figure as an SVG element for a page. name: makes its ids its own. meaning: for screen readers."""
    out = io.StringIO()
    with drawing():
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    text = out.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = text.replace('href="#', f'href="#{name}-').replace("url(#", f"url(#{name}-")
    # A style sheet inside an inline SVG holds for the whole page.
    text = text.replace("*{stroke-linejoin", f".{name} *{{stroke-linejoin")
    for colour, variable in COLOURS.items():
        text = text.replace(f": {colour}", f": {variable}")
    text = re.sub(r"(\d+\.\d\d)\d+", r"\1", text)
    label = meaning.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    most = f"max-width: {figure.get_size_inches()[0] * PIXELS:.0f}px"
    head = f'<svg class="{name}" role="img" aria-label="{label}" style="{most}" '
    return text.replace("<svg ", head, 1)


def save(figure: Figure, path: Path) -> Path:
    """Writes the figure as PNG, SVG or PDF, as the name of the file says. Raises EnvironmentFault."""
    out = io.BytesIO()
    with drawing():
        figure.savefig(out, format=path.suffix.removeprefix("."), dpi=150)
    write_atomic(path, out.getvalue())
    return path


def encoded(pixels_HWC: Any, small: int = 200_000) -> tuple[str, bytes]:
    """An image as (MIME type, bytes): PNG up to `small` pixels, JPEG above."""
    out = io.BytesIO()
    if pixels_HWC.shape[0] * pixels_HWC.shape[1] <= small:
        image.imsave(out, pixels_HWC, format="png")
        return "image/png", out.getvalue()
    image.imsave(out, pixels_HWC, format="jpg", pil_kwargs={"quality": 82})
    return "image/jpeg", out.getvalue()


def log_ticks(axis: Axes, low: float, high: float, most: int) -> None:
    """A logarithmic x axis from `low` to `high` with at most `most` round, plainly written ticks."""
    axis.set_xscale("log")
    axis.set_xlim(low, high)
    for steps in ((1, 1.5, 2, 3, 4, 5, 6, 8), (1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        ticks = [s * 10.0**e for e in range(-9, 12) for s in steps if low <= s * 10.0**e <= high]
        if len(ticks) <= most:
            break
    axis.xaxis.set_major_locator(FixedLocator(ticks))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
