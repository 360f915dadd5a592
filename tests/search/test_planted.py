"""Videos in which only one thing tells the classes apart: the first step must find the axis that shows it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from planted_scenes import BLINK, FALL, RISE, STEADY, Cycle, Planted, render

from expander.backends.inline import InlineBackend
from expander.config.settings import BackendConfig, DataConfig, Recipe, Selection
from expander.config.space import AxisRule, SearchSpace
from expander.data.embedded.making import encode
from expander.data.sources import open_data, source_limits
from expander.engine.loop import search
from expander.report.tables import decisions
from expander.runs.events import Problem, RunStarted
from expander.runs.journal import Run
from expander.specs.spec import AXES, Base

pytestmark = pytest.mark.slow
STILL = ("spatial", "width", "bottleneck", "depth")
SPACE = SearchSpace(
    axes={axis: AxisRule(2.0 if axis in ("temporal", "frame_rate") else "solve", 8.0) for axis in AXES},
    base=Base(frames=1, stride=16, crop=24, stem_width=12, depths=(1, 1), head_width=64, classes=2,
              width_divisor=1, crop_divisor=2),
    proxy=Recipe(steps=200, batch=32, lr=0.15, dropout=0, he_head=True, views=1),
)  # fmt: skip


def planted(root: Path, classes: tuple[Planted, ...], frames: int, height: int) -> DataConfig:
    """Sixty videos to train and forty to validate of each class, in folders of class folders."""
    for split, (name, count) in enumerate((("train", 60), ("val", 40))):
        for label, scene in enumerate(classes):
            place = root / name / scene.name
            place.mkdir(parents=True)
            for index in range(count):
                rng = np.random.default_rng([split, label, index])
                encode(render(scene, rng, frames, height, height + 16), place / f"{index}.mp4")
    return DataConfig(folder=str(root))


def first_step(
    folder: Path, classes: tuple[Planted, ...], title: str, frames: int = 64, height: int = 64
) -> pd.DataFrame:
    """The candidates of the first step from a one-frame base on videos of these classes."""
    settings = planted(folder / "set", classes, frames, height)
    data = open_data(settings)
    problem = Problem(SPACE, 1e9, source_limits(data, settings), Selection(), max_steps=1)
    run = Run(folder / "run")
    run.create()
    run.append(RunStarted(problem, settings, BackendConfig("inline"), data.fingerprint, data.classes))
    with run.locked(), InlineBackend() as backend:
        search(run, backend, lambda *_: None)
    table = decisions(run)
    shown = table[["axis", "cost", "ratio", "accuracy", "score", "low", "high", "chosen"]]
    print(f"\n{title}\n{shown.to_string(index=False)}")
    return table[table["step"] == 1]


def winner(table: pd.DataFrame, *beaten: str) -> str:
    """The chosen axis, after a look that it beat the others beyond doubt."""
    assert sorted(table["axis"]) == sorted(AXES)
    assert all(table.set_index("axis").loc[list(beaten), "low"] > 0)
    return str(table[table["chosen"].astype(bool)]["axis"].iloc[0])


def test_where_only_the_order_of_frames_matters_a_time_axis_is_chosen(tmp_path: Path) -> None:
    """An object that grows lighter against one that grows darker: any frame fits both."""
    rising = Planted("rising", light=Cycle(RISE, hold=4))
    falling = Planted("falling", light=Cycle(FALL, hold=4))
    table = first_step(tmp_path, (rising, falling), "only the order of frames")
    assert winner(table, *STILL) in ("temporal", "frame_rate")


def test_where_only_fine_texture_matters_the_spatial_axis_is_chosen(tmp_path: Path) -> None:
    """Lines of about 4.2 pixels' period, lying or standing.

    The base takes every 3.8th to 4.6th pixel: about one a period, so the lines seem to lie in any
    direction. The next size takes every 2.7th to 3.4th, and their direction is seen.
    """
    classes = tuple(Planted(name, texture=name, period=(4.0, 4.4)) for name in ("bars", "posts"))
    table = first_step(tmp_path, classes, "only fine texture", frames=32, height=128)
    assert winner(table, *(axis for axis in AXES if axis != "spatial")) == "spatial"


def test_where_only_a_slow_late_event_matters_temporal_beats_frame_rate(tmp_path: Path) -> None:
    """A change of light every 16 frames: twice the time shows it always, twice the rate half the time."""
    blinking = Planted("blinking", light=Cycle(BLINK, hold=16))
    classes = (blinking, Planted("steady", light=STEADY))
    table = first_step(tmp_path, classes, "only a slow late event")
    assert winner(table, *STILL, "frame_rate") == "temporal"
