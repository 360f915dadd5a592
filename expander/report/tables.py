"""Runs as typed pandas tables. Reads runs that are finished, going on, or were killed.

Every function takes any number of runs (or their `history`, read once) and gives one table with a
`run` column. The columns, their types and units are those of `report.schema`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain

import pandas as pd

from expander.report import schema
from expander.report.reader import Ended, History, Step, history, trial_name
from expander.report.results import baselines, tests, trainings
from expander.report.schema import Row, spec_row
from expander.runs.events import CUT, UNCUT, Candidate, CandidateResult, StepChosen
from expander.runs.evidence import holds_credits
from expander.runs.journal import Run
from expander.runs.names import TrialName
from expander.runs.trials import TrialFailure, TrialResult
from expander.search.selection import by_videos
from expander.specs.spec import AXES

__all__ = ["baselines", "decisions", "frontier", "steps", "tests", "trainings", "trials"]


def steps(*runs: Run | History) -> pd.DataFrame:
    """One row a decided step: the trajectory. Columns: `schema.STEPS`."""
    rows = _rows(runs, lambda step: [_step(step, step.chosen)] if step.chosen else [])
    return schema.frame(rows, schema.STEPS)


def trials(*runs: Run | History) -> pd.DataFrame:
    """One row a training, those still to run too. Columns: `schema.TRIALS`."""
    return schema.frame(_rows(runs, _trials), schema.TRIALS)


def decisions(*runs: Run | History) -> pd.DataFrame:
    """One row a candidate of every step, with the evidence. Columns: `schema.DECISIONS`.

    Candidates of an undecided step come with what is known of them; rejected axes with their reason.
    """
    return schema.frame(_rows(runs, _decision), schema.DECISIONS)


def _rows(runs: Sequence[Run | History], of_step: Callable[[Step], Iterable[Row]]) -> Iterator[Row]:
    """The rows of every step of every run, with the run's name."""
    for past in map(history, runs):
        name = past.name
        for step in past.steps:
            yield from ({"run": name, "measure": past.measure, **row} for row in of_step(step))


def frontier(*runs: Run | History) -> pd.DataFrame:
    """Of each run, what no other candidate of it beats in cost and accuracy. Columns: `schema.FRONTIER`."""
    known = decisions(*runs).dropna(subset=["accuracy"])
    parts = [_undominated(group) for _, group in known.groupby("run", sort=False)]
    if not parts:
        return schema.frame([], schema.FRONTIER)
    kept = pd.concat(parts)
    best = pd.concat([_undominated(group) for _, group in kept.groupby("measure")])
    kept = kept.assign(best=kept.index.isin(best.index))
    return kept[[column.name for column in schema.FRONTIER]].reset_index(drop=True)


