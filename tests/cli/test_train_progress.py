"""What a training says where there is no terminal: rare lines, and a warning when the loader is too slow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from expander.cli.output.training_output import QUIET_SECONDS, Reporter
from expander.config.settings import BackendConfig, DataConfig, TrainRecipe
from expander.runs.machine import cores
from expander.specs.spec import Spec
from expander.training.timing.throughput import Throughput
from expander.training.training_folder import Best, Row, Training, TrainingFolder

TRAINING = Training(Spec(), TrainRecipe(epochs=10, batch=8), DataConfig(), "f", ("a", "b"), videos=80)
Said = Callable[..., list[str]]


@pytest.fixture
def said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Said:
    """The lines for some rows of a training."""

    def lines(
        training: Training, *rows: Row, pace: Throughput | None = None, quiet: float = 0.0
    ) -> list[str]:
        with Reporter(training, TrainingFolder(tmp_path)) as reporter:
            reporter.told -= quiet
            for row in rows:
                if pace is not None:
                    reporter.step(pace, 2.0)
                reporter.row(row, training)
        return capsys.readouterr().err.splitlines()

    return lines


def row_of(step: int, waiting: float) -> Row:
    return {"epoch": 1 + step // 10, "step": step, "loss": 2.0, "lr": 0.1, "clips_per_second": 10.0,
            "data_wait": waiting}  # fmt: skip


def test_a_line_comes_after_a_minute_and_says_speed_memory_and_time_left(said: Said) -> None:
    """50 of 100 steps of 8 clips are left: 400 clips at 10 a second."""
    row = row_of(50, 0.1)
    cpu = Throughput(50, 100, 6, 9.0, 0.2, 44.0, 1.5e9, on_gpu=False)
    assert said(TRAINING, row, pace=cpu) == []
    (line,) = said(TRAINING, row, row, pace=cpu, quiet=QUIET_SECONDS + 1)
    head = "epoch 6/10 step 50/100: loss 2.000, 10 clips/s, 10% waiting for clips"
    assert line == f"{head}, memory 1.5 GB, about 40 s left"
    (line,) = said(TRAINING, row, pace=replace(cpu, on_gpu=True), quiet=QUIET_SECONDS + 1)
    assert line == f"{head}, GPU 1.5 GB, about 40 s left"


def test_a_validation_is_a_line_at_once(said: Said) -> None:
    best = replace(TRAINING, best=Best(2, 20, 0.5, 1.0))
    measured = {"epoch": 2, "step": 20, "val_loss": 1.0, "video_top1": 0.5}
    (line,) = said(best, row_of(20, 0.0), measured)
    assert line.endswith("loss 2.000, video_top1 50.0%, val_loss 1.000 (the best so far)")


def test_a_loader_that_is_too_slow_is_told_once_with_what_helps(said: Said) -> None:
    free = cores()
    rows = [row_of(step, waiting) for step, waiting in ((10, 0.9), (20, 0.2), (30, 0.4), (40, 0.5))]
    (line,) = said(TRAINING, *rows)
    waiting = "warning: 40% of the time is spent waiting for clips"
    assert line.startswith(f"{waiting}; --set data.workers={free} loads them in other processes, a larger ")
    (line,) = said(replace(TRAINING, data=DataConfig(workers=free)), *rows)
    less = "a larger --set data.cache_gb keeps decoded frames, expander data prepare makes copies that are "
    assert line == f"{waiting}; all CPUs are busy already: {less}quick to read"
    together = replace(TRAINING, workers=free, backend=BackendConfig(), data=DataConfig(workers=0))
    (line,) = said(together, *rows)
    assert "--set data.workers=1 " in line
