"""Draws docs/embedded.png: four moments of a video of each embedded class.

    python analysis/embedded_frames.py
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np

from expander.data.embedded.figures import CLASSES, render
from expander.data.embedded.synthetic import SetConfig

mpl.use("Agg")
import matplotlib.pyplot as plt

COLUMNS, MOMENTS = 3, 4


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("docs/embedded.png"))
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    made = SetConfig()
    size = (COLUMNS * 4.2, len(CLASSES) / COLUMNS * 1.08)
    figure, places = plt.subplots(len(CLASSES) // COLUMNS, COLUMNS, figsize=size, layout="constrained")
    for number, (name, place) in enumerate(zip(CLASSES, places.flat, strict=True)):
        rng = np.random.default_rng([given.seed, 0, number])
        video = render(name, rng, made.frames, made.height, made.width)
        place.imshow(np.concatenate([*video[:: made.frames // MOMENTS]], axis=1))
        place.set_title(name, fontsize=9, loc="left", pad=2)
        place.axis("off")
    figure.savefig(given.out, dpi=80)


if __name__ == "__main__":
    main()
