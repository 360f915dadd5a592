"""A whole search on a cluster without training: the real decisions, trials of foretold length, drawn results.

Which axis wins, who ties and who is beaten at a rung is not known before. It is drawn, and the controller
of the search decides on it, so rounds, rungs, races and the last step are those of a search.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from expander.runs.events import Problem, RunFinished, StepChosen, StepPlanned, TrialFailed, TrialFinished
from expander.runs.evidence import pack_bits
from expander.runs.orders import recipe_of
from expander.runs.trials import Trial, TrialFailure, TrialResult
from expander.search.cluster_places import Ended, Places
from expander.search.controller import State, ask, tell
from expander.search.expansion import CostOf
from expander.search.forecast import TrainingSpeed

BASE, GAIN, SPREAD, SEEDS = 0.25, 0.05, 0.08, 0.08
"""Drawn accuracies: of the base; gained by a candidate, mean and deviation, about as in runs/reference; the
spread between seeds as a share of sqrt(p (1 - p)), as selection.seed_spread has it."""
VIDEOS, RESAMPLES = 1000, 200
"""At the most, of the drawn evidence: who ties hardly depends on more."""


@dataclass(frozen=True, slots=True)
class StepCost:
    """Of a step: trials trained, those that failed, wall seconds, seconds of places held, videos opened."""

    step: int
    kind: str
    trials: int = 0
    failed: int = 0
    seconds: float = 0.0
    held: float = 0.0
    opened: int = 0


def simulate(
    problem: Problem, cost_of: CostOf, pace: TrainingSpeed, places: Places, seed: int = 0
) -> tuple[StepCost, ...]:
    """The steps of one possible course of a search. pace: of a trial on a place; places: unused so far."""
    rule = replace(problem.selection, resamples=min(RESAMPLES, problem.selection.resamples))
    drawn = _Course(replace(problem, selection=rule), cost_of, pace, places, _Results(pace.videos, seed))
    return tuple(drawn.steps())


@dataclass
class _Results:
    """Draws what trainings give. Some videos are harder than others, for every network."""

    videos: int
    seed: int
    quality: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.videos = max(1, min(VIDEOS, self.videos))
        self.chance = np.random.default_rng(self.seed)
        self.hard = self.chance.standard_normal(self.videos)

    def of(self, trial: Trial, before: float, share: float) -> TrialResult:
        """before: accuracy of the spec that it grew from; share: of its training that is done."""
        name = f"{trial.step}-{trial.axis}"
        gain = self.chance.normal(GAIN, SPREAD) if trial.step else 0.0
        whole = self.quality.setdefault(name, before + gain)
        p = min(0.98, max(0.02, whole * math.sqrt(share)))
        p = min(0.98, max(0.02, p + self.chance.normal(0, SEEDS * math.sqrt(p * (1 - p)))))
        own: npt.NDArray[np.float64] = self.chance.standard_normal(self.videos)
        right = (self.hard + own) / math.sqrt(2) < NormalDist().inv_cdf(p)
        accuracy = float(right.mean())
        return TrialResult(trial.id, accuracy, 1 - accuracy, 1 - accuracy, self.videos,
                           pack_bits(right.tolist()), 0, 0.0)  # fmt: skip


class _Course:
    """One search; done: steps trained, by the folder of a trial; known: results of the same training."""

    def __init__(self, problem: Problem, cost_of: CostOf, pace: TrainingSpeed, places: Places,
                 results: _Results) -> None:  # fmt: skip
        self.problem, self.cost_of, self.pace = problem, cost_of, pace
        self.places, self.results = places, results
        self.state = State()
        self.done: dict[str, int] = {}
        self.known: dict[tuple[object, ...], TrialResult] = {}

    def steps(self) -> Iterator[StepCost]:
        now = StepCost(0, "base")
        begun = 0.0
        while step := ask(self.problem, self.state, self.cost_of):
            if isinstance(step, tuple):
                now = self._train(step, now)
                continue
            self.state = tell(self.state, step)
            if isinstance(step, StepPlanned):
                now, begun = StepCost(step.step, step.kind), self.places.now
            elif isinstance(step, StepChosen) or (isinstance(step, RunFinished) and step.outcome == "failed"):
                yield replace(now, seconds=self.places.now - begun)

    def _train(self, wanted: tuple[Trial, ...], now: StepCost) -> StepCost:
        """A round; what was trained before under another name is not trained again, as in a run."""
        keys = {self._key(trial): trial for trial in reversed(wanted)}
        new = [trial for trial in wanted if keys[self._key(trial)] is trial
               and self._key(trial) not in self.known]  # fmt: skip
        clips = [self._clips(trial) for trial in new]
        macs = [self.cost_of(trial.spec).macs for trial in new]
        seconds = [self.pace.seconds(self.problem, m, c) for m, c in zip(macs, clips, strict=True)]
        ends = dict(zip((trial.id for trial in new), self.places.run(seconds), strict=True))
        for trial in wanted:
            self._tell(trial, ends.get(trial.id))
        return replace(
            now,
            trials=now.trials + len(new),
            failed=now.failed + sum(not end.finished for end in ends.values()),
            held=now.held + sum(end.held for end in ends.values()),
            opened=now.opened + sum(clips) + len(new) * self.pace.videos,
        )

    def _tell(self, trial: Trial, end: Ended | None) -> None:
        found = self.known.get(self._key(trial))
        if (found is None) if end is None else not end.finished:
            lost = TrialFailure(trial.id, "its node was lost too often")
            self.state = tell(self.state, TrialFailed(trial.step, lost))
            return
        if found is None:
            before = self.state.accuracies[-1] if self.state.accuracies else BASE
            steps = recipe_of(trial, self.problem.space.proxy).steps
            found = self.results.of(trial, before, (trial.until or steps) / steps)
            self.known[self._key(trial)] = found
        self.state = tell(self.state, TrialFinished(trial.step, replace(found, trial=trial.id)))

    def _key(self, trial: Trial) -> tuple[object, ...]:
        return trial.spec, trial.seed, trial.until, trial.parent

    def _clips(self, trial: Trial) -> int:
        """Still to be trained: a rung goes on from the one before."""
        recipe = recipe_of(trial, self.problem.space.proxy)
        until = trial.until or recipe.steps
        steps = until - self.done.get(trial.folder, 0)
        self.done[trial.folder] = until
        return steps * recipe.batch
