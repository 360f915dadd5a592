"""--log: trials in each tracker by way of a real Ray; one that is not installed is told at once.

mlflow and wandb are extras: their tests run where they are installed, and need no network.
"""

from __future__ import annotations

import json
import sqlite3
import struct
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import Run
from tensorboardX.proto.event_pb2 import Event

from expander.backends.trackers import TRACKERS, require
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


def only_where_installed(package: str) -> pytest.MarkDecorator:
    """An extra that `pip install 'expander[test]'` does not bring."""
    return pytest.mark.skipif(find_spec(package) is None, reason=f"the extra {package} is not installed")


SMALL = ["--max-steps", "1", "--set", "proxy.steps=4", "--run", "r"]


def result_of(folder: Path) -> dict[str, float]:
    """Accuracy of every trial, as the journal of the run has it."""
    events = map(json.loads, (folder / "journal.jsonl").read_text().splitlines())
    return {event["result"]["trial"]: event["result"]["accuracy"] for event in events
            if event["event"] == "trial_finished"}  # fmt: skip


@pytest.mark.slow
@only_where_installed("mlflow")
def test_mlflow_gets_every_trial_in_a_database_of_the_run(
    expander: Run, micro: list[str], tmp_path: Path
) -> None:
    done = expander(*micro, *SMALL, "--log", "mlflow", MLFLOW_TRACKING_URI="")
    assert done.returncode == 0, done.stderr
    with closing(sqlite3.connect(tmp_path / "runs/r/mlflow.db")) as database:
        names = dict(database.execute("SELECT run_uuid, name FROM runs WHERE status = 'FINISHED'").fetchall())
        rows = database.execute("SELECT run_uuid, key, value, step FROM metrics").fetchall()
        assert ("r",) in database.execute("SELECT name FROM experiments").fetchall()
    journal = result_of(tmp_path / "runs/r")
    assert len(names) == len(journal)
    told = {run: value for run, key, value, _ in rows if key == "result/accuracy"}
    assert sorted(told.values()) == pytest.approx(sorted(journal.values()))
    assert {key for _, key, *_ in rows} >= {"loss", "lr", "result/loss"}


@pytest.mark.slow
@only_where_installed("wandb")
def test_wandb_gets_every_trial_offline(expander: Run, micro: list[str], tmp_path: Path) -> None:
    done = expander(*micro, *SMALL, "--log", "wandb", WANDB_MODE="offline", WANDB_SILENT="true")
    assert done.returncode == 0, done.stderr
    files = list((tmp_path / "runs/r/wandb").glob("offline-run-*/run-*.wandb"))
    assert len(files) == len(result_of(tmp_path / "runs/r"))
    for file in files:
        assert b"result/accuracy" in file.read_bytes()


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
