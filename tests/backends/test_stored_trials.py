"""Trials that are kept in a store: nodes share no folder, and a search comes out as on a disk."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from conftest import Run, decisions
from ray_searches import LONG, clustered, journal, searches, until
from store import BUCKET, Door, Server, bucket

from expander.data.store import objects

PLACE = f"s3://{BUCKET}/runs"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Server]:
    with bucket(tmp_path / "log") as server:
        yield server


def weights(tmp_path: Path, run: str) -> dict[str, bytes]:
    files = (tmp_path / "runs" / run / "trials").glob("*/weights.safetensors")
    return {file.parent.name: file.read_bytes() for file in files}


def owner_alone(run: str) -> bool:
    """Whether of a run nothing is left in the store but the file that takes its place."""
    (left,) = objects.below(f"{PLACE}/{run}")
    return left.startswith(objects.OWNER)


def tries(tmp_path: Path, run: str, trial: object) -> list[dict[str, Any]]:
    file = tmp_path / "runs" / run / "trials" / str(trial) / "attempts.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()]


def waiting(tmp_path: Path) -> list[Path]:
    """What trials on the nodes have said of their store, which cannot hear it."""
    logs = tmp_path.glob("node*/expander/trials/*/trials/*/warnings.log")
    return [log for log in logs if "the store does not answer" in log.read_text()]


def killed_worker(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
def test_a_search_on_nodes_without_a_shared_folder_loses_a_worker_and_a_node_and_goes_on_elsewhere(
    expander: Run, brief: list[str], store: Server, tmp_path: Path, environment: dict[str, str]
) -> None:
    """Its store goes away for a while, it is stopped, and ends on another machine: with an empty cache, and
    without Ray.
    """
    options = [*brief, *LONG, "--set", "proxy.steps=600", "--set", "proxy.inherit=0.6"]
    done = expander(*options, "--run", "here", "--backend", "inline")
    assert done.returncode == 0, done.stderr
    killed = list[str]()
    env, runs = {**environment, **store.variables}, tmp_path / "runs"
    with closing(Door(store)) as door, searches(tmp_path) as start, clustered(
        {**env, **door.variables}, tmp_path, hidden=runs
    ) as cluster:

        def lost(_: int) -> None:
            door.shut()
            while until(waiting(tmp_path), search.process):
                pass
            door.open()

        def stopped(_: int) -> None:
            search.process.send_signal(signal.SIGINT)

        place = ["--ray-address", cluster.address, "--storage-path", PLACE]
        search = start([*options, *place, "--run", "there"], {**cluster.more, **door.variables})
        for end in (killed_worker, cluster.kill_node, lost, stopped):
            row = search.in_trial(frozenset(killed))
            killed.append(str(row["trial"]))
            end(int(str(row["pid"])))
        code, told = search.end()
        assert code == 130, told
    assert "its worker is gone; it goes on elsewhere" in told
    waits = [line for line in told.splitlines() if "the store does not answer" in line]
    assert [line for line in waits if ", on node " in line]  # told by a trial, once it could be
    assert not list((runs / "there" / "trials").rglob("*.pt"))  # they are in the store alone
    assert [name for name in objects.below(f"{PLACE}/there/trials") if name.endswith(".pt")]
    other = tmp_path / "elsewhere" / "expander"
    other.mkdir(parents=True)
    (other / "kernels").symlink_to(Path(env["XDG_CACHE_HOME"], "expander", "kernels"))
    done = expander("search", "--run", "there", "--resume", "--backend", "inline",
                    **{**store.variables, "XDG_CACHE_HOME": str(other.parent)})  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert decisions(journal(tmp_path, "there")) == decisions(journal(tmp_path, "here"))
    assert weights(tmp_path, "there") == weights(tmp_path, "here")
    steps = [[row["step"] for row in tries(tmp_path, "there", trial)] for trial in killed]
    again = [later for first, *later in steps if later]
    assert len(again) >= 2, steps  # a trial that was about to end may have
    assert min(min(later) for later in again) > 0, steps
    assert owner_alone("there")
    assert not list((other / "trials").iterdir())


@pytest.mark.slow
def test_a_search_with_rungs_comes_out_the_same_though_its_store_goes_away(
    expander: Run, brief: list[str], store: Server, tmp_path: Path
) -> None:
    options = [*brief, *LONG, "--set", "selection.rungs=[0.3]", "--backend", "inline"]
    done = expander(*options, "--run", "here")
    assert done.returncode == 0, done.stderr
    with closing(Door(store)) as door, searches(tmp_path) as start:
        search = start([*options, "--run", "there", "--storage-path", f"{PLACE}/"], door.variables)
        search.in_trial()
        door.shut()
        told = next(line for line in search.process.stderr if "the store does not answer" in line)
        assert told.startswith(f"WARNING: {PLACE}/there/trials/")
        door.open()
        code, told = search.end()
    assert code == 0, told
    assert decisions(journal(tmp_path, "there")) == decisions(journal(tmp_path, "here"))
    assert weights(tmp_path, "there") == weights(tmp_path, "here")
    assert owner_alone("there")
    assert not list((tmp_path / "runs" / "there" / "trials").glob("*/checkpoints"))
    after = expander("baseline", "there", "--kind", "compound", "--count", "1", **store.variables)
    assert after.returncode == 0, after.stderr
    assert owner_alone("there")
    other = tmp_path / "elsewhere"
    (tmp_path / "runs" / "there").rename(other)
    twice = expander(*options, "--run", "there", "--storage-path", PLACE, **store.variables)
    assert twice.returncode == 2, twice.stderr
    assert f"error: {PLACE}/there: there are files of a run already; choose another --run" in twice.stderr
    assert not (tmp_path / "runs" / "there").exists()
