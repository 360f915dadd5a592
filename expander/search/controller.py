"""The search as two pure functions: `ask` says what comes next, `tell` takes in what happened.

    state = replay(events)                 # an empty journal gives the start
    ask(problem, state, cost_of)           # -> a Decision to record, or the trials still to run
    state = tell(state, event)             # -> the state after one more event

`ask` changes nothing and asked twice answers the same. A run is: record what ask decides, run what
it asks for, tell it the outcome, until it decides RunFinished. Nothing but the events matters, so
a killed run that replays its journal goes on as if it had never stopped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from expander.runs.events import (
    UNCUT,
    Candidate,
    CandidateResult,
    Contracted,
    Decision,
    Event,
    Problem,
    Rejection,
    RunFinished,
    RunStarted,
    StepChosen,
    StepPlanned,
    TrialFailed,
    TrialFinished,
)
from expander.runs.names import by_seed
from expander.runs.trials import Trial, TrialResult, rung_of, trial_prefix
from expander.search.contraction import TOLERANCE, contract, finalists
from expander.search.expansion import CostOf, expand, over
from expander.search.racing import play, rounds, trials_of
from expander.search.selection import Outcome, by_videos
from expander.search.spread import UNKNOWN, Spread, pooled
from expander.specs.spec import Spec


@dataclass(frozen=True, slots=True)
class State:
    """path: the chosen candidates, base first. outcomes: of the planned step, by trial id.

    current: the results of the last chosen candidate, those of its rungs too. spread: between seeds, of
    all decided steps. runners: the candidates of the last expansion; tied: the axes of those that tie with
    its winner. final: whether the last chosen candidate is a contraction.
    """

    path: tuple[Candidate, ...] = ()
    accuracies: tuple[float, ...] = ()
    current: tuple[TrialResult, ...] = ()
    spread: Spread = UNKNOWN
    runners: tuple[Candidate, ...] = ()
    tied: tuple[str, ...] = ()
    final: bool = False
    planned: StepPlanned | None = None
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)
    contracted: Contracted | None = None
    failures: int = 0
    finished: RunFinished | None = None


def replay(events: Iterable[Event]) -> State:
    """The state after these events."""
    state = State()
    for event in events:
        state = tell(state, event)
    return state


def tell(state: State, event: Event) -> State:
    """The state after one more event. Raises ValueError for one that cannot follow."""
    if state.finished is not None:
        raise ValueError(f"{event.event} after run_finished")
    if isinstance(event, RunStarted | StepPlanned | Contracted) and state.planned is not None:
        raise ValueError(f"{event.event} while step {state.planned.step} is undecided")
    match event:
        case RunStarted():
            return state
        case StepPlanned():
            return replace(state, planned=event, outcomes={})
        case TrialFinished(result=outcome) | TrialFailed(failure=outcome):
            if not _is_planned(state.planned, outcome.trial):
                raise ValueError(f"{event.event} of {outcome.trial}, which was not planned")
            failed = isinstance(event, TrialFailed)
            outcomes = {**state.outcomes, outcome.trial: outcome}
            return replace(state, outcomes=outcomes, failures=state.failures + failed)
        case StepChosen():
            return _advance(state, event)
        case Contracted():
            return replace(state, contracted=event)
        case RunFinished():
            return replace(state, finished=event, planned=None, outcomes={})


def _is_planned(planned: StepPlanned | None, trial: str) -> bool:
    if planned is None:
        return False
    return any(trial.startswith(trial_prefix(planned.step, c.axis)) for c in planned.candidates)


def _advance(state: State, event: StepChosen) -> State:
    planned, begin = state.planned, trial_prefix(event.step, event.winner.axis)
    outcomes = (o for id, o in state.outcomes.items() if id.startswith(begin))
    results = sorted(outcomes, key=lambda outcome: by_seed(outcome.trial))
    if not results:
        raise ValueError(f"step_chosen names {event.winner.axis}, of which no trial finished")
    return replace(
        state,
        path=(*state.path, event.winner),
        accuracies=(*state.accuracies, event.accuracy),
        current=tuple(o for o in results if isinstance(o, TrialResult)),
        spread=state.spread + _spread(state),
        runners=planned.candidates if planned is not None else (),
        tied=tuple(standing.axis for standing in event.standings if standing.tied),
        final=planned is not None and planned.kind == "contraction",
        planned=None,
        outcomes={},
    )


def _spread(state: State) -> Spread:
    """What the step now decided shows of the spread between seeds."""
    of_spec: dict[str, list[TrialResult]] = {}
    for _, outcome in sorted(state.outcomes.items()):  # in whatever order they ended
        if isinstance(outcome, TrialResult) and rung_of(outcome.trial) is None:
            of_spec.setdefault(outcome.trial.partition("-seed")[0], []).append(outcome)
    return pooled([by_videos(results) for results in of_spec.values()])


def trials(problem: Problem, planned: StepPlanned) -> tuple[Trial, ...]:
    """Every whole trial of a step's first seeds; rungs and races leave out some and add others."""
    plan = rounds(problem.selection, problem.space.proxy.steps, planned.kind)
    first = next(this for this in plan if this.until is None)
    return trials_of(problem, planned.step, planned.candidates, first)


