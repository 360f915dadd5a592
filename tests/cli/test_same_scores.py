"""The same pictures and weights give the same scores, in whatever container the pictures lie."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import Run
from films import CONTAINERS, copied, film
from saved_networks import SPEC, saved

from expander.video.probe import examine

CLASSES, FRAMES = 3, 40


def scores(expander: Run, root: Path, suffix: str, whole: list[Path], protocol: str) -> list[list[float]]:
    """Of `expander test` over copies of the films; an AVI with two places a frame, as ffmpeg copies H.264."""
    names = [copied(path, root / f"{path.stem}.{suffix}", tick=50).name for path in whole]
    listed = root / f"{suffix}.txt"
    listed.write_text("".join(f"{name} {label}\n" for label, name in enumerate(names)))
    dump = root / f"{suffix}.jsonl"
    done = expander(
        "test", "net.yaml", "net.safetensors", "--val-ann", str(listed), "--data-root", str(root),
        "--dump-scores", str(dump), "--protocol", protocol,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads(line)["scores"] for line in dump.read_text().splitlines()[1:]]


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["expander", "slowfast"])  # by frames, and by seconds
def test_scores_are_the_same_to_the_last_digit_in_every_container(
    expander: Run, tmp_path: Path, protocol: str
) -> None:
    saved(tmp_path, tuple("abc"), SPEC)
    noise = np.random.default_rng(0).integers(0, 255, (CLASSES, FRAMES, 66, 98, 3), np.uint8)
    whole = [
        film(tmp_path / "whole" / f"{label}.mp4", FRAMES, options={"g": "12", "bf": "0"}, size=(66, 98),
             draw=lambda number, *_, label=label: noise[label, number])
        for label in range(CLASSES)
    ]  # fmt: skip
    found = {suffix: scores(expander, tmp_path, suffix, whole, protocol) for suffix in CONTAINERS}
    assert all(rows == found["mp4"] for rows in found.values())
    assert {examine(tmp_path / f"0.{suffix}").route for suffix in CONTAINERS} == {"decord", "pyav"}
