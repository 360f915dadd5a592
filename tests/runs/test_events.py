"""What trials are called, and that they reach a worker as they left."""

from __future__ import annotations

import dataclasses
import json

import pytest

from expander.config.settings import DataConfig, Recipe
from expander.runs.events import from_json, to_json
from expander.runs.orders import TrialOrder
from expander.runs.trials import Trial, make_trial
from expander.specs.spec import Spec

SPEC = Spec(depth=2.2)


def test_a_trial_is_named_after_its_step_axis_seed_and_spec() -> None:
    trial = make_trial(3, "depth", SPEC, 0)
    assert trial == Trial(f"s03-depth-seed000-{SPEC.id}", 3, "depth", SPEC, 0, None)
    assert trial.folder == trial.id


def test_a_rung_is_named_after_its_last_step_and_shares_the_folder_of_its_training() -> None:
    whole, rung = make_trial(3, "depth", SPEC, 0), make_trial(3, "depth", SPEC, 0, until=150)
    assert rung.id == f"s03-depth-seed000-{SPEC.id}-to0150"
    assert rung.folder == make_trial(3, "depth", SPEC, 0, until=12_000).folder == whole.folder


@pytest.mark.parametrize("until", [None, 150])
def test_an_order_is_the_same_after_json_and_back(until: int | None) -> None:
    trial = make_trial(3, "depth", SPEC, 7, until)
    order = TrialOrder(trial, Recipe(), DataConfig(), ("a", "b"), "f00d", "/runs/x", 1)
    assert from_json(TrialOrder, to_json(order)) == order


def test_a_trial_that_knows_of_no_rungs_is_a_whole_one() -> None:
    plain = dataclasses.asdict(make_trial(1, "width", SPEC, 2))
    del plain["until"]
    assert from_json(Trial, json.dumps(plain)).until is None
