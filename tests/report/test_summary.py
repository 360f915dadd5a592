"""The first lines of a page: what a search gained over baselines, with an interval."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from searches import EXACT, VIDEOS, outcome, problem, search

from expander.engine.comparisons import BASELINES, ComparisonTrial
from expander.report.reader import history
from expander.report.summary import headline
from expander.runs.events import to_json
from expander.runs.journal import Run
from expander.runs.sealed_lines import SealedLines
from expander.runs.trials import Trial
from expander.search.controller import replay
from expander.specs.cost import cost


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A finished search."""
    run = Run(tmp_path / "r")
    run.create()
    for event in search(problem(target=3, selection=replace(EXACT, resamples=4000))):
        run.append(event)
    return run


def beside(run: Run, kind: str, accuracy: float, number: int, share: float = 1.0) -> None:
    """Adds a baseline of a kind: of about the found network's cost, or of a share of it."""
    spec = replay(run.events()).path[-1].spec
    spec = replace(spec, bottleneck=spec.bottleneck * share * (1 + number / 50))
    result = outcome(Trial(f"{kind}{number}", 9, kind, spec, 0), accuracy)
    tried = ComparisonTrial(kind, f"{kind}{number}", 1.0, spec, cost(spec), 0, result)
    SealedLines(run.folder / BASELINES, "a trial").append('{"schema": 3,' + to_json(tried)[1:])


def test_a_search_is_compared_with_the_mean_of_the_random_networks_of_its_cost(run: Run) -> None:
    """Nested videos: of the difference to the mean of two, only the videos between them are uncertain."""
    found = replay(run.events()).accuracies[-1]
    right = round(found * VIDEOS)
    low, high = (right - 60) / VIDEOS, (right - 20) / VIDEOS
    for number, accuracy in enumerate((low, high, 0.99)):
        beside(run, "random", accuracy, number, share=4.0 if accuracy == 0.99 else 1.0)
    (line,) = headline(history(run)).gain
    assert f"the mean of 2 random networks within 15% of its cost ({(low + high) / 2:.1%})" in line
    assert f"the best of them has {high:.1%}" in line
    # Per video the difference is 1 on 20 videos, 1/2 on 40, else 0.
    mean = (20 + 40 / 2) / VIDEOS
    error = math.sqrt(((20 + 40 / 4) / VIDEOS - mean**2) / VIDEOS)
    said = re.match(r"\+([\d.]+) points \[\+([\d.]+), \+([\d.]+)\] against", line)
    assert said is not None
    lead, bottom, top = (float(number) / 100 for number in said.groups())
    assert lead == pytest.approx(mean, abs=0.0006)
    assert (bottom, top) == pytest.approx((mean - 1.96 * error, mean + 1.96 * error), abs=0.15 * error)


def test_a_lead_within_the_noise_is_called_a_tie(run: Run) -> None:
    beside(run, "compound", replay(run.events()).accuracies[-1], 0)
    (line,) = headline(history(run)).gain
    assert line.startswith("+0.0 points [+0.0, +0.0], a tie, against the compound network within 15%")


def test_baselines_of_other_costs_are_not_compared(run: Run) -> None:
    beside(run, "compound", 0.3, 0, share=4.0)
    assert headline(history(run)).gain == ("no baseline lies within 15% of the final cost",)
