"""Ctrl-C and SIGTERM while a store is away or silent: the command ends at once, and says how to go on."""

from __future__ import annotations

import signal
import socket
from contextlib import closing
from pathlib import Path

import pytest
from conftest import Run
from forking import Command
from ray_searches import LONG, searches
from saved_networks import saved
from store import BUCKET, KEYS, Door, serving, upload

SOON = 20.0
"""Seconds: far less than a store is waited for (300), or than a silent one is given to answer (60)."""
UNCACHED = "--set=data.cache_gb=0"
TRAIN = ["train", "x2d", "--recipe", "tiny", "--run", "r", UNCACHED]
AGAIN = "go on with: expander train --run r --resume"
COMMANDS = {
    "prepare": (["data", "prepare", "--out", "out"], "the same command goes on"),
    "check": (["data", "check"], ""),
    "test": (["test", "net.yaml", "net.safetensors", "--out", "r.json"],
             "stopped; the same command with --resume goes on"),
    "train": (TRAIN, AGAIN),
    "train with loaders": ([*TRAIN, "--set=data.workers=2"], AGAIN),
}  # fmt: skip


def called(name: str, videos: Path, folder: Path, port: int) -> Command:
    """A command on lists of this machine, of videos in a store."""
    classes = (videos / "classes.txt").read_text().splitlines()
    saved(folder, tuple(classes))
    lists = ["--train-ann", str(videos / "train.txt"), "--val-ann", str(videos / "val.txt"),
             "--data-root", "s3://bucket/videos"]  # fmt: skip
    more = {**KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
    return Command([*COMMANDS[name][0], *lists], folder, more=more)


def ended(command: Command) -> None:
    try:
        command.wait(SOON)
    finally:
        command.kill()


def stopped(command: Command, name: str, number: int, code: int) -> None:
    command.send_signal(number)
    ended(command)
    _, told = command.communicate()
    assert command.returncode == code, told
    assert told.strip().endswith(COMMANDS[name][1])
    for word in ("Traceback", "error", "the store does not answer"):
        assert word not in told


@pytest.mark.parametrize("name", COMMANDS)
def test_a_stop_while_the_store_is_away_ends_the_command(videos: Path, tmp_path: Path, name: str) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen: calls are refused
        with called(name, videos, tmp_path, nobody.getsockname()[1]) as command:
            assert any("the store does not answer" in line for line in command.stderr)
            stopped(command, name, signal.SIGINT, 130)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_stop_while_the_store_is_silent_ends_the_command(videos: Path, tmp_path: Path, name: str) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        silent.settimeout(60)
        port = silent.getsockname()[1]
        with called(name, videos, tmp_path, port) as command, silent.accept()[0]:
            stopped(command, name, signal.SIGTERM, 143)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["inline", "processes"])
def test_a_search_stops_while_the_store_is_away_and_goes_on(
    expander: Run, brief: list[str], videos: Path, tmp_path: Path, backend: str
) -> None:
    with serving(tmp_path / "log") as server, closing(Door(server)) as door, searches(tmp_path) as start:
        address = upload(server, videos, f"stops-{backend}")
        options = [*brief[: brief.index("--train-ann")], *brief[brief.index("--max-steps") :], *LONG,
                   "--backend", backend, UNCACHED, "--data", address, "--run", "r",
                   "--storage-path", f"s3://{BUCKET}/runs-{backend}"]  # fmt: skip
        search = start(options, door.variables)
        search.in_trial()
        door.shut()
        assert any("the store does not answer" in line for line in search.process.stderr)
        search.process.send_signal(signal.SIGINT)
        ended(search.process)
        code, told = search.end()
        assert code == 130
        assert told.strip().endswith("go on with: expander search --run r --resume")
        if backend == "inline":  # as any search that was stopped
            door.open()
            done = expander("search", "--run", "r", "--resume", **door.variables)
            assert done.returncode == 0, done.stderr
