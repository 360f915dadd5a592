"""The state of a run, finished or not, from its journal."""

from __future__ import annotations

from typing import Any

from expander.amounts import amount_text
from expander.engine import started, state_of
from expander.records import TrialResult
from expander.search.controller import trials
from expander.store import Run


def status_of(run: Run) -> dict[str, Any]:
    """outcome (running, target, limit, failed), step, trials of the step, best spec, failures."""
    problem, state = started(run).problem, state_of(run)
    wanted = trials(problem, state.planned) if state.planned else ()
    done = [o for o in state.outcomes.values() if isinstance(o, TrialResult)]
    best = state.path[-1] if state.path else None
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
    }


def status_text(run: Run) -> str:
    """`status_of` in three lines."""
    now = status_of(run)
    outcome = f"{now['outcome']}: {now['reason']}" if now["reason"] else "not finished"
    lines = [f"{now['run']}: {outcome}"]
    if now["trials_of_step"]:
        lines.append(f"step {now['step']}: {now['trials_done']} of {now['trials_of_step']} trials done, "
                     f"{now['failures']} failures in the run")  # fmt: skip
    if now["spec"]:
        cost, target = (amount_text(now["cost_kind"], now[name]) for name in ("cost", "target"))
        lines.append(f"best so far: {now['spec']}, {cost} (target {target}), accuracy {now['accuracy']:.1%}")
    return "\n".join(lines)
