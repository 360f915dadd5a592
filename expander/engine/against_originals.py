"""A test of prepared videos beside one of their originals: what the copies cost in accuracy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from expander.config.settings import DataConfig
from expander.data.prepared import manifest
from expander.data.sources import lists_folder
from expander.engine.test import Evaluation, Prepared, Progress, carry_out, prepare
from expander.errors import DataError, UsageError
from expander.evaluation.multiview import Outcome
from expander.evaluation.paired import accuracy_differences, precision_difference

SUFFIX = "-originals"
"""Behind the names of result and scores of the originals."""
SHARED = ("allow_outside", "decode_timeout", "store_gb")
"""Settings of the prepared videos that are those of the originals too, unless these have their own."""
Pairs = npt.NDArray[np.int64]
Shown = Callable[[Prepared], AbstractContextManager[Progress | None]]
"""What tells how far a test is, around it."""


@dataclass(frozen=True, slots=True)
class Tested:
    """A test that ended. found: its result, ready for JSON."""

    prepared: Prepared
    found: dict[str, Any]
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Originals:
    """The test of the originals. rows: which of its videos are whose; see `pairs`."""

    prepared: Prepared
    rows: Pairs


@dataclass(frozen=True, slots=True)
class Both:
    """A test, and that of the originals, if any."""

    order: Evaluation
    prepared: Prepared
    originals: Originals | None = None


def prepare_both(
    order: Evaluation, originals: Mapping[str, Any] | None, stack: ExitStack,
    progress: Progress | None = None, note: Callable[[str], None] = lambda _: None,
) -> Both:  # fmt: skip
    """The test and, if `originals` are given, settings of their data, the test of these.

    stack: keeps other tests from the scores until it is closed. Both are looked at before scores that are
    there are replaced. Raises as `engine.test.prepare` and `pairs`.
    """
    prepared = prepare(order, progress, note)
    stack.push(prepared.scores)
    if originals is None:
        prepared.scores.begin()
        return Both(order, prepared)
    other = prepare(of_originals(order, originals, prepared))
    stack.push(other.scores)
    found = Originals(other, pairs(prepared, other))
    for each in (other, prepared):
        each.scores.begin()
    return Both(order, prepared, found)


def carry_out_both(both: Both, shown: Shown = lambda _: nullcontext()) -> Iterator[Tested]:
    """The tests as they end: that of the originals, and last the other, whose result has the difference as
    `originals`. Raises as `engine.test.carry_out`.
    """
    if both.originals is None:
        yield _tested(both.order, both.prepared, shown)
        return
    theirs = _tested(both.order, both.originals.prepared, shown)
    yield theirs
    ours = _tested(both.order, both.prepared, shown)
    ours.found["originals"] = compared(both.originals.rows, ours, theirs, both.order.topk)
    yield ours


def _tested(order: Evaluation, prepared: Prepared, shown: Shown) -> Tested:
    with shown(prepared) as counter:
        return Tested(prepared, *carry_out(order, prepared, counter))


def of_originals(order: Evaluation, originals: Mapping[str, Any], prepared: Prepared) -> Evaluation:
    """The same test of the data that the settings `originals` name; its result lies beside the other."""
    out = prepared.out and prepared.out.with_stem(prepared.out.stem + SUFFIX)
    dump = order.dump and order.dump.with_stem(order.dump.stem + SUFFIX)
    shared = {name: getattr(prepared.config, name) for name in SHARED}
    return replace(order, data=shared | dict(originals), out=out, dump=dump)


def pairs(prepared: Prepared, originals: Prepared) -> Pairs:
    """(V, 2) numbers of a prepared video and of its original, for all that both tests have.

    Raises UsageError where no prepared videos are tested, DataError where these are not their originals.
    """
    sources = _sources(prepared.config)
    numbers = {name: number for number, name in enumerate(originals.data.names)}
    found = [(number, numbers[listed]) for number, name in enumerate(prepared.data.names)
             for listed in [n for n in sources.get(name, ()) if n in numbers][:1]]  # fmt: skip
    ours, theirs = prepared.data.videos.labels, originals.data.videos.labels
    if not found or any(ours[one] != theirs[other] for one, other in found):
        wrong = "have other labels than those" if found else "are none of those"
        place = lists_folder(prepared.config, "val")
        raise DataError(f"--originals: videos there {wrong} that {place} was prepared from")
    return np.array(found)


def compared(rows: Pairs, ours: Tested, theirs: Tested, topk: Sequence[int]) -> dict[str, Any]:
    """What a result says of the originals.

    videos: read in both tests. same: of them, those whose likeliest class is the same. difference: by metric,
    prepared less original, of these videos, with the paired 95 % interval; empty where there are none.
    """
    scores, others = ours.outcome.scores[rows[:, 0]], theirs.outcome.scores[rows[:, 1]]
    read = ~(np.isnan(scores) | np.isnan(others)).any(1)
    if not read.any():
        return {"videos": 0, "same": 0, "difference": {}}
    scores, others, kept = scores[read], others[read], rows[read, 0]
    videos = ours.prepared.data.videos
    if videos.multi_label:
        difference = precision_difference(scores, others, videos.truth(scores.shape[1])[kept])
    else:
        difference = accuracy_differences(scores, others, np.array(videos.labels)[kept], topk)
    same = int((scores.argmax(1) == others.argmax(1)).sum())
    return {"videos": len(kept), "same": same, "difference": difference}


def _sources(config: DataConfig) -> dict[str, tuple[str, ...]]:
    """What the originals of prepared videos may be listed as; raises UsageError."""
    folder = lists_folder(config, "val")
    if manifest.read_head(folder) is None:
        raise UsageError(f"--originals: goes with --data of prepared videos; {folder} has no {manifest.NAME}")
    rows = manifest.read(folder, ("path", "source", "split"))
    rows = rows[rows["split"] == "val"]
    # Where both splits have a root of their own, the split stands before the listed path.
    return {path: (source, source.removeprefix("val/")) for path, source
            in zip(rows["path"], rows["source"], strict=True)}  # fmt: skip
