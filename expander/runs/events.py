"""What a search says and remembers: candidates, evidence, journal events.

Frozen, plain JSON in and out. The journal is a list of events; a run is their replay.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AliasChoices, ConfigDict, Field, TypeAdapter

from expander.config.ceilings import NO_CEILINGS, Ceilings
from expander.config.settings import (
    PERSONS,
    STRICT,
    BackendConfig,
    Budget,
    DataConfig,
    Selection,
    Task,
)
from expander.config.space import SearchSpace
from expander.runs.trials import TrialFailure, TrialResult
from expander.specs.cost_kinds import MEASURED, Cost, CostKind
from expander.specs.spec import Spec

SCHEMA = 4
"""Version of the journal's events; one that is newer than this is refused.

1: multiply-adds were the only cost, `target` was called target_macs. 2: costs, rungs, races. 3: seals.
4: the spread between seeds, contractions that are chosen as in a step.
"""

Target = Annotated[float, Field(validation_alias=AliasChoices("target", "target_macs"))]


UNCUT = "uncut_"
"""Before the axis of a runner-up of the last expansion that meets the target as it is."""

CUT = "cut_"
"""Before the axis of a runner-up, as good as the winner, that is contracted to the target in its place."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A spec one axis away from the current one; ratio: its cost over the current one's."""

    axis: str
    spec: Spec
    cost: Cost
    ratio: float


@dataclass(frozen=True, slots=True)
class Rejection:
    """An axis that cannot move in this step, and why."""

    axis: str
    reason: str


@dataclass(frozen=True, slots=True)
class SourceLimits:
    """What the videos allow. frames: of the shortest usual clip. short_side: pixels."""

    frames: int
    short_side: int


@dataclass(frozen=True, slots=True)
class CandidateResult:
    """A candidate's place in its step. behind, low, high: the winner's score over its, and the interval.

    failed: why it has none. seeds: its trainings. until: the rung at which it stopped; then, as of one
    that got fewer seeds than the winner, all is as it was when it stopped, against the leader then.
    """

    axis: str
    accuracy: float
    loss: float
    score: float
    behind: float
    low: float
    high: float
    tied: bool
    failed: str = ""
    seeds: int = 0
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """All that decides a search: nothing else may influence a decision.

    target: in the unit of `cost`, the kind that every step doubles. ceilings: on the others.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT
    space: SearchSpace
    target: Target
    limits: SourceLimits
    selection: Selection
    seed: int = 0
    max_steps: int | None = None
    cost: CostKind = "flops"
    ceilings: Ceilings = NO_CEILINGS
    task: Task = "classification"

    def __post_init__(self) -> None:
        object.__setattr__(self, "target", float(self.target))  # the same text, read or just made
        if self.space.proxy.inherit and self.selection.rungs:
            raise ValueError("selection.rungs are of trials from scratch: take proxy.inherit=0 or no rungs")
        if self.space.proxy.dilation != 1 and self.task != "detection":
            raise ValueError("proxy.dilation is of --task detection; leave it out of a classification")

    @property
    def persons(self) -> int | None:
        """Persons of a view whose boxes its cost counts; none: of classification."""
        return PERSONS[self.task]

    @property
    def measures(self) -> bool:
        """Whether its costs are measured on a device, and not all computed."""
        return self.cost in MEASURED or any(self.ceilings.of(kind) is not None for kind in MEASURED)


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The first event: the problem, and where its data and workers are.

    multi_label: whether videos have several labels, so that what is called accuracy is mAP.
    """

    problem: Problem
    data: DataConfig
    backend: BackendConfig
    data_fingerprint: str
    classes: tuple[str, ...]
    budget: Budget = field(default_factory=Budget)
    event: Literal["run_started"] = "run_started"
    step: int = 0
    multi_label: bool = False

    @property
    def measure(self) -> str:
        """What accuracy is called."""
        return "mAP" if self.multi_label or self.problem.task == "detection" else "accuracy"


@dataclass(frozen=True, slots=True)
class StepPlanned:
    """kind: `base` (step 0), `expansion`, or `contraction` (the final one)."""

    step: int
    kind: Literal["base", "expansion", "contraction"]
    candidates: tuple[Candidate, ...]
    rejected: tuple[Rejection, ...] = ()
    event: Literal["step_planned"] = "step_planned"


@dataclass(frozen=True, slots=True)
class TrialFinished:
    """A trial gave a result. reused_from: RUN:TRIAL whose result it is; empty: it was trained."""

    step: int
    result: TrialResult
    reused_from: str = ""
    event: Literal["trial_finished"] = "trial_finished"


@dataclass(frozen=True, slots=True)
class TrialFailed:
    """A trial gave none, after its retries."""

    step: int
    failure: TrialFailure
    event: Literal["trial_failed"] = "trial_failed"


@dataclass(frozen=True, slots=True)
class StepChosen:
    """The winner of a step and the evidence: every candidate's standing, best first.

    spread: between seeds, as the intervals count it, in units of sqrt(p (1 - p)) at accuracy p; none: as
    runs before schema 4 did, which resampled the seeds.
    """

    step: int
    winner: Candidate
    accuracy: float
    standings: tuple[CandidateResult, ...]
    spread: float | None = None
    event: Literal["step_chosen"] = "step_chosen"


@dataclass(frozen=True, slots=True)
class Contracted:
    """The last expansion (or, when that is too coarse, another axis) reduced to the target.

    target: in the unit of the run's cost. miss: share of it that stays unused.
    """

    step: int
    axis: str
    target: Target
    miss: float
    candidate: Candidate
    event: Literal["contracted"] = "contracted"


@dataclass(frozen=True, slots=True)
class RunFinished:
    """outcome: `target` reached, `limit` (no axis can move, or max_steps), or `failed`."""

    step: int
    outcome: Literal["target", "limit", "failed"]
    reason: str
    event: Literal["run_finished"] = "run_finished"


Event = (
    RunStarted | StepPlanned | TrialFinished | TrialFailed | StepChosen | Contracted | RunFinished
)
Decision = StepPlanned | StepChosen | Contracted | RunFinished


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def to_json(value: Any) -> str:
    """Canonical JSON of a record: sorted keys, no spaces, exact floats."""
    return json.dumps(asdict(value), sort_keys=True, separators=(",", ":"))


def from_json(kind: Any, text: str | bytes) -> Any:
    """The inverse of `to_json`; `kind` may be the union `Event`. Raises pydantic.ValidationError."""
    return _adapter(kind).validate_json(text, strict=True)
