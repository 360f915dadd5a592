"""A trial whose files are kept in a store goes on, anywhere, from what an earlier attempt left there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from store import BUCKET, Door, Server, bucket
from test_trial import timeless
from test_trial_folder import dying, folder, order_in, rows

from expander.backends import stored_trial
from expander.backends.inline import InlineBackend, outcome_of
from expander.backends.stored import StoredBackend
from expander.backends.stored_trial import at_hand
from expander.data.store import objects, patience, remote
from expander.runs.machine import cache_folder
from expander.runs.names import below
from expander.runs.orders import TrialOrder, parent_weights
from expander.runs.trials import TrialFailure, TrialResult, make_trial
from expander.training.loop import Diverged, train_step
from expander.training.proxy.tasks import VideoTask
from expander.training.proxy.trial import Stopped, run_trial

HOME = f"s3://{BUCKET}/runs/r"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with bucket(tmp_path / "log") as made:
        yield made
    patience.WISH.file = None


@pytest.fixture
def order(server: Server, videos: Path, tmp_path: Path) -> TrialOrder:  # noqa: ARG001
    """A trial in a store that writes a checkpoint every third step, with every row of its metrics."""
    return replace(order_in(tmp_path / "run", videos), checkpoint_seconds=0.0, store=HOME)


def there(order: TrialOrder, tmp_path: Path) -> TrialOrder:
    """What a trial has left in the store, in a folder to look into."""
    seen = replace(order, folder=str(tmp_path / "seen"))
    objects.Copy(folder(seen), f"{HOME}/trials/{order.trial.folder}").fetch(lambda _: True)
    return seen


def test_a_trial_that_was_cut_goes_on_elsewhere_to_the_same_result(
    order: TrialOrder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = replace(order, store="", checkpoint_seconds=1e6)
    whole = run_trial(alone)
    assert isinstance(whole, TrialResult)
    for step in (20, 15):  # between two rows; the last checkpoints are of the steps 18 and 30
        with monkeypatch.context() as patch:
            dying(patch, step, KeyboardInterrupt())
            with pytest.raises(KeyboardInterrupt):
                outcome_of(order)
        assert not list((cache_folder() / "trials").iterdir())
    names = {name for name in objects.below(f"{HOME}/trials/{order.trial.folder}") if "checkpoints" in name}
    assert names == {f"checkpoints/step-000000{step}.{end}" for step in (27, 30) for end in ("json", "pt")}
    result = outcome_of(order)
    assert isinstance(result, TrialResult)
    assert timeless(replace(result, attempts=1)) == timeless(whole)
    left = there(order, tmp_path)
    assert [row["step"] for row in rows(left, "attempts.jsonl")] == [0, 18, 30]
    assert rows(left) == rows(alone)
    found, wanted = (folder(one) / "weights.safetensors" for one in (left, alone))
    assert found.read_bytes() == wanted.read_bytes()


def test_a_stop_is_heard_through_the_store(order: TrialOrder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_trial, "LOOK", 0.01)
    objects.put(f"{HOME}/trials/stop", b"")
    assert outcome_of(order) is None
    left = objects.below(f"{HOME}/trials/{order.trial.folder}")
    assert list(left) == ["attempts.jsonl"]  # no step was done
    objects.delete(f"{HOME}/trials/stop")
    with at_hand(order) as (here, keep):
        stop = Path(here.folder) / "trials" / "stop"

        def asked() -> None:
            """After a checkpoint somebody asks for a stop, and it is heard before the next."""
            keep()
            if list(stop.parent.glob("*/checkpoints/*.json")):
                objects.put(f"{HOME}/trials/stop", b"")
                while not stop.exists():
                    time.sleep(0.01)

        assert not stop.exists()
        with pytest.raises(Stopped):
            run_trial(here, asked)
    names = objects.below(f"{HOME}/trials/{order.trial.folder}")
    steps = {name.partition("step-")[2] for name in names if "checkpoints" in name}
    assert steps == {f"0000000{step}.{end}" for step in (3, 6) for end in ("pt", "json")}


def test_what_a_trial_begins_with_comes_along_and_what_a_failure_leaves_is_kept(
    order: TrialOrder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = make_trial(0, "parent", order.trial.spec, 0)
    child = replace(order, trial=replace(order.trial, parent=parent.id))
    alone = replace(child, store="")
    file = parent_weights(Path(alone.folder) / "trials", alone.trial)
    run_trial(replace(alone, trial=parent))
    objects.put(f"{HOME}/trials/{parent.id}/weights.safetensors", file.read_bytes())
    results = [outcome_of(one) for one in (alone, child)]
    assert all(isinstance(result, TrialResult) for result in results)
    assert timeless(results[0]) == timeless(results[1])  # type: ignore[arg-type]
    with monkeypatch.context() as patch:
        dying(patch, 7, Diverged("the loss is nan"))
        failed = outcome_of(replace(order, checkpoint_seconds=1e6))
    assert isinstance(failed, TrialFailure)
    assert [row["step"] for row in rows(there(order, tmp_path))] == [3, 6]


def test_what_a_killed_worker_leaves_on_its_machine_is_deleted_by_the_next(order: TrialOrder) -> None:
    place = cache_folder() / "trials"
    code = ("import os, signal; from pathlib import Path; from expander.backends.ray_scratch import Scratch; "
            "from expander.backends.stored_trial import PREFIX; import sys; "
            "Scratch(Path(sys.argv[1]), PREFIX); os.kill(os.getpid(), signal.SIGKILL)")  # fmt: skip
    place.mkdir(parents=True, exist_ok=True)
    died = subprocess.run([sys.executable, "-c", code, str(place)], env=os.environ.copy(), check=False)
    assert died.returncode == -signal.SIGKILL
    (left,) = place.iterdir()
    with at_hand(order) as (here, _):
        assert not left.exists()
        assert below(place, Path(here.folder).name).is_dir()
    assert not list(place.iterdir())


def test_a_stop_is_heard_at_once_where_the_search_was_called_and_a_slow_store_gets_the_checkpoint(
    order: TrialOrder, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = Path(order.folder) / "trials" / "stop"
    stop.parent.mkdir(parents=True)
    with closing(Door(server)) as door:
        door.slow = 2 * patience.LOOK  # longer than a call that is to end is waited for
        monkeypatch.setenv("AWS_ENDPOINT_URL", door.variables["AWS_ENDPOINT_URL"])
        remote._connected.cache_clear()
        monkeypatch.setattr(VideoTask, "step", lambda *_: lambda *of: (stop.touch(), train_step(*of))[1])
        with at_hand(replace(order, checkpoint_seconds=1e6)) as (here, keep), pytest.raises(Stopped):
            run_trial(here, keep)
        assert not objects.exists(f"{HOME}/trials/stop")
        names = objects.below(f"{HOME}/trials/{order.trial.folder}")
        assert {name for name in names if "checkpoints" in name} == {
            f"checkpoints/step-00000003.{end}" for end in ("json", "pt")
        }


def test_what_is_over_is_deleted_from_the_store_though_the_rest_is_interrupted(order: TrialOrder) -> None:
    second = replace(order, trial=make_trial(0, "base", order.trial.spec, order.trial.seed + 1))
    folder(order).parent.mkdir(parents=True)
    (folder(order).parent.parent / "journal.jsonl").touch()
    told = list[str]()

    def report(outcome: TrialResult | TrialFailure) -> None:
        if told:
            raise KeyboardInterrupt
        told.append(outcome.trial)

    with pytest.raises(KeyboardInterrupt), StoredBackend(InlineBackend()) as backend:
        backend.run([order, second], report)
    assert told == [order.trial.id]
    kept = {name.split("/")[1] for name in objects.below(HOME)}
    assert kept == {second.trial.folder}  # what was told of goes on from nothing
