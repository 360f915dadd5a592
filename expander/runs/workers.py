"""Processes that start clean: spawned or from a fork server, without the caller's script.

A fork of a process with decoder, torch or CUDA threads can hang. Processes that are not forked run the script
of their parent once more, to have what is defined there; one without `if __name__ == "__main__":` would begin
all its work anew. What is sent to those here is defined in modules, so they leave the script alone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext, ForkServerProcess, SpawnContext, SpawnProcess
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import Any

from expander.runs.machine import begin_worker


@contextmanager
def without_script() -> Iterator[None]:
    """What is started in it knows of no script."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


class _Spawned(SpawnProcess):
    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:  # noqa: N802 multiprocessing calls it so
        with without_script():
            return SpawnProcess._Popen(process_obj)


class _Served(ForkServerProcess):
    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:  # noqa: N802 multiprocessing calls it so
        with without_script():
            return ForkServerProcess._Popen(process_obj)


class _SpawnContext(SpawnContext):
    Process = _Spawned


class _ServerContext(ForkServerContext):
    Process = _Served


SERVER = _ServerContext()
"""Of processes that are forked from the fork server."""


def worker_pool(count: int) -> ProcessPoolExecutor:
    """So many spawned processes, which end with this one and leave Ctrl-C to it.

    What they are sent must be defined in a module, not in the script that was started.
    """
    return ProcessPoolExecutor(count, _SpawnContext(), begin_worker)
