"""What a journal says, weighed: every value within its range, and what follows from others computed again.

Whole numbers are compared as such. A value that cannot be is a ValueError in one line.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from expander.runs.events import (
    CUT,
    UNCUT,
    Candidate,
    CandidateResult,
    Contracted,
    Event,
    Problem,
    RunFinished,
    RunStarted,
    StepChosen,
    StepPlanned,
    TrialFailed,
    TrialFinished,
)
from expander.runs.evidence import by_video, holds_credits
from expander.runs.names import by_seed, trial_name
from expander.runs.trials import TrialFailure, TrialResult, rung_of, trial_prefix
from expander.specs.cost import cost
from expander.specs.cost_kinds import MEASURED, Cost
from expander.specs.spec import AXES, Spec

AXIS_NAMES = ("base", *AXES, *(before + axis for before in (UNCUT, CUT) for axis in AXES))
NEAR = 1e-9
"""How far a mean may lie from what is computed again, in another order."""


def require(ok: bool, message: str) -> None:
    """Raises ValueError with the message unless `ok`."""
    if not ok:
        raise ValueError(message)


def share(value: float, name: str) -> None:
    """Raises ValueError for what is no share of a whole."""
    require(0 <= value <= 1, f"{name} {value} does not lie between 0 and 1")


def amount(value: float, name: str) -> None:
    """Raises ValueError for a negative or infinite amount."""
    require(0 <= value < math.inf, f"{name} {value} is no finite number of at least 0")


def check_cost(spec: Spec, found: Cost, persons: int | None = None) -> None:
    """Raises ValueError for a cost that is not that of the spec. persons: see `specs.cost.layers`."""
    try:
        real = cost(spec, boxes=persons)
    except ArithmeticError as error:
        raise ValueError(f"a spec whose cost cannot be computed: {error}") from None
    for name in ("macs", "params", "activations"):
        said, is_ = getattr(found, name), getattr(real, name)
        require(said == is_, f"cost: {name} {said}, the spec has {is_}")
    for name in ("latency_ms", "memory_mb"):
        if (value := getattr(found, name)) is not None:
            require(0 < value < math.inf, f"cost: {name} {value} is no positive number")


def check_result(result: TrialResult) -> None:
    """Raises ValueError for values out of range, and an accuracy that is not that of the bits."""
    require(result.videos >= 1, f"videos {result.videos} must be at least 1")
    if holds_credits(result.correct, result.videos):
        _check_credits(result)
    else:
        _check_bits(result)
    require(-NEAR <= result.loss < math.inf, f"loss {result.loss} is no finite number of at least 0")
    amount(result.train_loss, "train_loss")
    for name in ("clips", "seconds", "bad_videos", "gpus"):
        amount(getattr(result, name), name)
    if result.data_wait is not None:
        share(result.data_wait, "data_wait")
    require(result.attempts >= 1, f"attempts {result.attempts} must be at least 1")


def _check_credits(result: TrialResult) -> None:
    require(re.fullmatch(r"[0-9a-f]+", result.correct) is not None, "correct: not the credits of its videos")
    share(result.accuracy, "accuracy")
    mean = float(by_video(result.correct, result.videos).mean())
    require(math.isfinite(mean) and _near(result.accuracy, mean),
            f"accuracy {result.accuracy}, the credits of its videos give {mean}")  # fmt: skip


def _check_bits(result: TrialResult) -> None:
    videos, digits = result.videos, -(-result.videos // 4)
    require(re.fullmatch(r"[0-9a-f]+", result.correct) is not None and len(result.correct) == digits,
            f"correct: not the bits of {videos} videos")  # fmt: skip
    bits = int(result.correct, 16)
    require(bits & ((1 << (4 * digits - videos)) - 1) == 0, f"correct: more bits than {videos} videos")
    right = bits.bit_count()
    require(result.accuracy == right / videos,
            f"accuracy {result.accuracy}, its bits say {right} of {videos} videos")  # fmt: skip


class Checks:
    """Of the events of one journal, taken in order."""

    def __init__(self) -> None:
        self.problem: Problem | None = None
        self.planned: StepPlanned | None = None
        self.contracted: Contracted | None = None
        self.ids: dict[str, str] = {}  # of the planned specs, by axis
        self.path: list[Candidate] = []
        self.results: dict[str, TrialResult] = {}
        self.current: dict[str, TrialResult] = {}
        self.videos = 0

    def take(self, event: Event) -> None:
        """One more event. Raises ValueError for a value that cannot be."""
        amount(event.step, "step")
        match event:
            case RunStarted():
                self._begin(event)
            case StepPlanned():
                self._plan(event)
            case TrialFinished(result=result):
                self._belongs(event.step, result.trial)
                check_result(result)
                self.videos = self.videos or result.videos
                require(result.videos == self.videos, f"videos {result.videos}, before {self.videos}")
                self.results[result.trial] = result
            case TrialFailed(failure=failure):
                self._fail(event.step, failure)
            case StepChosen():
                self._choose(event)
            case Contracted():
                self._contract(event)
            case RunFinished():
                pass

    def _begin(self, event: RunStarted) -> None:
        problem = event.problem
        require(0 < problem.target < math.inf, f"target {problem.target} is no positive number")
        require(problem.limits.frames >= 1, "limits: frames must be at least 1")
        require(problem.limits.short_side >= 1, "limits: short_side must be at least 1")
        amount(problem.seed, "seed")
        require(problem.max_steps is None or problem.max_steps >= 1, "max_steps must be at least 1")
        count = problem.space.base.classes
        require(len(event.classes) == count, f"{len(event.classes)} classes, the base has {count}")
        self.problem = problem

    def _plan(self, event: StepPlanned) -> None:
        axes = [candidate.axis for candidate in event.candidates]
        require(len(axes) > 0, "a step without candidates")
        require(len(set(axes)) == len(axes), "two candidates of one axis")
        self.planned, self.results = event, {}
        self.ids = {c.axis: c.spec.id for c in event.candidates}
        _known([*(c.axis for c in event.candidates), *(r.axis for r in event.rejected)])
        for candidate in event.candidates:
            self._check_cost(candidate)
            before = self.path[-1] if self.path else None
            if event.kind == "expansion":
                require(candidate.ratio != 1, f"{candidate.axis}: an expansion that costs nothing")
            if event.kind != "contraction":
                self._check_ratio(candidate, before if event.kind == "expansion" else candidate)
            elif self.contracted is None:
                self._check_ratio(candidate, self._overshot())
            else:
                require(candidate == self.contracted.candidate, "a contraction to another spec than decided")

    def _check_cost(self, candidate: Candidate) -> None:
        check_cost(candidate.spec, candidate.cost, self.problem.persons if self.problem else None)

    def _check_ratio(self, candidate: Candidate, over: Candidate | None) -> None:
        """The cost over that of the spec it grew from; of measured costs only that it is a number."""
        require(0 < candidate.ratio < math.inf, f"ratio {candidate.ratio} is no positive number")
        if self.problem is not None and over is not None and self.problem.cost not in MEASURED:
            kind = self.problem.cost
            ratio = candidate.cost.of(kind) / over.cost.of(kind)
            require(candidate.ratio == ratio, f"ratio {candidate.ratio}, the costs give {ratio}")

    def _belongs(self, step: int, trial: str) -> None:
        """Raises ValueError for the id of a trial that its step has not planned."""
        name = trial_name(trial)
        require(name is not None, f"{trial[:60]!r} is no trial")
        assert name is not None
        _known([name.axis])
        if self.planned is not None:
            number = self.planned.step
            fits = (name.step, step, self.ids.get(name.axis)) == (number, number, name.spec)
            require(fits, f"trial {trial}, which was not planned")

    def _fail(self, step: int, failure: TrialFailure) -> None:
        self._belongs(step, failure.trial)
        amount(failure.seconds, "seconds")
        amount(failure.gpus, "gpus")

    def _contract(self, event: Contracted) -> None:
        _known([event.axis, event.candidate.axis])
        self._check_cost(event.candidate)
        share(event.miss, "miss")
        self.contracted = event
        if self.problem is None or self.problem.cost in MEASURED:
            return
        kind, target = self.problem.cost, self.problem.target
        require(event.target == target, f"target {event.target}, the run's is {target}")
        miss = 1 - event.candidate.cost.of(kind) / target
        require(abs(event.miss - miss) < NEAR, f"miss {event.miss}, the cost gives {miss}")
        self._check_ratio(event.candidate, self._overshot())

    def _overshot(self) -> Candidate | None:
        """The step that is contracted, where that can be said."""
        if self.problem is None or self.problem.cost in MEASURED:
            return None
        kind, target = self.problem.cost, self.problem.target
        return next((step for step in self.path if step.cost.of(kind) >= target), None)

    def _choose(self, event: StepChosen) -> None:
        _known([event.winner.axis, *(standing.axis for standing in event.standings)])
        self._check_cost(event.winner)
        require(len(event.standings) > 0, "no standings")
        if event.spread is not None:
            amount(event.spread, "spread")
        first = event.standings[0]
        require(first.axis == event.winner.axis, f"the winner is {event.winner.axis}, first is {first.axis}")
        require(event.accuracy == first.accuracy,
                f"accuracy {event.accuracy}, the first standing has {first.accuracy}")  # fmt: skip
        for place, standing in enumerate(event.standings):
            if not standing.failed:
                self._stand(standing, place, first, event.spread is None)
        if self.planned is not None:
            require(event.step == self.planned.step and event.winner in self.planned.candidates,
                    "the winner was not planned")  # fmt: skip
        won = trial_prefix(event.step, event.winner.axis)
        self.current = {id: result for id, result in self.results.items() if id.startswith(won)}
        self.path.append(event.winner)
        self.planned, self.results = None, {}

    def _stand(self, standing: CandidateResult, place: int, first: CandidateResult, paired: bool) -> None:
        """One standing against the results that it was made of, where the journal has them.

        paired: as of schema 3 and before, whose gains took the parent's trials by seed.
        """
        share(standing.accuracy, "accuracy")
        require(-NEAR <= standing.loss < math.inf, f"loss {standing.loss} is no finite number")
        require(all(map(math.isfinite, (standing.score, standing.behind))), "a score that is no number")
        require(-math.inf < standing.low <= standing.high < math.inf, "an interval from high to low")
        between = place > 0 and standing.low <= 0 <= standing.high
        require(standing.tied == between, f"tied {standing.tied}, the interval says {between}")
        if (standing.seeds, standing.until) == (first.seeds, first.until):
            behind = first.score - standing.score
            require(_near(standing.behind, behind), f"behind {standing.behind}, the scores say {behind}")
        if self.planned is None:
            return
        begin = trial_prefix(self.planned.step, standing.axis)
        found = _seeds(self.results, begin, standing)
        if len(found) < max(1, standing.seeds):
            return  # lines of it are missing, which a checksum tells
        for name in ("accuracy", "loss"):
            said, mean = getattr(standing, name), sum(getattr(r, name) for r in found) / len(found)
            require(_near(said, mean), f"{name} {said} of {standing.axis}, its trials give {mean}")
        self._check_score(standing, len(found) if paired else None)

    def _check_score(self, standing: CandidateResult, seeds: int | None) -> None:
        """seeds: of the parent that count, in turn; none: every one of its own."""
        assert self.planned is not None
        if self.problem is None:
            return
        score = standing.accuracy
        if self.problem.selection.score == "gain" and self.planned.kind == "expansion":
            current = sorted(self.current.items(), key=lambda item: by_seed(item[0]))
            now = [r for id, r in current if rung_of(id) == standing.until]
            grown = next((c.ratio for c in self.planned.candidates if c.axis == standing.axis), 1.0)
            if not now or grown == 1:
                return
            counted = [now[seed % len(now)] for seed in range(seeds or len(now))]
            before = sum(result.accuracy for result in counted) / len(counted)
            score = (standing.accuracy - before) / math.log2(grown)
        require(_near(standing.score, score), f"score {standing.score} of {standing.axis}, not {score}")


def _seeds(results: dict[str, TrialResult], begin: str, standing: CandidateResult) -> Sequence[TrialResult]:
    """The results that a standing was made of, by seed; of old journals, which do not count seeds, all."""
    ids = [id for id in results if id.startswith(begin) and rung_of(id) == standing.until]
    ids.sort(key=by_seed)
    return [results[id] for id in ids[: standing.seeds or len(ids)]]


def _near(said: float, computed: float) -> bool:
    return abs(said - computed) <= NEAR * max(1.0, abs(computed))


def _known(axes: Iterable[str]) -> None:
    for axis in axes:
        require(axis in AXIS_NAMES, f"{axis[:40]!r} is no axis")
