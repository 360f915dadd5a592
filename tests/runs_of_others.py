"""Another process that has claimed a run folder, for the tests of who owns it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLAIM = """
import sys
from pathlib import Path
from expander.runs.events import RunFinished
from expander.runs.journal import Run
from expander.runs.ownership import claimed
folder = Path(sys.argv[1])
with claimed(folder):
    print("planning", flush=True)
    if sys.stdin.readline() == "begin\\n":
        Run(folder).append(RunFinished(0, "limit", "first"))
        print("begun", flush=True)
        sys.stdin.readline()
"""


@contextmanager
def planning(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has claimed a folder and plans, until it is told to begin, or its input ends."""
    command = [sys.executable, "-c", CLAIM, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "planning\n"
        yield process
