"""What a search says of trials that wait for their clips: once, with what helps."""

from __future__ import annotations

from dataclasses import replace

from searches import began, problem

from expander.cli.output.data_wait import TrialWaits
from expander.config.settings import DataConfig
from expander.runs.machine import cores
from expander.runs.trials import TrialResult

START = began(problem())
BATCH = START.problem.space.proxy.batch


def trial(seconds: float, waited: float | None, steps: int = 20, gpus: float = 0.0) -> TrialResult:
    return TrialResult("t", 0.5, 1.0, 1.0, 4, "c", clips=steps * BATCH, seconds=seconds, gpus=gpus,
                       data_wait=waited)  # fmt: skip


def told(waits: TrialWaits, *trials: TrialResult, step: int = 1) -> str:
    for one in trials:
        waits.add(one)
    return waits.close(step)


def test_the_share_is_that_of_the_time_and_is_told_once() -> None:
    """30 s of which 80 % were waited for and 10 s with 20 %: 26 of 40 s."""
    waits = TrialWaits(START, parallel=1)
    assert told(waits, trial(30, 0.4), trial(10, 0.4), step=1) == ""  # no more than what is borne
    line = told(waits, trial(30, 0.8), trial(10, 0.2), step=2)
    assert line.startswith("warning: the trials of step 2 spent 65% of their training waiting for clips; ")
    assert told(waits, trial(30, 0.8), step=3) == ""


def test_a_few_steps_and_trials_that_did_not_measure_it_say_nothing() -> None:
    waits = TrialWaits(START, parallel=1)
    assert told(waits, trial(30, 0.9, steps=19), trial(10, None)) == ""
    assert told(waits) == ""


def test_cpus_that_train_are_not_free_to_load() -> None:
    """With a GPU each, two trials at a time have half of the CPUs for their loaders."""
    half = cores() // 2 or 1
    parallel = cores() // half
    line = told(TrialWaits(START, parallel), trial(10, 0.9, gpus=1))
    assert f"clips; --set data.workers={half} loads them in other processes, a larger" in line
    trains = replace(START, backend=replace(START.backend, cpus_per_trial=half))
    line = told(TrialWaits(trains, parallel), trial(10, 0.9))
    assert "clips; all CPUs are busy already: a larger --set data.cache_gb keeps decoded frames" in line
    loads = replace(START, data=DataConfig(workers=half))
    assert "all CPUs are busy already" in told(TrialWaits(loads, parallel), trial(10, 0.9, gpus=1))
