"""What was found out about video files, kept from run to run: one line a file, appended.

A file is known by its place, size and time; a changed file is another one.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict
from pathlib import Path

from expander.video.demux import Verdict

NAME = "verdicts-3.jsonl"
"""Of the file; its number grows when files are judged otherwise, so that no older judgement is believed."""
log = logging.getLogger(__name__)


def key_of(path: Path) -> str:
    """Of a video (file or folder of pictures) as it is now. Raises OSError."""
    stat = path.stat()
    name = f"{path.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}"
    return hashlib.sha256(name.encode()).hexdigest()[:32]


class Verdicts:
    """Verdicts by key, in memory and in `file`; several processes may append to it."""

    def __init__(self, file: Path | None) -> None:
        self.file = file
        self.known: dict[str, Verdict] = {}
        lines: list[str] = []
        if file is not None and file.is_file():
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        for line in lines:
            try:
                row = json.loads(line)
                self.known[row["key"]] = Verdict(row["route"], row["reason"])
            except (ValueError, KeyError, TypeError):
                continue  # a line cut by a kill: that file is looked at again

    def add(self, key: str, verdict: Verdict, keep: bool = True) -> None:
        """Remembers a verdict; without `keep`, or on a full or read-only disk, only for this process."""
        if self.known.get(key) == verdict:
            return
        self.known[key] = verdict
        if self.file is None or not keep:
            return
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("ab") as out:
                out.write((json.dumps({"key": key, **asdict(verdict)}) + "\n").encode())
        except OSError as error:
            log.warning("%s: verdicts are not kept: %s", self.file, error.strerror)
            self.file = None
