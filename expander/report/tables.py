"""A run's journal as pandas tables. Reads a run that is finished, going on, or was killed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd

from expander.records import (
    Candidate,
    Contracted,
    Standing,
    StepChosen,
    StepPlanned,
)
from expander.store import Run


def steps(run: Run) -> pd.DataFrame:
    """One row a step: the trajectory.

    step; kind (base, expansion, contraction); axis; frames, stride, crop (of the clip); cost
    (multiply-adds); ratio (to the step before); params; activations; accuracy (proxy video_top1,
    0 to 1); runner_up (its axis); lead, low, high (score over the runner-up's, with its interval:
    accuracy per doubling of cost, or plain accuracy, as the run's selection.score says); tie.
    """
    return pd.DataFrame(list(_steps(run)), columns=STEP_COLUMNS)


STEP_COLUMNS = [
    "step", "kind", "axis", "frames", "stride", "crop", "cost", "ratio", "params", "activations",
    "accuracy", "runner_up", "lead", "low", "high", "tie",
]  # fmt: skip
CANDIDATE_COLUMNS = [
    "step", "kind", "axis", "spec", "cost", "ratio", "accuracy", "loss", "score", "behind",
    "low", "high", "tie", "chosen", "reason",
]  # fmt: skip


def _steps(run: Run) -> Iterator[dict[str, Any]]:
    kind = "base"
    for event in run.events():
        if isinstance(event, StepPlanned):
            kind = event.kind
        elif isinstance(event, StepChosen):
            yield {"step": event.step, "kind": kind, **_sizes(event.winner),
                   "accuracy": event.accuracy, **_lead(event.standings)}  # fmt: skip


def _sizes(candidate: Candidate) -> dict[str, Any]:
    spec, cost = candidate.spec, candidate.cost
    return {
        "axis": candidate.axis,
        "frames": spec.frames,
        "stride": spec.stride,
        "crop": spec.crop,
        "cost": cost.macs,
        "ratio": candidate.ratio,
        "params": cost.params,
        "activations": cost.activations,
    }


def _lead(standings: tuple[Standing, ...]) -> dict[str, Any]:
    second = standings[1] if len(standings) > 1 and not standings[1].failed else None
    if second is None:
        return {"runner_up": "", "lead": None, "low": None, "high": None, "tie": False}
    return {
        "runner_up": second.axis,
        "lead": second.behind,
        "low": second.low,
        "high": second.high,
        "tie": second.tied,
    }


def candidates(run: Run) -> pd.DataFrame:
    """One row a candidate of every decided step, and one an axis that was rejected.

    Columns as in `steps`, with: spec (as text), loss (validation), score, behind (the winner's
    score minus this one's) with its interval low to high, chosen, reason (of a rejection or
    failure).
    """
    return pd.DataFrame(list(_candidates(run)), columns=CANDIDATE_COLUMNS)


def _candidates(run: Run) -> Iterator[dict[str, Any]]:
    planned: StepPlanned | None = None
    for event in run.events():
        if isinstance(event, StepPlanned):
            planned = event
            for rejection in event.rejected:
                yield {"step": event.step, "kind": event.kind, "axis": rejection.axis,
                       "chosen": False, "reason": rejection.reason}  # fmt: skip
        elif isinstance(event, StepChosen) and planned is not None:
            by_axis = {candidate.axis: candidate for candidate in planned.candidates}
            for standing in event.standings:
                yield _candidate(event, planned.kind, by_axis[standing.axis], standing)


def _candidate(
    event: StepChosen, kind: str, candidate: Candidate, standing: Standing
) -> dict[str, Any]:
    known = not standing.failed
    return {
        "step": event.step,
        "kind": kind,
        "axis": candidate.axis,
        "spec": str(candidate.spec),
        "cost": candidate.cost.macs,
        "ratio": candidate.ratio,
        "accuracy": standing.accuracy if known else None,
        "loss": standing.loss if known else None,
        "score": standing.score if known else None,
        "behind": standing.behind if known else None,
        "low": standing.low if known else None,
        "high": standing.high if known else None,
        "tie": standing.tied,
        "chosen": candidate.axis == event.winner.axis,
        "reason": standing.failed,
    }


def contraction(run: Run) -> Contracted | None:
    """How the run met its target, if it had to come down to it."""
    found = [event for event in run.events() if isinstance(event, Contracted)]
    return found[-1] if found else None


def macs_text(macs: float) -> str:
    """Multiply-adds as people read them: 605.3 M, 1.963 G."""
    return f"{macs / 1e9:.3f} G" if macs >= 1e9 else f"{macs / 1e6:.4g} M"


def trajectory_text(run: Run) -> str:
    """The table of `steps` for a terminal: accuracies and leads in points, costs rounded."""
    table = steps(run)
    if table.empty:
        return "no step is decided yet"
    points = table[["lead", "low", "high"]].astype(float) * 100
    shown = pd.DataFrame(
        {
            "step": table["step"],
            "axis": [_axis_text(kind, axis) for kind, axis in zip(table["kind"], table["axis"], strict=True)],
            "clip": [f"{f}x{s}" for f, s in zip(table["frames"], table["stride"], strict=True)],
            "crop": table["crop"],
            "cost": table["cost"].map(macs_text),
            "ratio": table["ratio"].map("{:.2f}".format),
            "accuracy": (table["accuracy"] * 100).map("{:.1f}".format),
            "runner-up": table["runner_up"],
            "lead": [_lead_text(*row) for row in points.itertuples(index=False)],
        }
    )
    return shown.to_string(index=False)


def _axis_text(kind: str, axis: str) -> str:
    return f"contract {axis}" if kind == "contraction" else axis


def _lead_text(lead: float, low: float, high: float) -> str:
    if math.isnan(lead):
        return ""
    return f"{lead:+.1f} [{low:+.1f}, {high:+.1f}]" + (" tie" if low <= 0 <= high else "")
