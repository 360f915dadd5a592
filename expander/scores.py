"""The scores of a test, a line a video as they come, so that a test that was stopped goes on.

The first line says what was tested and how; a file of another test is refused. Then, a line a video:
{"video", "label", "scores"} or {"video", "label", "failed"}.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from expander.errors import DataError, EnvironmentFault, UsageError
from expander.store import write_atomic

Scores = npt.NDArray[np.float32]


class ScoreFile:
    """Appends to `path`. head: what the scores belong to. resume: keep those that are there.

    known: by video, from before. Raises DataError or UsageError for a file that cannot be gone on with,
    EnvironmentFault when the disk refuses.
    """

    def __init__(self, path: Path, head: Mapping[str, Any], resume: bool) -> None:
        self.path = path
        self.known: dict[str, Scores] = {}
        kept = [json.dumps(head, sort_keys=True)]
        if resume and path.exists():
            kept += self._read(head)
        # Written anew: without a line that a kill cut short, and without failures, which are tried again.
        write_atomic(path, ("\n".join(kept) + "\n").encode())

    def _read(self, head: Mapping[str, Any]) -> list[str]:
        try:
            first, *lines = self.path.read_text(encoding="utf-8").split("\n")[:-1]
            found = json.loads(first)
            rows = [json.loads(line) for line in lines]
        except (OSError, ValueError) as error:
            raise DataError(f"{self.path}: no scores of a test: {error}; start without --resume") from None
        for number, row in enumerate(rows, 2):
            if not isinstance(row, dict) or "video" not in row or not {"scores", "failed"} & set(row):
                raise DataError(f"{self.path}:{number}: no scores of a video; start without --resume")
        other = [key for key in head if not isinstance(found, dict) or found.get(key) != head[key]]
        if other:
            raise UsageError(f"{self.path}: scores of another test, it differs in {', '.join(other)}; "
                             "start without --resume, or write to another file")  # fmt: skip
        self.known = {row["video"]: np.array(row["scores"], np.float32) for row in rows if "scores" in row}
        return [line for line, row in zip(lines, rows, strict=True) if "scores" in row]

    def add(self, video: str, label: int, outcome: Scores | str) -> None:
        """The scores of a video, or why it has none."""
        row: dict[str, Any] = {"video": video, "label": label}
        if isinstance(outcome, str):
            row["failed"] = outcome
        else:  # nine digits bring a float32 back exactly
            row["scores"] = [float(f"{value:.9g}") for value in outcome.tolist()]
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise EnvironmentFault(f"{self.path}: cannot be written: {error.strerror}") from None
