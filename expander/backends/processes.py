"""Processes of this machine: which are whose, what becomes of them, and their end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence

from expander.runs.machine import PERIOD, Process, running

MISSES = 10
"""Looks in a row without an answer after which an address counts as gone."""


def descendants(pid: int) -> tuple[Process, ...]:
    """All running processes below `pid`, parents before children."""
    every = running().values()
    found: list[Process] = []
    above = {pid}
    while above:
        children = [process for process in every if process.parent in above]
        found += children
        above = {process.pid for process in children}
    return tuple(found)


def kill(processes: Sequence[Process]) -> None:
    """Ends those that still run, and waits until they have."""
    for process in processes:
        if process.alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process.pid, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while any(process.alive for process in processes) and time.monotonic() < deadline:
        time.sleep(PERIOD / 20)


class Watch:
    """Looks after processes below this one, and an address; calls `lost` once with what is gone.

    names: of the processes below that must live. address: host:port that must answer. `below`: those
    processes and all below them at the last look, so that nothing of them need survive.
    """

    def __init__(self, names: Iterable[str], address: str, lost: Callable[[str], None]) -> None:
        self.address, self.lost, self.misses = address, lost, 0
        wanted = set(names)
        self.needed = [process for process in descendants(os.getpid()) if process.name in wanted]
        self.below: tuple[Process, ...] = ()
        self.below = self._below()
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._look, name="watch", daemon=True)
        self.thread.start()

    def close(self) -> None:
        """Looks no more."""
        self.done.set()
        if threading.current_thread() is not self.thread:
            self.thread.join(10 * PERIOD)

    def _look(self) -> None:
        while not self.done.wait(PERIOD):
            gone = next((process.name for process in self.needed if not process.alive), None)
            self.misses = 0 if self._answers() else self.misses + 1
            if gone is None and self.misses >= MISSES:
                gone = self.address
            if gone is not None and not self.done.is_set():
                self.lost(gone)
                return
            self.below = self._below()

    def _below(self) -> tuple[Process, ...]:
        """What was there and still runs, and what is there now: children of the dead have no parent."""
        now = {p for needed in self.needed for p in (needed, *descendants(needed.pid))}
        return tuple(now | {process for process in self.below if process.alive})

    def _answers(self) -> bool:
        host, _, port = self.address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), PERIOD).close()
        except OSError:
            return False
        return True
