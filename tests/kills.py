"""Kills a command at random moments and starts it again, until it has come to its end."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from forking import Command

SOON = 10.0
LONGEST = 600.0


class Process(Protocol):
    """As of subprocess; it leads a session of its own."""

    pid: int

    def __enter__(self) -> Process: ...

    def __exit__(self, *error: object) -> None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def kill(self) -> None: ...


@dataclass
class Told:
    """finished: the names of what came to its end after kills. orphans: what outlived a killed command."""

    kills: int = 0
    finished: list[str] = field(default_factory=list)
    orphans: set[str] = field(default_factory=set)


def kill_after(command: list[str], lines: int, cwd: Path) -> None:
    """SIGKILL to a search when it has told of `lines` finished trials."""
    process = Command(command, cwd)
    seen = 0
    for line in process.stderr:
        seen += line.startswith("step ")
        if seen == lines:
            break
    process.send_signal(signal.SIGKILL)
    process.stderr.close()
    assert process.wait(60) == -signal.SIGKILL


def killed(start: Callable[[str], Process], kills: int, seed: int) -> Told:
    """Runs `whole` undisturbed, then cut0, cut1, … until so many kills have come, and the last one ends.

    start(name): the command that begins the work of that name, or goes on with it.
    """
    begun = time.monotonic()
    with start("whole") as process:
        assert process.wait(LONGEST) == 0
    length = time.monotonic() - begun
    rng, told, number, fresh = random.Random(seed), Told(), 0, True
    while told.kills < kills or not told.finished or told.finished[-1] != f"cut{number}":
        begun = time.monotonic()
        with start(f"cut{number}") as process:
            late = told.kills < kills and not _ends(process, rng.uniform(0, 1.2 * length))
            if late:
                process.kill()
            status = process.wait(LONGEST)
        if late:
            told.kills, fresh = told.kills + 1, False
            told.orphans |= left_of(process.pid)
            continue
        assert status == 0, f"after {told.kills} kills"
        told.finished.append(f"cut{number}")
        if fresh:  # the machine has become quieter
            length = min(length, time.monotonic() - begun)
        number, fresh = number + (told.kills < kills), True
    return told


def _ends(process: Process, seconds: float) -> bool:
    """Whether it ends by itself within so many seconds."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
        return True
    return False


def left_of(leader: int) -> set[str]:
    """What still runs, after a moment, of the session of a process that is dead."""
    deadline = time.monotonic() + SOON
    while (left := _of_session(leader)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return left


def _of_session(leader: int) -> set[str]:
    left = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "stat").read_text()
            except OSError:
                continue
            state, _, _, session = text[text.rindex(")") + 2 :].split()[:4]
            if int(session) == leader and state != "Z":
                left.add(text[: text.rindex(")") + 1])
    return left
