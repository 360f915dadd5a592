"""What a run comes to, in a few words: the page's first lines."""

from __future__ import annotations

from dataclasses import dataclass

from expander.engine.comparisons import AGAIN, BASELINES, Advantage, advantages, tries
from expander.engine.loop import state_of
from expander.errors import DataError
from expander.report.reader import History
from expander.report.tables import accuracy_ends, macs_text
from expander.runs.trials import TrialResult
from expander.specs.cost_kinds import amount_text

NEAR = 0.15
"""A baseline within this share of the final cost is compared with it."""


@dataclass(frozen=True, slots=True)
class Headline:
    """outcome: how the run ended. facts: (what, value, note). gain: against baselines, a sentence each."""

    outcome: str
    facts: tuple[tuple[str, str, str], ...]
    gain: tuple[str, ...]


def headline(past: History) -> Headline:
    """Of a run, finished or not."""
    return Headline(_outcome(past), tuple(_facts(past)), tuple(_gain(past)))


def _outcome(past: History) -> str:
    if past.start is None:
        return "The journal is empty: the search has not begun."
    if past.finished is None:
        when = past.last.strftime("%Y-%m-%d %H:%M UTC") if past.last else ""
        return f"Not finished: the last event is of {when}. What follows is what is known so far."
    words = {"target": "The target is met", "limit": "It stopped before the target", "failed": "It failed"}
    return f"{words.get(past.finished.outcome, past.finished.outcome)}: {past.finished.reason}."


def _facts(past: History) -> list[tuple[str, str, str]]:
    decided = [step.chosen for step in past.path if step.chosen]
    if not decided or past.problem is None:
        return []
    first, last = decided[0], decided[-1]
    spec, price = last.winner.spec, last.winner.cost
    results = [r for r in past.path[-1].outcomes(last.winner.axis) if isinstance(r, TrialResult)]
    low, high = accuracy_ends(last, results)
    sure = ("" if low is None or high is None
            else f"95 % interval {low:.1%} to {high:.1%}, {results[0].videos} videos; ")  # fmt: skip
    how = "proxy training" + (", video_top1" if past.measure == "accuracy" else "")
    kind, target = past.problem.cost, past.problem.target
    goal = f"{price.of(kind) / target:.1%} of the target {amount_text(kind, target)}"
    return [
        ("network", str(spec), f"{spec.base.classes} classes, bottleneck {spec.bottleneck:.2g}; {spec.id}"),
        (past.measure, f"{last.accuracy:.1%}", f"{sure}base: {first.accuracy:.1%}; {how}"),
        ("cost", macs_text(price.macs), f"multiply-adds of a view; {goal}"),
        ("size", f"{price.params:,}", f"parameters; {price.activations:,} activations"),
    ]  # fmt: skip


def _gain(past: History) -> list[str]:
    """What was found against each kind of baseline near its cost, a sentence each."""
    try:
        if past.start is None or not past.path or past.path[-1].chosen is None:
            return []
        tried = tries(past.run.folder / BASELINES, past.start.problem.persons)
        if not tried:
            return []
        found = advantages(past.start, state_of(past.run), tried, NEAR)
    except DataError as error:  # of another version, or damaged: the table shows it as far as it goes
        return [f"not weighed: {error}"]
    again = any(each.kind == AGAIN for each in tried)
    lines = [_sentence(each, again) for each in found]
    return lines or [f"no baseline lies within {NEAR:.0%} of the final cost"]


def _sentence(found: Advantage, again: bool) -> str:
    alone = f"the {found.kind} network"
    what = alone if found.count == 1 else f"the mean of {found.count} {found.kind} networks"
    lead, low, high = (f"{100 * x:+.1f}" for x in (found.lead, found.low, found.high))
    tie = ", a tie," if found.low <= 0 <= found.high else ""
    best = f"; the best of them has {found.best:.1%}" if found.count > 1 else ""
    best += f"; the found network, trained again, has {found.ours:.1%}" if again else ""
    return (f"{lead} points [{low}, {high}]{tie} against {what} within {NEAR:.0%} of its cost "
            f"({found.accuracy:.1%}){best}")  # fmt: skip
