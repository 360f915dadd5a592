"""Warnings of trials in Ray workers, told where the search was called: Ray keeps to itself what workers say.

They pass through a file in the folder of each trial, which all nodes share.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from expander.errors import disk_faults

log = logging.getLogger(__name__)
FILE = "warnings.log"


@contextmanager
def written(folder: Path) -> Iterator[None]:
    """What this process warns of goes into a file of a trial's folder, with the node."""
    with disk_faults(folder, "made"):
        folder.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(folder / FILE, delay=True)
    node = os.uname().nodename.replace("%", "%%")
    handler.setFormatter(logging.Formatter(f"%(message)s ({folder.name}, on node {node})"))
    handler.setLevel(logging.WARNING)
    logger = logging.getLogger("expander")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()


class Warnings:
    """Of all trials of a run, those that were written since this was made."""

    def __init__(self, trials: Path) -> None:
        self.trials, self.places = trials, dict[Path, int]()
        self.new()

    def tell(self) -> None:
        """Warns of what is new."""
        for line in self.new():
            log.warning("%s", line)

    def new(self) -> list[str]:
        """Those that no earlier call gave; a line that is still being written comes later."""
        lines = []
        for file in sorted(self.trials.glob(f"*/{FILE}")):
            with suppress(OSError), file.open("rb") as opened:
                opened.seek(self.places.get(file, 0))
                whole = opened.read().rpartition(b"\n")[0]
                if whole:
                    self.places[file] = self.places.get(file, 0) + len(whole) + 1
                    lines += whole.decode(errors="replace").split("\n")
        return lines
