"""--log: trials in TensorBoard by way of a real Ray; a tracker that is not installed is told at once."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from conftest import Run
from tensorboardX.proto.event_pb2 import Event

from expander.backends.tracking import TRACKERS, require
from expander.errors import EnvironmentFault


def scalars(file: Path) -> dict[str, list[tuple[int, float]]]:
    """(step, value) of every scalar of an event file (TFRecord: length, its CRC, data, its CRC)."""
    found: dict[str, list[tuple[int, float]]] = {}
    content, place = file.read_bytes(), 0
    while place < len(content):
        (size,) = struct.unpack_from("<Q", content, place)
        event = Event.FromString(content[place + 12 : place + 12 + size])
        place += 12 + size + 4
        for value in event.summary.value:
            found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


@pytest.mark.slow
def test_tensorboard_gets_every_trial_with_its_training_and_its_result(
    expander: Run, micro: list[str], tmp_path: Path
) -> None:
    small = ["--max-steps", "1", "--set", "proxy.steps=4"]
    done = expander(*micro, *small, "--run", "r", "--log", "tensorboard")
    assert done.returncode == 0, done.stderr
    trials = {path.name for path in (tmp_path / "runs/r/trials").iterdir()}
    logged = {path.name: path for path in (tmp_path / "runs/r/tensorboard").iterdir()}
    assert set(logged) == trials
    (file,) = logged[min(trials)].iterdir()
    seen = scalars(file)
    metrics = (tmp_path / "runs/r/trials" / min(trials) / "metrics.jsonl").read_text().splitlines()
    assert [step for step, _ in seen["ray/tune/loss"]] == list(range(1, len(metrics)))
    assert len(seen["ray/tune/result/accuracy"]) == 1


def test_a_tracker_that_is_not_installed_is_an_environment_fault_with_the_line_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(TRACKERS, "wandb", ("no_such_package", TRACKERS["wandb"][1]))
    require([])
    with pytest.raises(EnvironmentFault, match=r"pip install 'expander\[wandb\]'"):
        require(["tensorboard", "wandb"])


def test_log_needs_ray(expander: Run, micro: list[str], tmp_path: Path) -> None:
    done = expander(*micro, "--log", "tensorboard", "--backend", "inline")
    assert done.returncode == 2
    assert "--log goes through Ray Tune" in done.stderr
    assert not (tmp_path / "runs").exists()
