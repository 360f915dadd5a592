"""Searches under Ray, alone or on a cluster of simulated nodes, that tests look into and disturb."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from forking import Command

from expander.backends.processes import Process, descendants

LIMIT = 500  # seconds that nothing here takes even on a busy machine
LONG = ["--set", "proxy.steps=100", "--set", "backend.checkpoint_seconds=0"]
HERE = Path(__file__).parent


def journal(tmp_path: Path, run: str) -> Path:
    return tmp_path / "runs" / run / "journal.jsonl"


def events(file: Path) -> list[dict[str, dict[str, object]]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def until(found: object, process: Command) -> bool:
    """Whether the process still runs, so that the caller looks again: not too often."""
    time.sleep(0.05)
    assert process.poll() is None or found, process.communicate()
    return not found


def runs(pid: int) -> bool:
    """Whether a process lives; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Search:
    """A search under Ray as a process of its own."""

    def __init__(self, options: list[str], cwd: Path, more: dict[str, str]) -> None:
        self.cwd, self.name = cwd, options[options.index("--run") + 1]
        self.below: tuple[Process, ...] = ()
        self.process = Command(options, cwd, more=more)

    def in_trial(
        self, done: frozenset[str] = frozenset(), of: str | None = None, beyond: int = 0
    ) -> dict[str, object]:
        """The attempt of a trial not in `done`, or of one trial, that has written a checkpoint beyond a step
        and is under way. reached: the step of its newest checkpoint.
        """
        trials = self.cwd / "runs" / self.name / "trials"
        found: list[dict[str, object]] = []
        while until(found, self.process):
            for manifest in trials.glob("*/checkpoints/step-*.json"):
                rows = (manifest.parent.parent / "attempts.jsonl").read_text().splitlines()
                last = {**json.loads(rows[-1]), "reached": int(manifest.stem.removeprefix("step-"))}
                wanted = last["trial"] not in done and of in (None, last["trial"])
                if wanted and last["reached"] > beyond and runs(last["pid"]):
                    found.append(last)
        self.below = descendants(self.process.pid)
        return found[0]

    def end(self, limit: float = LIMIT) -> tuple[int, str]:
        """Exit code and stderr; nothing that it started is left."""
        _, told = self.process.communicate(timeout=limit)
        deadline = time.monotonic() + 30
        while (left := [p for p in self.below if p.alive]) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not left, left
        assert "Traceback" not in told, told
        return self.process.returncode, told


Start = Callable[..., Search]


@contextmanager
def searches(folder: Path) -> Iterator[Start]:
    """Starts searches in a folder; those that a failed test leaves are killed."""
    begun: list[Search] = []

    def search(options: list[str], more: dict[str, str] | None = None) -> Search:
        begun.append(Search(options, folder, more or {}))
        return begun[-1]

    try:
        yield search
    finally:
        for one in begun:
            one.process.kill()
            one.process.communicate()


class Cluster:
    """A real cluster on this machine: a head without CPUs and nodes of one CPU, each with its own raylet."""

    def __init__(self, env: dict[str, str], folder: Path, blind: tuple[str, ...] = ()) -> None:
        self.more = {"RAY_ENABLE_AUTOSCALER_V2": "0", "RAY_AUTH_MODE": "disabled"}
        self.script = subprocess.Popen(
            [*blind, sys.executable, str(HERE / "cluster.py")], cwd=folder, env={**env, **self.more},
            text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self.address = self.told()

    def told(self) -> str:
        """The next line that the script says."""
        assert self.script.stdout is not None
        return self.script.stdout.readline().strip()

    def kill_node(self, of_pid: int) -> None:
        """Ends the node on which a worker runs, as a power cut would."""
        assert self.asked(str(of_pid)) == "killed"

    def add_node(self) -> None:
        """One more node, as one that comes back has: with an empty cache."""
        assert self.asked("add") == "added"

    def asked(self, line: str) -> str:
        """What the script says to a line."""
        assert self.script.stdin is not None
        self.script.stdin.write(f"{line}\n")
        self.script.stdin.flush()
        return self.told()


def _hiding(folder: Path) -> tuple[str, ...]:
    """What a command begins with that must not see a folder; nothing where that cannot be done."""
    folder.mkdir(exist_ok=True)
    command = ("unshare", "-rm", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(folder))
    with suppress(OSError):
        if subprocess.run([*command, "true"], check=False, capture_output=True).returncode == 0:
            return command
    return ()


@contextmanager
def clustered(env: dict[str, str], folder: Path, hidden: Path | None = None) -> Iterator[Cluster]:
    """A cluster while it is needed. env: of its nodes. hidden: a folder that they find empty, if the system
    lets us hide one.
    """
    made = Cluster(env, folder, _hiding(hidden) if hidden else ())
    try:
        yield made
    finally:
        made.script.communicate("\n", timeout=LIMIT)
