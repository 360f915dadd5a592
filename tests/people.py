"""A made data set for detection: figures side by side, each of a colour, still or blinking, with its box."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from expander.data.embedded.making import encode

CLASSES = ("red", "green", "blinking")
COLOURS = ((220, 40, 40), (40, 200, 60))
FRAMES, HEIGHT, WIDTH = 32, 48, 80
SECONDS = (0.75, 1.25)


def drawn(rng: np.random.Generator) -> tuple[NDArray[np.uint8], list[tuple[list[float], list[str]]]]:
    """(T, H, W, 3), and of each figure its box in shares and its labels."""
    film = np.full((FRAMES, HEIGHT, WIDTH, 3), rng.integers(90, 140), np.int64)
    people = []
    for place in rng.permutation(3)[: rng.integers(1, 4)]:
        high, wide = rng.integers(20, 36), rng.integers(14, 22)
        top, left = rng.integers(2, HEIGHT - high - 2), 2 + 26 * place
        colour, blinks = int(rng.integers(2)), bool(rng.integers(2))
        figure = film[:, top : top + high, left : left + wide]
        figure[:] = COLOURS[colour]
        if blinks:
            figure[rng.integers(2) :: 4] = 235
            figure[1 :: 4] = 235
        box = [left / WIDTH, top / HEIGHT, (left + wide) / WIDTH, (top + high) / HEIGHT]
        people.append((box, [CLASSES[colour], *(["blinking"] if blinks else [])]))
    return np.clip(film + rng.integers(-12, 13, film.shape), 0, 255).astype(np.uint8), people


def made(root: Path, train: int = 16, val: int = 8, seed: int = 0, detected: bool = True) -> Path:
    """A folder with train.csv, val.csv, classes.txt and films; detected: boxes of a detector beside them."""
    (root / "films").mkdir(parents=True)
    for split, count in (("train", train), ("val", val)):
        truth, found = ["video,second,x1,y1,x2,y2,labels"], ["video,second,x1,y1,x2,y2,score"]
        for number in range(count):
            rng = np.random.default_rng((seed, split == "val", number))
            film, people = drawn(rng)
            name = f"films/{split}{number:03d}.mp4"
            encode(film, root / name)
            for second in SECONDS:
                for box, labels in people:
                    near = np.clip(box + rng.uniform(-0.02, 0.02, 4), 0, 1).tolist()
                    truth.append(",".join([name, str(second), *map(str, box), ";".join(labels)]))
                    score = f"{rng.uniform(0.85, 1):.3f}"
                    found.append(",".join([name, str(second), *map(str, near), score]))
                found.append(",".join([name, str(second), "0,0,0.1,0.9", f"{rng.uniform(0, 0.7):.3f}"]))
        (root / f"{split}.csv").write_text("\n".join(truth) + "\n")
        if detected:
            (root / f"{split}_detected.csv").write_text("\n".join(found) + "\n")
    (root / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    return root
