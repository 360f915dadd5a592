"""PoolBackend: several trials at a time in processes of this machine, without Ray.

The processes live from step to step, so that torch is imported and kernels are loaded once.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace

import torch

from expander.backends.base import Report
from expander.backends.inline import outcome_of
from expander.config.settings import BackendConfig
from expander.runs.machine import cores
from expander.runs.orders import TrialOrder
from expander.runs.trials import TrialFailure, TrialResult
from expander.runs.workers import worker_pool
from expander.training.proxy.trial import OUT_OF_MEMORY, gpus_here

log = logging.getLogger(__name__)


def at_once(config: BackendConfig) -> int:
    """Trials at a time on this machine: what its cores, and its GPUs where there are any, have room for."""
    found = cores() // config.cpus_per_trial
    if torch.cuda.is_available() and config.gpus_per_trial != 0:
        found = min(found, int(torch.cuda.device_count() / (config.gpus_per_trial or 1)))
    return max(1, found)


class PoolBackend:
    """Runs as many trials at a time as there is room for. Where memory does not suffice: half as many."""

    def __init__(self, config: BackendConfig) -> None:
        self.config, self.places = config, at_once(config)
        wanted = config.gpus_per_trial
        self.gpus = gpus_here() if wanted is None else wanted * gpus_here()
        self.pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> PoolBackend:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def run(self, orders: Sequence[TrialOrder], report: Report) -> None:
        """See backends.base.Backend."""
        left = [replace(order, gpus=self.gpus) for order in orders]
        deaths = dict.fromkeys((order.trial.id for order in left), 0)
        while left:
            again = self._round(left, report)
            if again is None:
                return
            for order in again[: self.places]:  # one of those under way has ended its process
                deaths[order.trial.id] += 1
            dead = [order for order in again if deaths[order.trial.id] > self.config.max_failures]
            for order in dead:
                report(TrialFailure(order.trial.id, "its process died", gpus=order.gpus))
            left = [order for order in again if order not in dead]

    def _round(self, orders: list[TrialOrder], report: Report) -> list[TrialOrder] | None:
        """Those to be run again; none once the run was asked to stop."""
        pool = self._started()
        running: dict[Future[TrialResult | TrialFailure | None], TrialOrder] = {
            pool.submit(outcome_of, order): order for order in orders
        }
        crowded, stopped, again = [], False, list(orders)
        for done in as_completed(running):
            try:
                outcome = done.result()
            except BrokenProcessPool:
                self._end()
                break
            order = running[done]
            again.remove(order)
            if outcome is None:
                stopped = True
            elif isinstance(outcome, TrialFailure) and OUT_OF_MEMORY in outcome.reason and self.places > 1:
                crowded.append(order)
            else:
                report(outcome)
        return None if stopped else [*self._fewer(crowded), *again]

    def _fewer(self, crowded: list[TrialOrder]) -> list[TrialOrder]:
        """Half as many at a time from now on, if trials found no room."""
        if crowded:
            self.places //= 2
            log.warning("memory does not suffice for so many trials at a time: now %d", self.places)
            self._end()
        return crowded

    def _started(self) -> ProcessPoolExecutor:
        if self.pool is None:
            self.pool = worker_pool(self.places)
        return self.pool

    def _end(self) -> None:
        if self.pool is not None:
            self.pool.shutdown(wait=False, cancel_futures=True)
            self.pool = None
