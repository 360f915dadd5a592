"""The scores of a test, a line a video as they come, so that a test that was stopped goes on.

The first line says what was tested and how, and the number of videos; a file of another test is
refused. Then, a line a video: {"video", "label", "scores"} or {"video", "label", "failed"}.

Scores cost hours, so a file that lacks videos is never overwritten: it is gone on with, or deleted by
its owner. One with a line for every video is of a test that ended; to repeat that test replaces it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from expander.errors import DataError, UsageError, disk_faults
from expander.runs.journal import write_atomic

Scores = npt.NDArray[np.float32]
ELSEWHERE = "delete it, or write to another file (--out, --dump-scores)"


class ScoreFile:
    """Appends to `path`. head: what the scores belong to. videos: how many there are. resume: keep scores.

    known: by video, from before. The scores of a test that ended are replaced, as its result is.
    Raises UsageError for those of one that was stopped, and when resuming for another test's;
    DataError for a file of something else; EnvironmentFault when the disk refuses.
    """

    def __init__(self, path: Path, head: Mapping[str, Any], videos: int, resume: bool) -> None:
        self.path = path
        self.known: dict[str, Scores] = {}
        kept: list[str] = []
        if path.exists() and path.stat().st_size:
            found, rows = self._read()
            other = [key for key in head if found.get(key) != head[key]]
            if resume:
                kept = self._kept(rows, other)
            else:
                self._check_ended(rows, found.get("videos"), other)
        # Written anew: without a line that a kill cut short, and without failures, which are tried again.
        first = json.dumps({**head, "videos": videos}, sort_keys=True)
        write_atomic(path, ("\n".join([first, *kept]) + "\n").encode())

    def _read(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The first line, and the whole ones after it."""
        try:
            first, *lines = self.path.read_text(encoding="utf-8").split("\n")[:-1]
            found, rows = json.loads(first), [json.loads(line) for line in lines]
        except (OSError, ValueError) as error:
            raise DataError(f"{self.path}: no scores of a test: {error}; {ELSEWHERE}") from None
        if not isinstance(found, dict):
            raise DataError(f"{self.path}: no scores of a test; {ELSEWHERE}")
        for number, row in enumerate(rows, 2):
            if not isinstance(row, dict) or "video" not in row or not {"scores", "failed"} & set(row):
                raise DataError(f"{self.path}:{number}: no scores of a video; {ELSEWHERE}")
        return found, rows

    def _kept(self, rows: list[dict[str, Any]], other: list[str]) -> list[str]:
        """The lines to go on from."""
        if other:
            raise UsageError(f"{self.path}: scores of another test, it differs in {', '.join(other)}; "
                             f"{ELSEWHERE}")  # fmt: skip
        scored = [row for row in rows if "scores" in row]
        self.known = {row["video"]: np.array(row["scores"], np.float32) for row in scored}
        return [json.dumps(row) for row in scored]

    def _check_ended(self, rows: list[dict[str, Any]], videos: Any, other: list[str]) -> None:
        """Raises UsageError for scores of a test that was stopped. videos: those of that test."""
        scored = len({row["video"] for row in rows if "scores" in row})
        ended = isinstance(videos, int) and len({row["video"] for row in rows}) >= videos
        if not scored or ended:
            return
        which = f"another test (it differs in {', '.join(other)})" if other else "this test"
        count = f"{scored} of {videos}" if isinstance(videos, int) else str(scored)
        remedy = "" if other else "--resume goes on; or begin anew: "
        raise UsageError(f"{self.path}: has the scores of {count} videos of {which}, which was stopped; "
                         f"{remedy}{ELSEWHERE}")  # fmt: skip

    def add(self, video: str, label: int, outcome: Scores | str) -> None:
        """The scores of a video, or why it has none."""
        row: dict[str, Any] = {"video": video, "label": label}
        if isinstance(outcome, str):
            row["failed"] = outcome
        else:  # nine digits bring a float32 back exactly
            row["scores"] = [float(f"{value:.9g}") for value in outcome.tolist()]
        with disk_faults(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
