"""A search on shards in a store, with simulated nodes: both come and go, and it decides as on files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from conftest import Run, decisions
from ray_searches import LONG, Cluster, Start, clustered, journal, searches
from store import Door, Server, serving, upload

pytestmark = pytest.mark.slow
VIDEOS = 72


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with searches(tmp_path) as search:
        yield search


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path / "log") as server:
        yield server


@pytest.fixture
def door(store: Server) -> Iterator[Door]:
    with closing(Door(store)) as made:
        yield made


@pytest.fixture
def cluster(environment: dict[str, str], tmp_path: Path, door: Door) -> Iterator[Cluster]:
    """Each node with a cache of its own: neither decoded frames nor videos of the store are in it."""
    with clustered({**environment, **door.variables}, tmp_path) as made:
        yield made


def decided(file: Path) -> list[str]:
    """What a search found, wherever its data lay."""
    kept = ("trial_finished", "step_chosen", "run_finished")
    return [line for line in decisions(file) if json.loads(line)["event"] in kept]


def decoded(node: Path) -> dict[str, int]:
    """The decoded videos of a node, each with what tells a file from another of the same name."""
    return {file.name: file.stat().st_ino for file in node.glob("expander/frames/*/*.rgb")}


def node_of(pid: int, folder: Path) -> Path:
    """The cache of the node on which a worker runs."""
    values = Path(f"/proc/{pid}/environ").read_text().split("\0")
    found = next(value for value in values if value.startswith("XDG_CACHE_HOME="))
    node = Path(found.partition("=")[2])
    assert node.parent == folder
    return node


def test_nodes_that_come_and_go_decode_once_each_and_change_nothing_nor_does_a_store(
    expander: Run, start: Start, cluster: Cluster, store: Server, door: Door, brief: list[str], videos: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    for out, more in (("files", ()), ("shards", ("--shards", "1MB"))):
        done = expander("data", "prepare", videos, "--out", out, "--short-side", "64", *more)
        assert done.returncode == 0, done.stderr
    address = upload(store, tmp_path / "shards", "searched")
    options = [*brief[: brief.index("--train-ann")], *brief[brief.index("--max-steps") :], *LONG,
               "--set", "proxy.steps=300"]  # fmt: skip
    done = expander(*options, "--data", "files", "--run", "here", "--backend", "inline")
    assert done.returncode == 0, done.stderr
    place = ["--ray-address", cluster.address, "--storage-path", str(tmp_path / "shared")]
    search = start([*options, *place, "--data", address, "--run", "there"],
                   {**cluster.more, **door.variables})  # fmt: skip

    def trial(*before: str) -> tuple[str, int, Path]:
        """The id of one that is under way, its process, and the cache of its node."""
        row = search.in_trial(frozenset(before))
        pid = int(str(row["pid"]))
        return str(row["trial"]), pid, node_of(pid, tmp_path)

    first, pid, lost = trial()
    assert len(decoded(lost)) == VIDEOS  # also those to validate with, which no trial has needed yet
    cluster.kill_node(pid)
    second, _, other = trial(first)
    filled = decoded(other)
    assert other != lost
    assert len(filled) == VIDEOS
    third, pid, same = trial(first, second)
    assert (same, decoded(same)) == (other, filled)  # a trial that came later has decoded nothing
    door.shut()
    cluster.kill_node(pid)
    cluster.add_node()  # there was none for a moment
    line = next(line for line in search.process.stderr if "the store does not answer, trying again" in line)
    assert line.startswith(f"WARNING: {address}")
    door.open()
    code, told = search.end()
    assert code == 0, told
    assert decided(journal(tmp_path, "there")) == decided(journal(tmp_path, "here"))
    assert len(decoded(tmp_path / "node2")) == VIDEOS
    for cut in (first, third):
        tries = (tmp_path / "shared" / "there" / "trials" / cut / "attempts.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] > 0 for line in tries] == [False, True]
