"""Baselines: at the cost of the search's last spec, within the limits; trained with its seeds, once."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Run as Call
from conftest import Searched
from hypothesis import given, settings
from hypothesis import strategies as st
from searches import problem

from expander.config.ceilings import Ceilings
from expander.config.settings import Selection
from expander.config.space import load_space
from expander.runs.events import Candidate, Problem, Rejection, SourceLimits
from expander.runs.trials import TrialResult
from expander.search.baselines import SHORTFALL, compound, random, single_axis
from expander.search.selection import difference
from expander.specs.cost import cost
from expander.specs.spec import AXES

LIMITS = SourceLimits(300, 320)


def x3d(**changes: object) -> Problem:
    return replace(problem(space=load_space("x3d"), limits=LIMITS), **changes)


@settings(deadline=None, derandomize=True, max_examples=15)
@given(gflops=st.floats(0.05, 5), seed=st.integers(0, 100))
def test_every_baseline_stays_within_the_cost_the_space_and_the_videos(gflops: float, seed: int) -> None:
    given_, budget = x3d(), gflops * 1e9
    found = [*compound(given_, budget, cost), *single_axis(given_, budget, cost),
             *random(given_, budget, cost, 2, seed)]  # fmt: skip
    for each in found:
        if isinstance(each, Rejection):
            assert "of the cost within its limits" in each.reason
            continue
        assert each.cost == cost(each.spec)
        assert (1 - SHORTFALL) * budget <= each.cost.macs <= budget
        assert each.spec.duration <= LIMITS.frames
        assert each.spec.crop <= LIMITS.short_side
        assert all(getattr(each.spec, axis) <= rule.limit for axis, rule in given_.space.axes.items())


def test_compound_and_random_specs_use_nearly_all_of_the_cost() -> None:
    for gflops in (0.1, 0.6, 2.0):
        for each in (*compound(x3d(), gflops * 1e9, cost), *random(x3d(), gflops * 1e9, cost, 3, 0)):
            assert isinstance(each, Candidate)
            assert each.cost.macs > 0.95 * gflops * 1e9


def test_compound_grows_every_axis_and_a_single_axis_only_itself() -> None:
    both = compound(x3d(), 2e9, cost)[0]
    assert isinstance(both, Candidate)
    assert all(getattr(both.spec, axis) > 1.2 for axis in AXES)
    for each in single_axis(x3d(), 0.06e9, cost):
        if isinstance(each, Candidate):
            grown = [axis for axis in AXES if getattr(each.spec, axis) != 1]
            assert [f"only_{axis}" for axis in grown] == [each.axis]


def test_an_axis_that_cannot_make_up_the_cost_alone_is_left_out() -> None:
    """Eight times the frames are at the most eight times the cost."""
    found = {each.axis: each for each in single_axis(x3d(), 2e9, cost)}
    assert isinstance(found["only_temporal"], Rejection)


def test_baselines_keep_the_limits_of_the_search_on_other_costs() -> None:
    most = Ceilings(params=cost(load_space("x3d").start).params)
    found = {each.axis: each for each in single_axis(x3d(ceilings=most), 0.06e9, cost)}
    assert isinstance(found["only_bottleneck"], Rejection)
    assert "the limit is 1.634 M parameters" in found["only_bottleneck"].reason


def test_random_specs_are_the_same_for_the_same_seed_and_differ_within_it() -> None:
    first, again, other = (random(x3d(), 1e9, cost, 3, seed) for seed in (0, 0, 1))
    assert first == again != other
    assert len({str(each) for each in first}) == 3


def test_a_gain_is_the_difference_of_means_over_all_seeds_which_narrow_it() -> None:
    """Of 40 videos: all right against none in the second of two seeds, equal in the first."""
    def result(right: str) -> TrialResult:
        return TrialResult("t", 0.5, 1.0, 1.0, 40, right, 1, 1.0)

    full, none, half = "f" * 10, "0" * 10, "f" * 5 + "0" * 5
    rule = Selection(seeds=2)
    for ours in ([result(full)], [result(full)] * 2):
        gain, low, high = difference(ours, [[result(full), result(none)]], rule, (0,))
        assert gain == 0.5
        assert low < 0
        assert high > 1
    # The same videos right: all that is left is the stated spread between seeds, s √(1/n + 1/m).
    (_, one, _), (_, four, _) = (difference([result(half)] * n, [[result(half)]], rule, (0,)) for n in (1, 4))
    assert one / four == pytest.approx((2 / 1.25) ** 0.5, rel=0.08)


@pytest.mark.slow
def test_a_run_is_compared_with_baselines_and_contracted_with_training(
    expander: Call, searched: Searched, tmp_path: Path
) -> None:
    folder = searched.copied(tmp_path / "runs" / "m")
    first = expander("baseline", "m", "--kind", "random", "--count", "2", "--backend", "inline")
    assert first.returncode == 0, first.stderr
    assert "search gained" in first.stdout
    rows = [json.loads(line) for line in (folder / "baselines.jsonl").read_text().splitlines()]
    assert [(row["kind"], row["name"], row["seed"]) for row in rows] == [
        ("found again", "found", 3), ("random", "random1", 0), ("random", "random2", 0)
    ]  # fmt: skip
    final = json.loads(expander("cost", "m:final", "--json").stdout)["macs"]
    assert all(row["cost"]["macs"] <= final == row["target"] for row in rows)
    shutil.rmtree(folder / "trials")  # what was trained is in the file, and is not trained again
    again = expander("baseline", "m", "--kind", "random", "--count", "2", "--backend", "inline")
    assert again.stdout == first.stdout
    assert not (folder / "trials").exists()
    more = ("--kind", "random", "--count", "1", "--seeds", "2", "--backend", "inline")
    assert expander("baseline", "m", *more).returncode == 0
    added = [json.loads(line) for line in (folder / "baselines.jsonl").read_text().splitlines()][3:]
    assert [(row["name"], row["seed"]) for row in added] == [("found", 4), ("random1", 1)]

    options = ["contract", "m", "--target-gflops", "0.0003"]
    done = expander(*options, "--axis", "all", "--train", "--backend", "inline")
    assert done.returncode == 0, done.stderr
    tried = [json.loads(line) for line in (folder / "contractions.jsonl").read_text().splitlines()]
    assert {row["kind"] for row in tried} == {"contraction"}
    assert len(tried) > 1
    assert all(row["cost"]["macs"] <= 300_000 for row in tried)
    listed = json.loads(expander(*options, "--axis", "all", "--json").stdout)
    assert len(listed) == len(tried)
    assert not any(row["chosen"] for row in listed)
    names = {path.name for path in (folder / "specs").glob("contracted-*.yaml")}
    assert {f"contracted-0.0003-{row['axis']}.yaml" for row in listed} < names