def ask(problem: Problem, state: State, cost_of: CostOf) -> Decision | tuple[Trial, ...]:
    """The next decision, or the trials still to run; () when the run is finished."""
    if state.finished is not None:
        return ()
    if state.planned is None:
        return _confirmed(problem, state, _plan(problem, state, cost_of))
    planned = state.planned
    current = state.current if planned.kind == "expansion" else ()
    missing, standings, spread = play(problem, planned, state.outcomes, current, state.spread)
    return missing or _choose(planned, standings, spread)


def _plan(problem: Problem, state: State, cost_of: CostOf) -> Decision:
    step = len(state.path)
    if not state.path:
        start = problem.space.start
        return StepPlanned(0, "base", (Candidate("base", start, cost_of(start), 1.0),))
    now, target = state.path[-1], problem.target
    spent = now.cost.of(problem.cost)
    if state.final and state.path[-2].cost.of(problem.cost) > target:
        how = "a runner-up is" if now.axis.startswith(UNCUT) else "contracted to"
        return RunFinished(step, "target", f"{how} {1 - spent / target:.1%} below it")
    if (1 - TOLERANCE) * target <= spent <= target:
        return RunFinished(step, "target", "the target is met")
    if spent > target:
        return _contract(problem, state, cost_of)
    if problem.max_steps is not None and step > problem.max_steps:
        return RunFinished(step, "limit", f"stopped after {problem.max_steps} steps as asked")
    candidates, rejected = candidates_of(problem, now.spec, cost_of)
    if not candidates:
        reasons = "; ".join(f"{r.axis}: {r.reason}" for r in rejected)
        return RunFinished(step, "limit", f"no axis can move ({reasons})")
    return StepPlanned(step, "expansion", candidates, rejected)


def _confirmed(problem: Problem, state: State, decision: Decision) -> Decision:
    """The decision; before the end, what began with weights of another spec is trained from scratch."""
    inherited = problem.space.proxy.inherit > 0 and len(state.path) > 1 and not state.final
    if not inherited or not isinstance(decision, RunFinished) or decision.outcome == "failed":
        return decision
    last = state.path[-1]
    return StepPlanned(len(state.path), "contraction", (replace(last, axis=UNCUT + last.axis, ratio=1.0),))


def candidates_of(
    problem: Problem, now: Spec, cost_of: CostOf
) -> tuple[tuple[Candidate, ...], tuple[Rejection, ...]]:
    """What a step from `now` has to choose from, and the axes that cannot move."""
    return expand(problem.space, now, cost_of, problem.limits, problem.cost, problem.ceilings)


def _contract(problem: Problem, state: State, cost_of: CostOf) -> Decision:
    step = len(state.path)
    if problem.selection.contraction == "trained" and state.contracted is None:
        axes, kind = tuple(problem.space.axes), problem.cost
        found = finalists(state.path, state.runners, problem.target, cost_of, kind, axes, state.tied)
        if within := tuple(c for c in found if not over(c.cost, problem.ceilings)):
            return StepPlanned(step, "contraction", within)
        return RunFinished(step, "limit", f"no contraction keeps to {over(found[0].cost, problem.ceilings)}")
    if state.contracted is None:
        option = contract(state.path, problem.target, cost_of, kind=problem.cost)
        if fault := over(option.candidate.cost, problem.ceilings):
            return RunFinished(step, "limit", f"no contraction keeps to {fault}")
        return Contracted(step, option.axis, problem.target, option.miss, option.candidate)
    return StepPlanned(step, "contraction", (state.contracted.candidate,))


def _choose(planned: StepPlanned, standings: tuple[CandidateResult, ...], spread: float) -> Decision:
    best = standings[0]
    if best.failed:
        reason = f"every candidate of step {planned.step} failed, the first with: {best.failed}"
        return RunFinished(planned.step, "failed", reason)
    winner = next(c for c in planned.candidates if c.axis == best.axis)
    return StepChosen(planned.step, winner, best.accuracy, standings, spread)
