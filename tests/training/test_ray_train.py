"""Two real Ray processes train what one process trains. Slow: Ray starts."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fitting_cases import folder_of, timeless, training_of

from expander.backends.ray_train import fit_together
from expander.errors import TrainingFault
from expander.training.distributed import Workers
from expander.training.timing.throughput import Throughput
from expander.training.trainer import fit
from expander.training.training_folder import Row, Training, TrainingFolder

pytestmark = pytest.mark.slow


class Listener:
    """Keeps the rows that it hears of."""

    def __init__(self) -> None:
        self.on_result: list[Row] = []

    def step(self, pace: Throughput, loss: float) -> None:
        """What is told of steps is not looked at here."""

    def row(self, row: Row, training: Training) -> None:  # noqa: ARG002
        self.on_result.append(row)


@pytest.fixture(scope="module", autouse=True)
def _decoded_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def losses(folder: TrainingFolder) -> list[float]:
    return [row["loss"] for row in folder.rows() if "loss" in row]


def together(training: Training, place: Path, listener: Listener | None = None) -> TrainingFolder:
    folder = folder_of(place, training)
    assert fit_together(training, folder, listener or Listener()).state == "finished"
    return folder


def alone(training: Training, place: Path) -> TrainingFolder:
    folder = folder_of(place, training)
    fit(replace(training, workers=1), folder, Workers())
    return folder


def test_two_processes_give_the_curve_of_one_with_the_same_parts_of_the_same_batch(
    videos: Path, tmp_path: Path
) -> None:
    """Batch norm sees 4 clips at a time in both; dropout and mixup depend on the place in the batch.

    What is left is the order in which floats are added (gradients in buckets): 1e-4 after 24 steps.
    """
    listener = Listener()
    two = together(training_of(videos, workers=2), tmp_path / "two", listener)
    one = alone(training_of(videos, accumulate=2), tmp_path / "one")
    assert losses(two) == pytest.approx(losses(one), rel=1e-4)
    assert [row.get("video_top1") for row in two.rows()] == [row.get("video_top1") for row in one.rows()]
    assert listener.on_result == two.rows()


def test_with_synced_batch_norm_two_processes_give_the_curve_of_one_undivided_batch(
    videos: Path, tmp_path: Path
) -> None:
    """Without dropout and mixup, whose draws belong to parts of a batch. The statistics are summed in
    another order than within one process: 1e-3 after 24 steps, where unsynced statistics miss by far."""
    recipe: dict[str, Any] = {"dropout": 0.0, "mixup": 0.0}
    one = losses(alone(training_of(videos, **recipe), tmp_path / "one"))
    synced = losses(together(training_of(videos, 2, sync_bn=True, **recipe), tmp_path / "synced"))
    apart = losses(alone(training_of(videos, accumulate=2, **recipe), tmp_path / "apart"))
    assert synced == pytest.approx(one, rel=1e-3)
    assert apart != pytest.approx(one, rel=1e-3)


def train_workers() -> list[int]:
    """Process ids of the Ray Train workers that this process has started, directly or not."""
    parents, titles = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                pid = int(entry.name)
                parents[pid] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                titles[pid] = (entry / "cmdline").read_text()

    def ours(pid: int) -> bool:
        return pid == os.getpid() or (pid in parents and ours(parents[pid]))

    return [pid for pid, title in titles.items() if "RayTrainWorker" in title and ours(pid)]


class Killer(Listener):
    """Kills one of the processes at the first row from a step on."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step_of_kill, self.killed = step, 0

    def row(self, row: Row, training: Training) -> None:
        super().row(row, training)
        if row["step"] >= self.step_of_kill and not self.killed:
            self.killed = train_workers()[0]
            os.kill(self.killed, signal.SIGKILL)


def test_a_killed_process_is_replaced_and_the_result_stays(videos: Path, tmp_path: Path) -> None:
    training = training_of(videos, workers=2, epochs=40, validate_every=20, checkpoint_minutes=0.0)
    killer = Killer(step=30)
    cut = together(training, tmp_path / "cut", killer)
    assert killer.killed
    whole = together(training, tmp_path / "whole")
    assert timeless(cut) == timeless(whole)
    assert cut.last.read_bytes() == whole.last.read_bytes()


def test_an_error_for_people_comes_back_as_itself(videos: Path, tmp_path: Path) -> None:
    training = training_of(videos, workers=2, lr=1e30)
    with pytest.raises(TrainingFault, match=r"^\S+: the loss is .* at step \d+; a lower learning rate may"):
        fit_together(training, folder_of(tmp_path / "a", training), Listener())
