"""A made data set whose videos have several labels each, or none: squares of colours, one that blinks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from expander.data.embedded.making import encode

CLASSES = ("red", "green", "blue", "blinking")
COLOURS = ((220, 40, 40), (40, 200, 60), (50, 70, 230))
FRAMES, HEIGHT, WIDTH, SIDE = 32, 48, 64, 14


def drawn(labels: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.uint8]:
    """(T, H, W, 3): a square for each colour among the labels; `blinking`: a grey one comes and goes."""
    film = np.full((FRAMES, HEIGHT, WIDTH, 3), rng.integers(90, 140), np.int64)
    places = rng.permutation(6)
    for label, place in zip(labels, places, strict=False):
        top, left = 5 + 22 * (place // 3), 3 + 21 * (place % 3)
        square = film[:, top : top + SIDE, left : left + SIDE]
        square[:] = COLOURS[label] if label < 3 else (20, 20, 20)
        if label == 3:
            square[rng.integers(6) // 3 :: 2] = 235
    return np.clip(film + rng.integers(-12, 13, film.shape), 0, 255).astype(np.uint8)


def made(root: Path, train: int = 24, val: int = 20, seed: int = 0) -> Path:
    """A folder with train.txt, val.txt (`path label …`), classes.txt and the films they list."""
    (root / "films").mkdir(parents=True)
    for split, count in (("train", train), ("val", val)):
        rows = []
        for number in range(count):
            rng = np.random.default_rng((seed, split == "val", number))
            labels = tuple(np.flatnonzero(rng.random(len(CLASSES)) < 0.45).tolist())
            encode(drawn(labels, rng), root / f"films/{split}{number:03d}.mp4")
            rows.append(" ".join([f"films/{split}{number:03d}.mp4", *map(str, labels)]))
        (root / f"{split}.txt").write_text("\n".join(rows) + "\n")
    (root / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    return root
