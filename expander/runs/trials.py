"""One training of a candidate: what it is called, what came of it.

Frozen, plain JSON in and out, as all that the journal keeps.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from expander.specs.spec import Spec


@dataclass(frozen=True, slots=True)
class Trial:
    """One training of a candidate with one seed. The id says what it is, so it is never repeated.

    until: it stops after so many optimiser steps of the schedule, a rung; none says all of them. parent: the
    trial whose weights it begins with; empty: from scratch.
    """

    id: str
    step: int
    axis: str
    spec: Spec
    seed: int
    until: int | None = None
    parent: str = ""

    @property
    def folder(self) -> str:
        """Its name below trials/: one for all rungs of a training, so that each finds the one before."""
        return self.id if self.until is None else self.id.removesuffix(_rung(self.until))


def trial_prefix(step: int, axis: str) -> str:
    """What the ids of a candidate's trials begin with."""
    return f"s{step:02d}-{axis}-"


def _rung(until: int) -> str:
    return f"-to{until:04d}"


def rung_of(trial: str) -> int | None:
    """The optimiser step at which the trial of this id ends; none of a whole one."""
    found = re.search(r"-to(\d+)$", trial)
    return int(found[1]) if found else None


def make_trial(step: int, axis: str, spec: Spec, seed: int, until: int | None = None) -> Trial:
    """A candidate's trial with one seed, whole or up to a rung: `s03-depth-seed000-1a2b3c4d-to0150`."""
    whole = f"{trial_prefix(step, axis)}seed{seed:03d}-{spec.id}"
    return Trial(whole if until is None else whole + _rung(until), step, axis, spec, seed, until)


@dataclass(frozen=True, slots=True)
class TrialResult:
    """correct: a bit for each validation video, in list order, as hex, or its credit (`runs.evidence`).

    accuracy, loss: over all of them; of videos with several labels accuracy is mAP.

    seconds: wall time of the trial. clips: trained in it; of a rung, those since the last rung.
    bad_videos: unreadable and replaced. gpus: that it held. attempts: 1, or more after a crash.

    data_wait: share of the time of its training that it waited for clips; none: it was not measured.
    """

    trial: str
    accuracy: float
    loss: float
    train_loss: float
    videos: int
    correct: str
    clips: int
    seconds: float
    bad_videos: int = 0
    gpus: float = 0.0
    attempts: int = 1
    data_wait: float | None = None


@dataclass(frozen=True, slots=True)
class TrialFailure:
    """A trial that gave no result: it diverged, or failed after its retries."""

    trial: str
    reason: str
    seconds: float = 0.0
    gpus: float = 0.0
