"""The state of a run as it is now, for `expander status`: from its journal and its trials' metrics."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from expander.engine.loop import started, state_of
from expander.report.forecast_check import foretold, remaining
from expander.report.reader import History, Step, history, trial_name
from expander.report.results import json_lines, number
from expander.runs.journal import UNPROTECTED, Run
from expander.runs.machine import alive
from expander.runs.trials import TrialFailure, TrialResult
from expander.search.controller import trials
from expander.specs.cost_kinds import amount_text, duration_text

BAR = 20
"""Characters of a progress bar."""


def status_of(run: Run) -> dict[str, Any]:
    """outcome (running, target, limit, failed), step, trials of the step, best spec, failures.

    candidates: of the undecided step, one a trial: axis, seed, state (waiting, running, finished, rung,
    failed), progress (0 to 1), accuracy, reason. forecast: steps, trials and seconds ahead; seconds is
    null where the run did not record its pace. foretold: the same before the first trial. process: its id.
    measure: what accuracy is (mAP of several labels).
    protected: whether checksums cover the journal.
    """
    problem, state = started(run).problem, state_of(run)
    wanted = trials(problem, state.planned) if state.planned else ()
    done = [o for o in state.outcomes.values() if isinstance(o, TrialResult)]
    best = state.path[-1] if state.path else None
    past = history(run)
    return {
        "run": str(run.folder),
        "outcome": state.finished.outcome if state.finished else "running",
        "reason": state.finished.reason if state.finished else "",
        "step": state.planned.step if state.planned else len(state.path),
        "trials_done": len(done),
        "trials_of_step": len(wanted),
        "failures": state.failures,
        "cost_kind": problem.cost,
        "target": problem.target,
        "path": [candidate.axis for candidate in state.path],
        "spec": str(best.spec) if best else "",
        "cost": best.cost.of(problem.cost) if best else 0,
        "accuracy": state.accuracies[-1] if best else None,
        "measure": past.measure,
        "candidates": _candidates(past) if state.planned else [],
        "failed": [{"trial": name, "reason": reason} for name, reason in failures(past)],
        "forecast": remaining(past, state),
        "foretold": foretold(past),
        "process": worker(run),
        "protected": run.protected(),
        "last_event": past.last.isoformat(timespec="seconds") if past.last else None,
    }


def worker(run: Run) -> int | None:
    """The process of this machine that works on a run; none when there is none, or it is elsewhere."""
    try:
        holder = (run.folder / "lock").read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None
    return int(holder) if holder.isdigit() and alive(int(holder)) else None


def failures(past: History) -> Iterator[tuple[str, str]]:
    """Every failed trial and its reason."""
    for step in past.steps:
        for name, ended in step.ended.items():
            if isinstance(ended.outcome, TrialFailure):
                yield name, ended.outcome.reason


def _candidates(past: History) -> list[dict[str, Any]]:
    """Of every trial of the last step."""
    step = past.steps[-1]
    names = dict.fromkeys((*(trial.id for trial in step.trials), *step.ended))
    return [_candidate(past, step, name) for name in names]


def _candidate(past: History, step: Step, name: str) -> dict[str, Any]:
    what, ended = trial_name(name), step.ended.get(name)
    row = {"trial": name, "axis": what.axis, "seed": what.seed, "accuracy": None, "reason": ""}
    match ended.outcome if ended else None:
        case TrialResult(accuracy=accuracy):
            state = "finished" if what.until is None else "rung"
            return {**row, "state": state, "progress": 1.0, "accuracy": accuracy}
        case TrialFailure(reason=reason):
            return {**row, "state": "failed", "progress": 1.0, "reason": reason}
    share = _progress(past, step, what.folder, what.until)
    return {**row, "state": "running" if share else "waiting", "progress": share}


def _progress(past: History, step: Step, folder: str, until: int | None) -> float:
    """How far a training is that has not ended: the last step of its metrics over those it trains."""
    rows = json_lines(past.run.folder / "trials" / folder / "metrics.jsonl")
    reached = [value for row in rows if (value := number(row.get("step"))) is not None]
    if not reached or past.problem is None or step.chosen is not None:
        return 0.0
    return min(1.0, reached[-1] / (until or past.problem.space.proxy.steps))


def status_text(now: dict[str, Any]) -> str:
    """`status_of` for a terminal."""
    outcome = f"{now['outcome']}: {now['reason']}" if now["reason"] else "not finished"
    lines = [f"{now['run']}: {outcome}"]
    if now["trials_of_step"]:
        lines.append(f"step {now['step']}: {now['trials_done']} of {now['trials_of_step']} trials done, "
                     f"{now['failures']} failures in the run")  # fmt: skip
    width = max((len(row["axis"]) for row in now["candidates"]), default=0)
    lines += [_line(row, width) for row in now["candidates"]]
    if now["spec"]:
        cost, target = (amount_text(now["cost_kind"], now[name]) for name in ("cost", "target"))
        found = f"{now['measure']} {now['accuracy']:.1%}"
        lines.append(f"best so far: {now['spec']}, {cost} (target {target}), {found}")
    if now["outcome"] == "running":
        lines += [_ahead(now), _worked_on(now)]
    lines += [f"failed: {row['trial']}: {row['reason']}" for row in now["failed"]]
    if not now["protected"]:
        lines.append(UNPROTECTED)
    return "\n".join(lines)


def _line(row: dict[str, Any], width: int) -> str:
    full = round(BAR * row["progress"])
    bar = "#" * full + "." * (BAR - full)
    told = f"{row['accuracy']:.1%}" if row["accuracy"] is not None else row["state"]
    return f"  {row['axis']:<{width}} seed {row['seed']}  [{bar}] {row['progress']:4.0%}  {told}"


def _ahead(now: dict[str, Any]) -> str:
    ahead = now["forecast"]
    if ahead is None:
        return "ahead: not foretold, as its costs are measured"
    time = f", {duration_text(ahead['seconds'])}" if ahead["seconds"] is not None else ""
    return f"ahead: {ahead['steps']} steps, {ahead['trials']} trials{time}"


def _worked_on(now: dict[str, Any]) -> str:
    last = f"the last event is of {now['last_event']}"
    if now["process"] is not None:
        return f"process {now['process']} is at work; {last}"
    name = Path(now["run"]).name
    return f"no process of this machine is at work; {last}; go on with: expander search --run {name} --resume"
