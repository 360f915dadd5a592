"""RayBackend: trials as Ray Tune trials, one Tuner per step. Only this file and tracking.py import ray.

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
from expander.backends.tracking import callbacks, told
from expander.config import BackendConfig
from expander.errors import DataError, EnvironmentFault, ExpanderError, TargetError, UsageError
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

SCRATCH = "expander-ray-"
"""Ray's files of a run lie in /tmp/expander-ray-<pid>-*: Unix socket paths are limited to 107 bytes, so
not below a TMPDIR that may be long."""

FAULTS = {kind.exit_code: kind for kind in (UsageError, DataError, TargetError, EnvironmentFault)}
Kinds = {"result": TrialResult, "failure": TrialFailure}


def _trainable(config: dict[str, Any]) -> None:
    """Runs in a Ray worker: an order in, one report out."""
    from ray import tune

    order = from_json(TrialOrder, config["order"])
    try:
        outcome = run_trial(order)
    except ExpanderError as error:
        tune.report({"fault": f"{error} (on {os.uname().nodename})", "code": error.exit_code})
        return
    kind = "result" if isinstance(outcome, TrialResult) else "failure"
    for row in told(order, outcome) if config["log"] else ():
        tune.report(row)
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
        self._require("CPU", self.config.cpus_per_trial, resources, "backend.cpus_per_trial")
        self._require("GPU", self.gpus, resources, "backend.gpus_per_trial")

    def _require(self, kind: str, wanted: float, resources: dict[str, float], key: str) -> None:
        # Tune would wait for ever for what no node has.
        if wanted > (has := resources.get(kind, 0.0)):
            raise EnvironmentFault(f"a trial asks for {wanted:g} {kind}s, Ray has {has:g}; lower {key}")

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
            param_space={"order": tune.grid_search(texts), "log": bool(self.config.log)},
            tune_config=tune.TuneConfig(
                trial_name_creator=_trial_name, trial_dirname_creator=_trial_name, reuse_actors=True
            ),
            run_config=tune.RunConfig(
                storage_path=str(self.scratch / "tune"),
                name=f"step{orders[0].trial.step:02d}",
                verbose=0,
                callbacks=[listener, *callbacks(self.config.log, Path(orders[0].folder))],
                stop=_stopper(listener),
                failure_config=tune.FailureConfig(max_failures=self.config.max_failures),
            ),
        )
        try:
            tuner.fit()
        except Exception as error:
            if listener.fault is None:
                reason = last_lines(str(error), 1)
                raise EnvironmentFault(f"Ray broke off: {reason}; --resume goes on") from None
        if listener.fault is not None:
            raise listener.fault
        for order in orders:
            if order.trial.id not in listener.seen:
                report(TrialFailure(order.trial.id, "no result from its Ray worker"))


def _sweep() -> None:
    """Deletes what processes that were killed have left behind."""
    for folder in Path("/tmp").glob(f"{SCRATCH}*-*"):
        pid = folder.name.removeprefix(SCRATCH).split("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
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
            self.fault: ExpanderError | None = None

        def on_trial_result(self, *_: Any, trial: Any, result: Any, **__: Any) -> None:
            if "outcome" in result:
                self.pass_on(_trial_name(trial), from_json(Kinds[result["kind"]], result["outcome"]))
            elif "fault" in result:
                self.fault = self.fault or FAULTS.get(result["code"], ExpanderError)(result["fault"])

        def on_trial_error(self, *_: Any, trial: Any, **__: Any) -> None:
            name = _trial_name(trial)
            self.pass_on(name, TrialFailure(name, _cause(trial)))

        def pass_on(self, name: str, outcome: TrialResult | TrialFailure) -> None:
            if name in self.seen or self.fault is not None:
                return
            self.seen.add(name)
            try:
                report(outcome)
            except ExpanderError as error:  # kept from Tune, which would wrap it in a traceback
                self.fault = error

    return Listener()


def _stopper(listener: Any) -> Any:
    """Ends the step as soon as the listener has a fault: the run stops, its trials need not go on."""
    from ray.tune import Stopper

    class OnFault(Stopper):  # type: ignore[misc]
        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:  # noqa: ARG002
            return False

        def stop_all(self) -> bool:
            return listener.fault is not None

    return OnFault()


def _cause(trial: Any) -> str:
    path = trial.error_file
    text = Path(path).read_text(errors="replace") if path and Path(path).is_file() else "unknown"
    return last_lines(text)
