"""A race against a fixed number of seeds, on synthetic candidates whose true accuracies are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from searches import EXACT, problem

from expander.config.settings import Selection
from expander.runs.events import Candidate, StepPlanned
from expander.runs.trials import Trial, TrialResult
from expander.search.racing import play
from expander.search.selection import Outcome
from expander.specs.cost_kinds import Cost
from expander.specs.spec import AXES, Spec

RUNS, VIDEOS, MOST = 500, 400, 12
RULE = replace(EXACT, score="accuracy", seeds=2, max_seeds=MOST, resamples=100)
FROM_ONE = replace(RULE, seeds=1, seed_spread=0.06)
"""One training says nothing of the spread between trainings: the stated one does, until a tie has more."""
MEANS = (0.60, 0.56, 0.53, 0.50, 0.48, 0.45)
SEED_NOISE = 0.03
"""Deviation of a candidate's true accuracy from seed to seed, as the trainings of the tiny space have."""

PLANNED = StepPlanned(
    1, "expansion",
    tuple(Candidate(axis, Spec().with_factor(axis, 2), Cost(2000, 500, 100), 2.0) for axis in AXES),
)  # fmt: skip


def draw(rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """(arms, seeds, videos) of right answers: videos are hard or easy for all, and a little for each."""
    hard = rng.normal(0, 1.0, VIDEOS) + rng.normal(0, 0.3, (len(MEANS), 1, VIDEOS))
    means = np.asarray(MEANS)[:, None] + rng.normal(0, SEED_NOISE, (len(MEANS), MOST))
    # A probit: the mean over videos of deviation sqrt(1.09) is the wanted one.
    level = np.vectorize(_quantile)(means)[..., None] * np.sqrt(1 + 1.09)
    return level - hard + rng.normal(0, 1, (len(MEANS), MOST, VIDEOS)) > 0


def _quantile(share: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(min(max(share, 1e-3), 1 - 1e-3))


def _result(trial: Trial, right: npt.NDArray[np.bool_]) -> TrialResult:
    mean = float(right.mean())
    return TrialResult(trial.id, mean, 1 - mean, 1.0, VIDEOS, np.packbits(right).tobytes().hex(), 1, 1.0)


def race(rule: Selection, right: npt.NDArray[np.bool_]) -> tuple[int, bool, int]:
    """The arm that a race chooses, whether beyond doubt, and the trials it took."""
    given, outcomes = replace(problem(), selection=rule), dict[str, Outcome]()
    while True:
        missing, standings, _ = play(given, PLANNED, outcomes, ())
        if not missing:
            decided = not any(standing.tied for standing in standings)
            return AXES.index(standings[0].axis), decided, len(outcomes)
        for trial in missing:
            outcomes[trial.id] = _result(trial, right[AXES.index(trial.axis), trial.seed])


@pytest.mark.slow
@pytest.mark.parametrize("rule", [RULE, FROM_ONE], ids=["from two seeds", "from one"])
def test_a_race_errs_no_more_than_stated_and_halves_the_trials(
    rule: Selection, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    fixed = np.zeros(MOST + 1)
    wrong = wrong_decided = decided = spent = 0
    for _ in range(RUNS):
        right = draw(rng)
        arm, sure, trials = race(rule, right)
        wrong += arm != 0
        wrong_decided += sure and arm != 0
        decided += sure
        spent += trials
        for seeds in range(1, MOST + 1):
            fixed[seeds] += right[:, :seeds].mean((1, 2)).argmax() != 0
    as_good = next((n for n in range(1, MOST + 1) if fixed[n] <= wrong), MOST + 1)
    with capsys.disabled():
        print(f"\nrace: {wrong / RUNS:.1%} wrong ({wrong_decided / RUNS:.1%} of it beyond doubt), "
              f"{decided / RUNS:.0%} decided, {spent / RUNS:.1f} trials a step; fixed seeds "
              f"{', '.join(f'{n}: {fixed[n] / RUNS:.1%}' for n in range(1, MOST + 1))}: as good with "
              f"{as_good} seeds, {as_good * len(MEANS)} trials")  # fmt: skip
    assert wrong <= (1 - rule.confidence) * RUNS
    assert spent / RUNS <= as_good * len(MEANS) / 2
