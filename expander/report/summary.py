"""What a run comes to, in a few words: the page's first lines."""

from __future__ import annotations

from dataclasses import dataclass

from expander.report.reader import History
from expander.report.results import baselines
from expander.report.tables import macs_text, wilson
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
    videos = next((r.videos for r in past.path[-1].outcomes(last.winner.axis) if hasattr(r, "videos")), 0)
    low, high = wilson(last.accuracy, videos)
    sure = "" if low is None or high is None else f"95 % interval {low:.1%} to {high:.1%}, {videos} videos; "
    kind, target = past.problem.cost, past.problem.target
    goal = f"{price.of(kind) / target:.1%} of the target {amount_text(kind, target)}"
    return [
        ("network", str(spec), f"{spec.base.classes} classes, bottleneck {spec.bottleneck:.2g}; {spec.id}"),
        ("accuracy", f"{last.accuracy:.1%}", f"{sure}base: {first.accuracy:.1%}; proxy training, video_top1"),
        ("cost", macs_text(price.macs), f"multiply-adds of a view; {goal}"),
        ("size", f"{price.params:,}", f"parameters; {price.activations:,} activations"),
    ]  # fmt: skip


def _gain(past: History) -> list[str]:
    """Of each kind of baseline near the final cost, the best one against what was found."""
    if not past.path or (last := past.path[-1].chosen) is None:
        return []
    table = baselines(past).dropna(subset=["accuracy", "cost"])
    near = table[(table["cost"] / last.winner.cost.macs - 1).abs() <= NEAR]
    lines = []
    for kind, group in near.groupby("kind", sort=False):
        best = group.sort_values("accuracy", kind="stable").iloc[-1]
        ahead = (last.accuracy - best["accuracy"]) * 100
        count = f"the best of {len(group)} {kind} networks" if len(group) > 1 else f"the {kind} network"
        lines.append(f"{ahead:+.1f} points against {count} within {NEAR:.0%} of its cost "
                     f"({best['accuracy']:.1%} at {macs_text(best['cost'])})")  # fmt: skip
    if not lines and not table.empty:
        lines.append(f"no baseline lies within {NEAR:.0%} of the final cost")
    return lines
