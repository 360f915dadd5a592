"""What a search says while it runs: a line of progress, a line a decision."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from expander.cli.output.data_wait import TrialWaits
from expander.cli.output.terminal import about, say
from expander.report.tables import axis_text, macs_text, seeds_text
from expander.runs.events import (
    Candidate,
    Contracted,
    Event,
    Problem,
    RunStarted,
    StepChosen,
    StepPlanned,
    TrialFailed,
    TrialFinished,
)
from expander.runs.trials import rung_of
from expander.search.accounting import Spent
from expander.search.controller import State, trials
from expander.search.expansion import CostOf
from expander.search.forecast import TrainingSpeed, forecast
from expander.specs.cost import cost
from expander.specs.cost_kinds import amount_text, duration_text

if TYPE_CHECKING:
    from expander.engine.cluster_plan import Course, Plan
    from expander.search.cluster_places import Cluster
    from expander.search.simulation import StepCost
    from expander.specs.spec import Spec


class Narrator:
    """Listens to a search. On a terminal: one tqdm line a step; elsewhere plain lines."""

    def __init__(self, start: RunStarted, pace: TrainingSpeed, cost_of: CostOf, state: State) -> None:
        self.problem, self.pace, self.cost_of = start.problem, pace, cost_of
        self.measure = start.measure
        self.bar: Any = None
        self.seen = self.predicted = 0.0
        self.foretold = forecast(self.problem, state, cost_of, pace).seconds
        self.began = self.step_began = time.monotonic()
        self.step_foretold = 0.0
        self.trained = self.reused = 0
        self.waits = TrialWaits(start, pace.parallel)

    def __enter__(self) -> Narrator:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def __call__(self, event: Event, state: State) -> None:
        """One event that was just recorded, and the state after it."""
        match event:
            case StepPlanned():
                self._plan(event)
            case TrialFinished():
                self._count(event, state)
                result = event.result
                source = f" (reused from {event.reused_from})" if event.reused_from else ""
                self._done(f"{_axis(result.trial)}{_rung(result.trial)} {result.accuracy:.1%}{source}", state)
            case TrialFailed():
                self.trained += 1
                self._done(f"{_axis(event.failure.trial)} failed: {event.failure.reason}", state)
            case StepChosen():
                self._chosen(event, state)
            case Contracted():
                say(f"contracted along {event.axis} to {self._cost(event.candidate)}, "
                           f"{event.miss:.1%} below the target")  # fmt: skip

    def _plan(self, event: StepPlanned) -> None:
        for rejection in event.rejected:
            say(f"step {event.step}: {rejection.axis} cannot move: {rejection.reason}")
        macs = [float(self._macs(trial.spec)) for trial in trials(self.problem, event)]
        count = len(macs)
        share = (self.problem.space.proxy.inherit or 1.0) if event.kind == "expansion" else 1.0
        self.step_foretold = self._corrected().of_round(self.problem, macs, share)
        self.step_began = time.monotonic()
        say(f"step {event.step}: {count} trials, {about(self.step_foretold)}")
        if sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(total=count, desc=f"step {event.step}", unit="trial", leave=False)

    def _done(self, text: str, state: State) -> None:
        if self.bar is not None:
            self.bar.set_postfix_str(text)
            self.bar.update()
        elif state.planned is not None:
            done = len(state.outcomes)
            count = max(done, len(trials(self.problem, state.planned)))
            say(f"step {state.planned.step}: {done}/{count} {text}", err=True)

    def _count(self, event: TrialFinished, state: State) -> None:
        """What trials took against what was foretold corrects what is still to come."""
        if event.reused_from:
            self.reused += 1
            return
        self.trained += 1
        self.waits.add(event.result)
        if state.planned is None:
            return
        axis, result = _axis(event.result.trial), event.result
        spec = next(c.spec for c in state.planned.candidates if c.axis == axis)
        self.seen += result.seconds
        self.predicted += self.pace.seconds(self.problem, self._macs(spec), result.clips)

    def _macs(self, spec: Spec) -> int:
        return cost(spec, boxes=self.problem.persons).macs

    def _corrected(self) -> TrainingSpeed:
        return self.pace.scaled(self.seen / self.predicted) if self.predicted else self.pace

    def _chosen(self, event: StepChosen, state: State) -> None:
        self._close()
        winner = event.winner
        how = "" if len(event.standings) < 2 or not event.standings[1].tied else " (a tie)"
        seeds = f" (deviation between seeds: {apart})" if (apart := seeds_text(event)) else ""
        axis = axis_text("contraction" if state.final else "expansion", winner.axis)
        say(f"step {event.step}: {axis}{how} -> {winner.spec}, "
                   f"{self._cost(winner)}, {self.measure} {event.accuracy:.1%}{seeds}"
                   f"{_against(self.step_foretold, time.monotonic() - self.step_began)}")  # fmt: skip
        if warning := self.waits.close(event.step):
            say(warning, err=True)
        below = winner.cost.of(self.problem.cost) < self.problem.target
        if not state.final and below and self.predicted:
            foretell("ahead", self.problem, state, self._corrected(), self.cost_of)

    def _cost(self, candidate: Candidate) -> str:
        kind = self.problem.cost
        if kind == "flops":
            return macs_text(candidate.cost.macs)
        return amount_text(kind, candidate.cost.of(kind))

    def conclude(self, finished: bool) -> None:
        """The last lines: how good the first forecast was, and what did not have to be trained."""
        taken = time.monotonic() - self.began
        if finished and self.trained and not self.reused:
            say(f"forecast: {about(self.foretold)} at first{_against(self.foretold, taken)}")
        if self.reused:
            rest = f"{self.trained} were trained" if self.trained else "nothing was trained"
            say(f"reused {self.reused} results; {rest}")

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None


def _against(foretold: float, taken: float) -> str:
    """How long it took, and by how much the forecast was wrong."""
    error = f" ({taken / foretold - 1:+.0%} on the forecast)" if foretold else ""
    return f"; took {taken:.0f} s{error}"


def _axis(trial: str) -> str:
    return trial.split("-")[1]


def _rung(trial: str) -> str:
    until = rung_of(trial)
    return "" if until is None else f" at step {until}"


SLOW_HOURS = 3.0
"""A forecast above this, without a GPU, gets the advice for CPU-only users."""

ADVICE = (
    "This machine has no GPU, and this space is meant for GPUs. On a CPU, take the small space: "
    "expander search --space tiny --target-gflops 0.0011; or use a cluster: "
    "--ray-address HEAD:6379; or shorten the trials: --set proxy.steps=100."
)


def announce(problem: Problem, pace: TrainingSpeed, cost_of: CostOf, here: bool = True) -> None:
    """The first lines of a search: its base, its target, its forecast, and advice if it is long.

    here: whether it would run on this machine.
    """
    base = problem.space.start
    now, target = (amount_text(problem.cost, amount)
                   for amount in (cost_of(base).of(problem.cost), problem.target))  # fmt: skip
    say(f"base: {base}, {now}, target {target}")
    foretell("forecast", problem, State(), pace, cost_of)
    if here and forecast(problem, State(), cost_of, pace).seconds > 3600 * SLOW_HOURS and not _has_gpu():
        say(ADVICE)


def foretell(what: str, problem: Problem, state: State, pace: TrainingSpeed, cost_of: CostOf) -> None:
    """One line: steps, trials, time and disk from `state` to the end."""
    ahead = forecast(problem, state, cost_of, pace)
    say(
        f"{what}: {ahead.steps} steps, {ahead.trials} trials, {about(ahead.seconds)}, "
        f"{pace.parallel} at a time; {ahead.disk / 1e6:.1f} MB of weights"
    )


def spent_text(spent: Spent) -> str:
    """One line: trials, their time, clips and multiply-adds."""
    some = [f"{spent.reused} reused"] * bool(spent.reused) + [f"{spent.failed} failed"] * bool(spent.failed)
    more = f" ({', '.join(some)})" if some else ""
    gpu = f", {spent.gpu_seconds / 3600:.2g} GPU hours" if spent.gpu_seconds else ""
    return (f"spent: {spent.trials} trials{more}, {about(spent.seconds)} of trials{gpu}, "
            f"{spent.clips} clips, {macs_text(spent.macs)} multiply-adds forward")  # fmt: skip


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def say_plan(plan: Plan, course: Course) -> None:
    """A simulated search: a line a step, a line in all, and where places wait."""
    seconds, steps, size, cluster = course.seconds, course.steps, course.video_bytes, plan.cluster
    for step in steps:
        say(_line(step, plan, size))
    say(f"plan: {about(seconds)} (simulated: {duration_text(course.least)} to {duration_text(course.most)}), "
        f"{cluster.nodes} x {cluster.places} trials at a time"
        f"{_spending(seconds, steps, plan)}{_read(sum(step.opened for step in steps), size)}"
        f"{f'; {course.lost} losses of nodes' if course.lost else ''}")  # fmt: skip
    if steps and steps[-1].failed == steps[-1].trials:
        say("plan: the search ends there, every candidate failed: raise backend.max_failures")
    _waits(seconds, steps, cluster)


def _line(step: StepCost, plan: Plan, size: float | None) -> str:
    failed = f" ({step.failed} failed)" if step.failed else ""
    return (f"plan: step {step.step} ({step.kind}): {step.trials} trials{failed}, {about(step.seconds)}"
            f"{_spending(step.seconds, [step], plan)}{_read(step.opened, size)}")  # fmt: skip


def _spending(seconds: float, steps: Sequence[StepCost], plan: Plan) -> str:
    """Hours of GPUs that trials hold, and of all the GPUs that the cluster has for so long."""
    if not plan.cluster.gpus:
        return ""
    used = sum(step.held for step in steps) * plan.gpus / 3600
    return f", {used:.3g} GPU hours of {plan.cluster.gpus * seconds / 3600:.3g} that the cluster has"


def _read(opened: int, size: float | None) -> str:
    return "" if size is None else f", at most {opened * size / 1e9:.3g} GB read"


def _waits(seconds: float, steps: Sequence[StepCost], cluster: Cluster) -> None:
    """How much of the cluster waits, and for what; the most trials that a step has."""
    places = cluster.nodes * cluster.places
    idle = 1 - sum(step.held for step in steps) / (places * seconds) if seconds else 0.0
    most = max((step.trials for step in steps), default=0)
    if idle > 0.25:
        why = f"a step has at most {most} trials" if most < places else "a step ends with its longest trial"
        say(f"plan: places wait {idle:.0%} of the time: {why}, for {places} places")