def _undominated(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that are more accurate than every row that is as cheap or cheaper; the cheapest first."""
    ordered = table.sort_values(["cost", "accuracy"], ascending=[True, False], kind="stable")
    before = ordered["accuracy"].cummax().shift(fill_value=-math.inf)
    return ordered[ordered["accuracy"] > before]


def _step(step: Step, chosen: StepChosen) -> Row:
    spec, axis = chosen.winner.spec, chosen.winner.axis
    results = [o for o in step.outcomes(axis) if isinstance(o, TrialResult)]
    low, high = accuracy_ends(chosen, results)
    return {
        "step": chosen.step,
        "kind": step.plan.kind,
        **_candidate(chosen.winner),
        **{name: getattr(spec, name) for name in ("frames", "stride", "crop", *AXES)},
        **{name: "/".join(map(str, getattr(spec, name))) for name in ("widths", "inner_widths", "depths")},
        "seeds": len(results),
        "accuracy": chosen.accuracy,
        "accuracy_low": low,
        "accuracy_high": high,
        **_lead(chosen.standings),
        "seconds": step.seconds(axis),
    }


def _candidate(candidate: Candidate) -> Row:
    row = spec_row(candidate.spec, candidate.cost)
    return {"axis": candidate.axis, **row, "ratio": candidate.ratio}


def _lead(standings: tuple[CandidateResult, ...]) -> Row:
    second = standings[1] if len(standings) > 1 and not standings[1].failed else None
    if second is None:
        return {}
    return {"runner_up": second.axis, "lead": second.behind, "low": second.low, "high": second.high,
            "tie": second.tied}  # fmt: skip


def _trials(step: Step) -> Iterator[Row]:
    by_axis = {c.axis: {"kind": step.plan.kind, **_candidate(c)} for c in step.plan.candidates}
    ended = [(trial_name(id), id, e) for id, e in step.ended.items()]
    known = {(what.axis, what.seed) for what, _, _ in ended}
    waiting = [(what, t.id, None) for t in step.trials
               if ((what := trial_name(t.id)).axis, what.seed) not in known]  # fmt: skip
    for what, id, end in chain(ended, waiting if step.chosen is None else ()):
        yield {"step": step.plan.step, **by_axis.get(what.axis, {"axis": what.axis}), **_trial(what, id, end)}


RESULT = ("accuracy", "loss", "train_loss", "videos", "clips", "seconds", "data_wait", "bad_videos")
"""Columns of `schema.TRIALS` that a result says as they are."""


def _trial(what: TrialName, id: str, end: Ended | None) -> Row:
    row: Row = {"trial": id, "seed": what.seed, "until": what.until}
    if end is None:
        return {**row, "state": "open"}
    row["ended"] = end.time.isoformat(timespec="seconds")
    match end.outcome:
        case TrialFailure(reason=reason):
            return {**row, "state": "failed", "reason": reason}
        case result:
            return {
                **row,
                "state": "finished" if what.until is None else "rung",
                **{name: getattr(result, name) for name in RESULT},
                "clips_per_second": result.clips / result.seconds if result.seconds > 0 else None,
            }


def _decision(step: Step) -> Iterator[Row]:
    head = {"step": step.plan.step, "kind": step.plan.kind, "decided": step.chosen is not None}
    standings = {s.axis: s for s in step.chosen.standings} if step.chosen else {}
    ranked = [c for axis in standings if (c := step.candidate(axis)) is not None]
    for candidate in (*ranked, *(c for c in step.plan.candidates if c.axis not in standings)):
        standing = standings.get(candidate.axis)
        yield {**head, **_candidate(candidate), **_tried(step, candidate), **_placed(standing, step.chosen)}
    for rejection in step.plan.rejected:
        yield {**head, "axis": rejection.axis, "reason": rejection.reason}


def _tried(step: Step, candidate: Candidate) -> Row:
    """What the trainings of a candidate say, whether or not its step is decided."""
    outcomes = step.outcomes(candidate.axis)
    results = [o for o in outcomes if isinstance(o, TrialResult)]
    failures = [o.reason for o in outcomes if isinstance(o, TrialFailure)]
    row: Row = {"seeds": len(results), "seconds": step.seconds(candidate.axis),
                "latency": getattr(candidate.cost, "latency_ms", None)}  # fmt: skip
    if failures:
        return {**row, "reason": failures[0]}
    if results:
        row["accuracy"] = sum(r.accuracy for r in results) / len(results)
        row["loss"] = sum(r.loss for r in results) / len(results)
    return row


def _placed(standing: CandidateResult | None, chosen: StepChosen | None) -> Row:
    if standing is None or chosen is None:
        return {}
    if standing.failed:
        return {"reason": standing.failed}
    return {
        **{name: getattr(standing, name) for name in ("accuracy", "loss", "score", "behind", "low", "high")},
        "tie": standing.tied,
        "chosen": standing.axis == chosen.winner.axis,
        "reason": "" if (rung := getattr(standing, "until", None)) is None else f"stopped at step {rung}",
    }


Z = 1.959964
"""Deviations of a normal distribution, 95 % of which lies within them."""


def accuracy_ends(
    chosen: StepChosen, results: Sequence[TrialResult]
) -> tuple[float | None, float | None]:
    """Ends of a 95 % interval of a winner's accuracy or mAP, on other videos and with other seeds.

    A spread between seeds makes an accuracy as uncertain as fewer videos would. mAP is the mean of the
    videos' credits, which are not 0 or 1: the variance of that mean, and that between seeds.
    """
    if not results:
        return None, None
    share, videos = chosen.accuracy, results[0].videos
    noise = (chosen.spread or 0.0) ** 2 / (chosen.standings[0].seeds or 1)
    if not holds_credits(results[0].correct, videos):
        return wilson(share, 1 / (1 / videos + noise))
    credits = by_videos(results).mean(axis=0)
    half = Z * math.sqrt(float(credits.var()) / videos + noise * share * (1 - share))
    return max(0.0, share - half), min(1.0, share + half)


def wilson(share: float, count: float, z: float = Z) -> tuple[float | None, float | None]:
    """Wilson's interval (1927) of a share of `count` independent videos; none without videos."""
    if count == 0:
        return None, None
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, middle - half), min(1.0, middle + half)


def macs_text(macs: float) -> str:
    """Multiply-adds as people read them: 605.3 M, 1.963 G."""
    return f"{macs / 1e9:.3f} G" if macs >= 1e9 else f"{macs / 1e6:.4g} M"


def trajectory_text(run: Run | History) -> str:
    """The table of `steps` for a terminal: accuracies (or mAP) and leads in points, costs rounded."""
    past = history(run)
    table, measure = steps(past), past.measure
    if table.empty:
        return "no step is decided yet"
    points = table[["lead", "low", "high"]].astype(float) * 100
    shown = pd.DataFrame(
        {
            "step": table["step"],
            "axis": [axis_text(kind, axis) for kind, axis in zip(table["kind"], table["axis"], strict=True)],
            "clip": [f"{f}x{s}" for f, s in zip(table["frames"], table["stride"], strict=True)],
            "crop": table["crop"],
            "cost": table["cost"].map(macs_text),
            "ratio": table["ratio"].map("{:.2f}".format),
            measure: (table["accuracy"] * 100).map("{:.1f}".format),
            "runner-up": [axis_text(*row) for row in zip(table["kind"], table["runner_up"], strict=True)],
            "lead": [lead_text(*row) for row in points.itertuples(index=False)],
        }
    )
    return shown.to_string(index=False)


def axis_text(kind: str, axis: str) -> str:
    """How a step is called: its axis; of the last one, that it contracts it, or takes another as it is.

    Nothing of no axis.
    """
    if not axis:
        return ""
    for before in (UNCUT, CUT):
        if axis.startswith(before):
            return f"{axis.removeprefix(before)} {before.removesuffix('_')}"
    return f"contract {axis}" if kind == "contraction" else axis


def seeds_text(chosen: StepChosen) -> str:
    """The deviation between seeds, as the intervals of a step count it; empty where they count nothing."""
    if not chosen.spread:
        return ""
    return f"{100 * chosen.spread * math.sqrt(chosen.accuracy * (1 - chosen.accuracy)):.1f} points"


def lead_text(lead: float, low: float, high: float) -> str:
    """A lead with its interval, in points; empty where there was no runner-up."""
    if math.isnan(lead):
        return ""
    return f"{lead:+.1f} [{low:+.1f}, {high:+.1f}]" + (" tie" if low <= 0 <= high else "")
