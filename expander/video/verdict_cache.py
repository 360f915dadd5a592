"""What was found out about video files, kept from run to run: one line a file, appended.

A file is known by its place, which costs no reading, or else by its content: one that was moved, copied or
touched is the same file, and one that was replaced is another, whatever its size and time say.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from dataclasses import asdict
from pathlib import Path
from typing import get_args

from expander.config.reading import parse_json, read_bytes
from expander.video.pictures import stamp
from expander.video.probe import Route, Verdict

VERSION = 6
"""Of the rules by which a file is trusted: what earlier ones said or gave is not used."""
NAME = f"verdicts-{VERSION}.jsonl"
"""Of the file; its number grows when files are judged otherwise, so that no older judgement is believed."""
ROUTES = get_args(Route)
log = logging.getLogger(__name__)


def key_of(path: Path) -> str:
    """Of the place of a video (file or folder of pictures) as it is now. Raises OSError."""
    # Tools that copy set the time of a file back, but nobody sets when anything of it was changed (ctime).
    now = stamp(path)
    name = "\0".join(map(str, (path.resolve(), now.size, now.changed, now.touched, now.inode)))
    return hashlib.sha256(name.encode()).hexdigest()[:32]


class Verdicts:
    """Verdicts by key, in memory and in `file`; several processes may append to it.

    contents: SHA-256 of the file at each key, where it is known. judged: verdicts by that.
    """

    def __init__(self, file: Path | None) -> None:
        self.file = file
        self.known: dict[str, Verdict] = {}
        self.contents: dict[str, str] = {}
        self.judged: dict[str, Verdict] = {}
        lines: list[str] = []
        try:
            if file is not None and os.path.lexists(file):
                lines = read_bytes(file).decode("utf-8", "replace").splitlines()
        except OSError as error:
            log.warning("%s: verdicts cannot be read and are not kept: %s", file, error.strerror)
            self.file = None
        for line in lines:
            try:
                row = parse_json(line)
                if row["route"] in ROUTES and isinstance(row["reason"], str):
                    self._take(row["key"], Verdict(row["route"], row["reason"]), row.get("content", ""))
            except (ValueError, KeyError, TypeError, AttributeError):
                continue  # a line cut by a kill, or foreign: that file is looked at again

    def _take(self, key: str, verdict: Verdict, content: str) -> None:
        if content:
            self.judged[content], self.contents[key] = verdict, content
        self.known[key] = verdict

    def recognise(self, key: str, content: str) -> None:
        """Tells what lies at an unknown place; it has the verdict of the same content elsewhere."""
        if content:
            self.contents[key] = content
        if content in self.judged:
            self.add(key, self.judged[content])

    def add(self, key: str, verdict: Verdict, keep: bool = True) -> None:
        """Remembers a verdict; without `keep`, only for this process and this place.

        On a full or read-only disk, only for this process.
        """
        if self.known.get(key) == verdict:
            return
        if not keep:
            self.known[key] = verdict
            return
        content = self.contents.get(key, "")
        self._take(key, verdict, content)
        if self.file is None:
            return
        row = {"key": key, **asdict(verdict)} | ({"content": content} if content else {})
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("ab") as out:
                out.write((json.dumps(row) + "\n").encode())
        except OSError as error:
            log.warning("%s: verdicts are not kept: %s", self.file, error.strerror)
            self.file = None
