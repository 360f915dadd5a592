"""Warnings of networks that wait for their clips, and what helps."""

from __future__ import annotations

from expander.config.settings import DataConfig
from expander.runs.events import RunStarted
from expander.runs.machine import cores
from expander.runs.trials import TrialResult
from expander.training.timing.throughput import PATIENT_TRIALS

ENOUGH_STEPS = 20
"""Steps before anything is said of the loader: the first ones fill its queues."""
LESS_WORK = ("a larger --set data.cache_gb keeps decoded frames, expander data prepare makes copies that are "
             "quick to read")  # fmt: skip


def remedy(data: DataConfig, free: int) -> str:
    """What helps against a loader that is too slow. free: CPUs for the loaders of a training."""
    if data.workers < free:
        return f"--set data.workers={free} loads them in other processes, {LESS_WORK}"
    return f"all CPUs are busy already: {LESS_WORK}"


class TrialWaits:
    """How long the trials of a step waited for clips. parallel: trials at a time on a machine."""

    def __init__(self, start: RunStarted, parallel: int) -> None:
        self.start, self.parallel, self.warned = start, parallel, False
        self.trials: list[TrialResult] = []

    def add(self, result: TrialResult) -> None:
        """One more trial of the step. Of a few steps nothing can be said."""
        enough = ENOUGH_STEPS * self.start.problem.space.proxy.batch
        if result.data_wait is not None and result.clips >= enough:
            self.trials.append(result)

    def close(self, step: int) -> str:
        """The step is over: a warning if its trials waited for too long, the first time only; or nothing."""
        trials, self.trials = self.trials, []
        seconds = sum(trial.seconds for trial in trials)
        waited = sum(trial.seconds * (trial.data_wait or 0.0) for trial in trials)
        if self.warned or waited <= PATIENT_TRIALS * seconds:
            return ""
        self.warned = True
        # The network itself is trained by a GPU, or by the CPUs of its trial.
        own = 0 if any(trial.gpus for trial in trials) else self.start.backend.cpus_per_trial
        head = f"the trials of step {step} spent {waited / seconds:.0%} of their training waiting for clips"
        return f"warning: {head}; {remedy(self.start.data, cores() // self.parallel - own)}"
