"""RayBackend: trials as Ray Tune trials, one Tuner per step. The only file that imports ray.

The truth stays outside Ray, in the journal: an outcome reaches the engine as soon as its trial
reports, and what a crash left undone is simply launched again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from expander.backends.base import Report, last_lines
from expander.config import BackendConfig
from expander.errors import DataError, EnvironmentFault, ExpanderError
from expander.records import TrialFailure, TrialOrder, TrialResult, from_json, to_json
from expander.trial import run_trial

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_MAX_PENDING_TRIALS_PG": "64",
}
OBJECT_STORE = 200_000_000
"""Bytes: only settings and results pass through it, never clips."""

SCRATCH = "expander-"
"""Ray's files of a run lie in /tmp/expander-<pid>-*: Unix socket paths are limited to 107 bytes, so
not below a TMPDIR that may be long."""

Kinds = {"result": TrialResult, "failure": TrialFailure}


def _trainable(config: dict[str, Any]) -> None:
    """Runs in a Ray worker: an order in, one report out."""
    from ray import tune

    try:
        outcome = run_trial(from_json(TrialOrder, config["order"]))
    except ExpanderError as error:
        tune.report({"fault": f"{error} (on {os.uname().nodename})"})
        return
    kind = "result" if isinstance(outcome, TrialResult) else "failure"
    tune.report({"kind": kind, "outcome": to_json(outcome)})


class RayBackend:
    """A private Ray on this machine, or a cluster when an address is given."""

    def __init__(self, config: BackendConfig) -> None:
        self.config = config

    def __enter__(self) -> RayBackend:
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        _sweep()
        self.scratch = Path(tempfile.mkdtemp(prefix=f"{SCRATCH}{os.getpid()}-", dir="/tmp"))
        try:
            self._start()
        except Exception as error:
            shutil.rmtree(self.scratch, ignore_errors=True)
            if isinstance(error, ExpanderError):
                raise
            raise EnvironmentFault(f"Ray does not start: {last_lines(str(error), 1)}") from None
        return self

    def _start(self) -> None:
        local = self.config.address == "local"
        if local:
            os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        import ray

        options: dict[str, Any] = {"address": self.config.address, "log_to_driver": False}
        if local:
            options |= {
                "num_cpus": len(os.sched_getaffinity(0)),
                "include_dashboard": False,
                "object_store_memory": OBJECT_STORE,
                "_temp_dir": str(self.scratch / "ray"),
            }
        handler = signal.getsignal(signal.SIGTERM)
        ray.init(logging_level=logging.ERROR, **options)
        # Ray puts its own in place, which dies with a C++ stack trace.
        with contextlib.suppress(ValueError):  # only the main thread has handlers
            signal.signal(signal.SIGTERM, handler)
        resources = ray.cluster_resources()
        wanted = self.config.gpus_per_trial
        self.gpus = wanted if wanted is not None else min(1.0, resources.get("GPU", 0.0))
        if self.config.cpus_per_trial > resources.get("CPU", 0):
            has = int(resources.get("CPU", 0))
            raise EnvironmentFault(f"a trial asks for {self.config.cpus_per_trial} CPUs, Ray has {has}; "
                                   f"lower backend.cpus_per_trial")

    def __exit__(self, *_: object) -> None:
        import ray

        ray.shutdown()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def run(self, orders: Sequence[TrialOrder], report: Report) -> None:
        """See backends.base.Backend."""
        from ray import tune

        listener = _listener(report)
        texts = [to_json(order) for order in orders]
        trainable = tune.with_resources(
            _trainable, {"cpu": self.config.cpus_per_trial, "gpu": self.gpus}
        )
        tuner = tune.Tuner(
            trainable,
            param_space={"order": tune.grid_search(texts)},
            tune_config=tune.TuneConfig(trial_dirname_creator=_trial_name, reuse_actors=True),
            run_config=tune.RunConfig(
                storage_path=str(self.scratch / "tune"),
                name=f"step{orders[0].trial.step:02d}",
                verbose=0,
                callbacks=[listener],
                failure_config=tune.FailureConfig(max_failures=self.config.max_failures),
            ),
        )
        tuner.fit()
        if listener.fault:
            raise DataError(listener.fault)
        for order in orders:
            if order.trial.id not in listener.seen:
                report(TrialFailure(order.trial.id, "no result from its Ray worker"))


def _sweep() -> None:
    """Deletes what processes that were killed have left behind."""
    for folder in Path("/tmp").glob(f"{SCRATCH}[0-9]*-*"):
        pid = int(folder.name.split("-")[1])
        if not Path(f"/proc/{pid}").exists():
            shutil.rmtree(folder, ignore_errors=True)


def _trial_name(trial: Any) -> str:
    order: TrialOrder = from_json(TrialOrder, trial.config["order"])
    return order.trial.id


def _listener(report: Report) -> Any:
    """A Tune callback that passes outcomes on the moment they arrive in this process."""
    from ray.tune import Callback

    class Listener(Callback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.seen: set[str] = set()
            self.fault = ""

        def on_trial_result(self, *_: Any, trial: Any, result: Any, **__: Any) -> None:
            if "outcome" in result and _trial_name(trial) not in self.seen:
                self.seen.add(_trial_name(trial))
                report(from_json(Kinds[result["kind"]], result["outcome"]))
            self.fault = self.fault or result.get("fault", "")

        def on_trial_error(self, *_: Any, trial: Any, **__: Any) -> None:
            name = _trial_name(trial)
            if name not in self.seen:
                self.seen.add(name)
                report(TrialFailure(name, _cause(trial)))

    return Listener()


def _cause(trial: Any) -> str:
    path = trial.error_file
    text = Path(path).read_text(errors="replace") if path and Path(path).is_file() else "unknown"
    return last_lines(text)
