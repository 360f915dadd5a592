"""The scores of a test, a line at a time as they come, so that a test that was stopped goes on.

The first line says what was tested and how, and the number of videos or key frames; a file of another test
is refused. Then, a line a video: {"video", "label", "scores"} or {"video", "label", "failed"}; of detection a
line a batch: {"frames", "scores"} or {"frames", "failed"}, the numbers of its key frames and the scores of
their boxes and classes, big-endian doubles as hex.

Scores cost hours, so a file that lacks some is never overwritten: it is gone on with, or deleted by its
owner. One with a line for everything is of a test that ended; to repeat that test replaces it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from expander.config.reading import is_there
from expander.data.annotations import Label
from expander.errors import DataError, UsageError
from expander.metrics.boxes import Floats
from expander.runs.journal import write_atomic
from expander.runs.sealed_lines import SealedLines, rows_of, sealed_lines, sealed_row

Scores = npt.NDArray[np.float32]
Row = Mapping[str, Any]
ELSEWHERE = "delete it, or write to another file (--out, --dump-scores)"


class Lines:
    """The lines of a test, looked at and not written yet. head: what they belong to. resume: keep scores.

    counted: what there are `count` of. names: those of them that a line is of; none where it is no such line.
    The scores of a test that ended are replaced, as its result is. Raises UsageError for those of one that
    was stopped, and when resuming for another test's; DataError for a file of something else.
    """

    def __init__(
        self, path: Path, head: Row, counted: str, count: int, resume: bool,
        names: Callable[[Row], Sequence[str | int] | None],
    ) -> None:  # fmt: skip
        self.lines = SealedLines(path, "scores of a test")
        self.kept = _kept(self.lines, head, counted, resume, names)
        self.first = {**head, counted: count}

    def begin(self) -> None:
        """Writes what is kept, before anything is added: without a line that a kill cut short, and without
        failures, which are tried again. Raises EnvironmentFault when the disk refuses.
        """
        write_atomic(self.lines.path, sealed_lines([self.first, *self.kept]))


class ScoreFile(Lines):
    """Of videos, so many as `videos`. known: by video, from before. See Lines."""

    def __init__(self, path: Path, head: Row, videos: int, resume: bool) -> None:
        self.length = 0
        super().__init__(path, head, "videos", videos, resume, self._video)
        self.known = {row["video"]: np.array(row["scores"], np.float32) for row in self.kept}

    def _video(self, row: Row) -> list[str] | None:
        """The video of a row; none where it is no such row."""
        scores = row.get("scores")
        self.length = self.length or (len(scores) if isinstance(scores, list) else 0)
        fit = isinstance(row.get("video"), str) and ("failed" in row or _are(scores, self.length))
        return [row["video"]] if fit else None

    def add(self, video: str, label: Label, outcome: Scores | str) -> None:
        """The scores of a video, or why it has none."""
        row: dict[str, Any] = {"video": video, "label": label}
        if isinstance(outcome, str):
            row["failed"] = outcome
        else:  # nine digits bring a float32 back exactly
            row["scores"] = [float(f"{value:.9g}") for value in outcome.tolist()]
        self.lines.append(sealed_row(row))


class KeyFrameScores(Lines):
    """The same for detection: of key frames by number. boxes: how many each has; classes: scores of a box."""

    def __init__(self, path: Path, head: Row, boxes: Sequence[int], classes: int, resume: bool) -> None:
        super().__init__(path, head, "key_frames", len(boxes), resume, _frames)
        self.known = dict[int, Floats]()
        for row in self.kept:
            sizes = [boxes[number] for number in row["frames"]]
            scores = np.frombuffer(bytes.fromhex(row["scores"]), ">f8").astype(np.float64)
            parts = np.split(scores.reshape(sum(sizes), classes), np.cumsum(sizes)[:-1])
            self.known |= zip(row["frames"], parts, strict=True)

    def add(self, scores: Mapping[int, Floats], failed: str = "") -> None:
        """(n, classes) by number, of key frames that were scored together, or why some of them have none."""
        row: dict[str, Any] = {"frames": list(scores)}
        if failed:
            row["failed"] = failed
        else:
            row["scores"] = np.concatenate(list(scores.values())).astype(">f8").tobytes().hex()
        self.lines.append(sealed_row(row))


def _frames(row: Row) -> list[int] | None:
    """The numbers of key frames of a row; none where it is no such row."""
    found = row.get("frames")
    if not isinstance(found, list) or not all(type(number) is int for number in found):
        return None
    return found if "failed" in row or isinstance(row.get("scores"), str) else None


def _kept(
    lines: SealedLines, head: Row, counted: str, resume: bool,
    names: Callable[[Row], Sequence[str | int] | None],
) -> list[Row]:  # fmt: skip
    """The rows to go on from."""
    path, kept = lines.path, list[Row]()
    if is_there(path) and path.stat().st_size:
        found, *rows = list(rows_of(lines)) or [{}]
        if not found or names(found) is not None:
            raise DataError(f"{path}: no scores of a test; {ELSEWHERE}")
        if (task := _task(found, own := head.get("task"))) != own:
            raise UsageError(f"{path}: scores of a test of {task}, and this is one of {own}; {ELSEWHERE}")
        tried, scored = set[str | int](), set[str | int]()
        for number, row in enumerate(rows, 2):
            if (of_row := names(row)) is None:
                raise DataError(f"{path}:{number}: no scores of a test; {ELSEWHERE}")
            tried.update(of_row)
            if "scores" in row:
                scored.update(of_row)
                kept.append(row)
        other = [key for key in head if key != "task" and found.get(key) != head[key]]
        if resume and other:
            raise UsageError(f"{path}: scores of another test, it differs in {', '.join(other)}; {ELSEWHERE}")
        if not resume:
            of_all = found.get(counted)
            if scored and not (isinstance(of_all, int) and len(tried) >= of_all):
                raise UsageError(_stopped(path, len(scored), of_all, counted.replace("_", " "), other))
            return []
    return kept


def _task(found: Row, own: Any) -> Any:
    """Which one scores are of. Earlier versions named detection alone."""
    return found.get("task", "classification" if own == "detection" else own)


def _stopped(path: Path, scored: int, count: Any, what: str, other: list[str]) -> str:
    """Why the scores of a test that was stopped are not overwritten. other: how this test differs."""
    which = f"another test (it differs in {', '.join(other)})" if other else "this test"
    many = f"{scored} of {count}" if isinstance(count, int) else str(scored)
    remedy = "" if other else "--resume goes on; or begin anew: "
    return (f"{path}: has the scores of {many} {what} of {which}, which was stopped; "
            f"{remedy}{ELSEWHERE}")  # fmt: skip


def _are(scores: Any, length: int) -> bool:
    """Whether these are as many finite numbers as the other videos have."""
    return isinstance(scores, list) and len(scores) == length and all(
        isinstance(x, int | float) and math.isfinite(x) for x in scores
    )
