"""The scores of a test, a line a video as they come, so that a test that was stopped goes on.

The first line says what was tested and how, and the number of videos; a file of another test is
refused. Then, a line a video: {"video", "label", "scores"} or {"video", "label", "failed"}.

Scores cost hours, so a file that lacks videos is never overwritten: it is gone on with, or deleted by
its owner. One with a line for every video is of a test that ended; to repeat that test replaces it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from expander.config.reading import is_there
from expander.data.annotations import Label
from expander.errors import DataError, UsageError
from expander.runs.chain import SealedLines, rows_of, sealed_lines, sealed_row
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
        self.lines = SealedLines(path, "scores of a video")
        self.known: dict[str, Scores] = {}
        kept: list[Mapping[str, Any]] = []
        if is_there(path) and path.stat().st_size:
            found, rows = self._read()
            other = [key for key in head if found.get(key) != head[key]]
            if resume:
                kept = self._kept(rows, other)
            else:
                self._check_ended(rows, found.get("videos"), other)
        # Written anew: without a line that a kill cut short, and without failures, which are tried again.
        write_atomic(path, sealed_lines([{**head, "videos": videos}, *kept]))

    def _read(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The first line, and the whole ones after it."""
        found, *rows = list(rows_of(self.lines)) or [{}]
        if not found or "video" in found:
            raise DataError(f"{self.path}: no scores of a test; {ELSEWHERE}")
        length = 0
        for number, row in enumerate(rows, 2):
            scores = row.get("scores")
            length = length or (len(scores) if isinstance(scores, list) else 0)
            if not isinstance(row.get("video"), str) or not ("failed" in row or _are(scores, length)):
                raise DataError(f"{self.path}:{number}: no scores of a video; {ELSEWHERE}")
        return found, rows

    def _kept(self, rows: list[dict[str, Any]], other: list[str]) -> list[Mapping[str, Any]]:
        """The lines to go on from."""
        if other:
            raise UsageError(f"{self.path}: scores of another test, it differs in {', '.join(other)}; "
                             f"{ELSEWHERE}")  # fmt: skip
        scored = [row for row in rows if "scores" in row]
        self.known = {row["video"]: np.array(row["scores"], np.float32) for row in scored}
        return [*scored]

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

    def add(self, video: str, label: Label, outcome: Scores | str) -> None:
        """The scores of a video, or why it has none."""
        row: dict[str, Any] = {"video": video, "label": label}
        if isinstance(outcome, str):
            row["failed"] = outcome
        else:  # nine digits bring a float32 back exactly
            row["scores"] = [float(f"{value:.9g}") for value in outcome.tolist()]
        self.lines.append(sealed_row(row))


def _are(scores: Any, length: int) -> bool:
    """Whether these are as many finite numbers as the other videos have."""
    return isinstance(scores, list) and len(scores) == length and all(
        isinstance(x, int | float) and math.isfinite(x) for x in scores
    )
