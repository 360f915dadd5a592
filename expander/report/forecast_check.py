"""What a run foretold and what it took: the forecast at its start and the one that its trials correct."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from expander.report.reader import History
from expander.runs.trials import TrialResult
from expander.search.controller import State
from expander.search.forecast import Forecast, TrainingSpeed, forecast
from expander.specs.cost import cost


def recorded_pace(past: History) -> TrainingSpeed | None:
    """The pace that was measured before the run, from provenance.json; none where it is not recorded."""
    found = past.provenance.get("pace")
    try:
        return TrainingSpeed(**found) if isinstance(found, dict) else None
    except TypeError:
        return None


def foretold(past: History) -> dict[str, Any] | None:
    """steps, trials, seconds and disk (bytes) as forecast before the first trial."""
    return _forecast(past, State(), recorded_pace(past))


def remaining(past: History, state: State) -> dict[str, Any] | None:
    """The same from `state` to the end; the pace corrected by what the trials took so far."""
    return _forecast(past, state, corrected_pace(past))


def _forecast(past: History, state: State, pace: TrainingSpeed | None) -> dict[str, Any] | None:
    if past.problem is None or past.problem.measures:  # a report measures nothing
        return None
    ahead: Forecast = forecast(past.problem, state, cost, pace or TrainingSpeed(0, 0, 0, 0, 1))
    return {**asdict(ahead), "seconds": ahead.seconds if pace else None}


def corrected_pace(past: History) -> TrainingSpeed | None:
    """Times what trials took over what was foretold for them."""
    pace, problem = recorded_pace(past), past.problem
    if pace is None or problem is None:
        return pace
    seen = predicted = 0.0
    for step in past.steps:
        for candidate in step.plan.candidates:
            results = [o for o in step.outcomes(candidate.axis) if isinstance(o, TrialResult)]
            seen += sum(result.seconds for result in results)
            predicted += sum(pace.seconds(problem, candidate.cost.macs, r.clips) for r in results)
    return pace.scaled(seen / predicted) if predicted else pace


def took(past: History) -> dict[str, Any]:
    """What was spent: steps, trials, seconds (of the trials), wall (from the first to the last event)."""
    results = [e.outcome for step in past.steps for e in step.ended.values()]
    seconds = sum(r.seconds for r in results if isinstance(r, TrialResult))
    wall = (past.last - past.first).total_seconds() if past.last and past.first else 0.0
    expansions = sum(step.plan.kind == "expansion" for step in past.path)
    return {"steps": expansions, "trials": len(results), "seconds": seconds, "wall": wall}
