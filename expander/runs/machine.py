"""What this machine is and what runs on it, on Linux by /proc, elsewhere by `ps`."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from expander.errors import EnvironmentFault

PROC = Path("/proc")
PERIOD = 1.0
"""Seconds between two looks at another process."""
COLUMNS = ("pid", "ppid", "stat", "lstart", "comm")
"""What `ps` is asked for; lstart is five words, comm may have blanks."""


@dataclass(frozen=True, slots=True)
class Process:
    """started: ticks since boot or a date, so that a number that is used again is told apart."""

    pid: int
    parent: int
    name: str
    started: str

    @property
    def alive(self) -> bool:
        """Whether this very process still runs."""
        now = running(self.pid).get(self.pid)
        return now is not None and now.started == self.started


def cores() -> int:
    """CPUs this process may use; all there are where the system does not say (macOS)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cache_folder() -> Path:
    """$XDG_CACHE_HOME/expander, by default ~/.cache/expander."""
    root = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(root) if root else Path.home() / ".cache") / "expander"
    except RuntimeError:
        raise EnvironmentFault("no home folder: set XDG_CACHE_HOME to a writable folder") from None


def alive(pid: int) -> bool:
    """Whether a process of this number is there, whoever's it is."""
    if pid <= 0:  # groups of processes
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


def end_with_parent() -> None:
    """Ends this process soon after its parent has died in whatever way. Called twice, it acts once."""
    name = "end-with-parent"
    if any(thread.name == name for thread in threading.enumerate()):
        return
    started_by, parent = multiprocessing.parent_process(), os.getppid()

    def follow() -> None:
        if started_by is not None:  # knows of a death before this call too
            started_by.join()
        while started_by is None and os.getppid() == parent:
            time.sleep(PERIOD)
        os._exit(1)

    threading.Thread(target=follow, name=name, daemon=True).start()


def begin_worker() -> None:
    """In a process of a pool: it ends with the one that started it, which alone hears of Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def running(pid: int | None = None) -> dict[int, Process]:
    """All running processes, or the one of a number; not those that have ended, their parent told or not."""
    if not (PROC / "self").exists():
        return _by_ps(("-A",) if pid is None else ("-p", str(pid)))
    pids = [pid] if pid is not None else [int(entry) for entry in os.listdir(PROC) if entry.isdigit()]
    return {number: process for number in pids if (process := _by_proc(number)) is not None}


def _by_proc(pid: int) -> Process | None:
    try:
        text = (PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    name = text[text.index("(") + 1 : text.rindex(")")]
    state, parent, *rest = text[text.rindex(")") + 2 :].split()
    return None if state in "ZX" else Process(pid, int(parent), name, rest[17])


def _by_ps(which: tuple[str, ...]) -> dict[int, Process]:
    columns = [word for name in COLUMNS for word in ("-o", f"{name}=")]  # without a heading
    listed = subprocess.run(
        ["ps", *which, *columns], env={**os.environ, "LC_ALL": "C"}, capture_output=True, text=True,
        errors="replace", check=False, stdin=subprocess.DEVNULL,
    ).stdout  # fmt: skip
    found = {}
    for line in listed.splitlines():
        pid, parent, state, *started, path = line.split(maxsplit=8)
        if state[0] != "Z":
            found[int(pid)] = Process(int(pid), int(parent), os.path.basename(path), " ".join(started))
    return found
