"""Runs the command in processes forked from one that has imported what it needs, and used none of it.

Each is a process of its own, as a user starts it, less the seconds of its imports.
"""

from __future__ import annotations

import atexit
import functools
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from multiprocessing.connection import Connection
from multiprocessing.forkserver import ensure_running
from pathlib import Path

import pytest

IMPORTED = [
    "torch._dynamo", "pandas", "pydantic", "jinja2", "matplotlib.figure", "matplotlib.backends.backend_agg",
    "expander.cli.main", "expander.cli.report", "expander.backends.inline", "expander.report.figures",
    "expander.training.timing.step_time", "expander.training.trainer", "expander.weights.detect",
    "expander.evaluation.multiview", "expander.engine.search", "filled_tables",
]  # fmt: skip
START = multiprocessing.get_context("forkserver")
START.set_forkserver_preload(IMPORTED)
LONGEST = 600.0


class Command:
    """`expander ARGUMENTS` in a folder, with the variables of the first that is started here and more.

    more: variables of what is not imported yet, as Ray. A session of its own; what it says to stderr is read
    line by line, its stdout goes to a file or nowhere.
    The methods are those of subprocess.Popen.
    """

    def __init__(
        self, arguments: list[str], folder: Path, out: str = os.devnull, more: dict[str, str] | None = None
    ) -> None:
        _serve()
        ours, theirs = START.Pipe(duplex=False)
        self.process = START.Process(target=_main, args=(arguments, str(folder), out, theirs, more or {}))
        self.process.start()
        theirs.close()
        self.arguments = arguments
        self.stderr = os.fdopen(os.dup(ours.fileno()))
        ours.close()
        self.pid = self.process.pid or 0

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *_: object) -> None:
        self.stderr.close()
        self.wait(LONGEST)

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        self.process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.arguments, timeout or 0)
        return self.returncode

    def communicate(self, timeout: float = LONGEST) -> tuple[None, str]:
        told = "" if self.stderr.closed else self.stderr.read()
        self.stderr.close()
        self.wait(timeout)
        return None, told

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        if self.returncode is None:
            self.send_signal(signal.SIGKILL)


def run(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """What a command prints and returns."""
    with tempfile.TemporaryDirectory() as place:
        out = Path(place, "out")
        with Command(arguments, folder, str(out)) as command:
            _, told = command.communicate()
        return subprocess.CompletedProcess(arguments, command.wait(), out.read_text(), told)


@functools.cache
def _serve() -> None:
    """Starts the process that all are forked from; it finds what lies beside this file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        ensure_running()


def _main(arguments: list[str], folder: str, out: str, err: Connection, more: dict[str, str]) -> None:
    os.setsid()
    gc.freeze()  # collections leave alone, and with the process they came from, what the imports made
    os.environ |= more
    os.chdir(folder)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(os.open(out, os.O_WRONLY | os.O_CREAT), 1)
    os.dup2(err.fileno(), 2)
    err.close()
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115
    sys.argv = ["expander", *arguments]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background of a shell ignore it
    from expander.cli.main import main

    try:
        main()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
