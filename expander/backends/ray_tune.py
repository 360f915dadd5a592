"""RayBackend: trials as Ray Tune trials, one Tuner per step.

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
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from expander.backends.base import Report, last_lines, require_ray
from expander.backends.processes import Watch, kill
from expander.backends.ray_scratch import Scratch, sweep
from expander.backends.ray_warnings import Warnings, written
from expander.backends.stored_trial import at_hand
from expander.backends.trackers import callbacks, told
from expander.config.settings import BackendConfig
from expander.errors import EnvironmentFault, ExpanderError
from expander.kernels.allocator import ONE_HEAP
from expander.runs.events import from_json, to_json
from expander.runs.machine import cores, end_with_parent
from expander.runs.names import below
from expander.runs.orders import TrialOrder
from expander.runs.trials import TrialFailure, TrialResult
from expander.training.proxy.trial import Stopped, run_trial
from expander.training.proxy.trial_folder import Keep
from expander.video.filenames import one_line

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

LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"} | (
    {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {})  # fmt: skip
"""By what Ray takes 127.0.0.1 for the address of this machine, as by itself on macOS, and gloo does too."""
TOKEN = secrets.token_hex(32)
"""Of the private Ray. One a process: Ray reads it once, however often it is started."""


def _trainable(config: dict[str, Any]) -> None:
    """Runs in a Ray worker: an order in, one report out."""
    from ray import tune

    end_with_parent()
    order = from_json(TrialOrder, config["order"])
    try:
        with at_hand(order) as (here, keep):
            outcome = _run(here, keep)
            rows = list(told(here, outcome)) if config["log"] else []
    except ExpanderError as error:
        tune.report({"fault": f"{error} (on node {os.uname().nodename})", "code": error.exit_code})
        return
    except Stopped:
        tune.report({"stopped": True})
        return
    kind = "result" if isinstance(outcome, TrialResult) else "failure"
    for row in rows:
        tune.report(row)
    tune.report({"kind": kind, "outcome": to_json(outcome)})


def _run(order: TrialOrder, keep: Keep) -> TrialResult | TrialFailure:
    trials = Path(order.folder) / "trials"
    if not trials.is_dir():
        raise EnvironmentFault(f"{trials}: not there; --storage-path must be a folder that all nodes share, "
                               "or an address in a store")  # fmt: skip
    with written(below(trials, order.trial.folder)):
        return run_trial(order, keep)


class RayBackend:
    """A private Ray on this machine, or a cluster by its address; it starts with the first trial."""

    def __init__(self, config: BackendConfig) -> None:
        self.config = config
        self.local = config.address == "local"
        self.own: Scratch | None = None
        self.scratch: Path | None = None
        self.watch: Watch | None = None
        self.recording = threading.Lock()

    def __enter__(self) -> RayBackend:
        require_ray()
        for name, value in (*QUIET.items(), ONE_HEAP):
            os.environ.setdefault(name, value)
        sweep()
        return self

    def start(self, folder: Path, command: str = "search") -> Path:
        """Starts Ray for the run of a folder; where its files may go. Raises EnvironmentFault."""
        self.again = f"expander {command} --run {folder.name} --resume"
        if self.local:
            self.own = Scratch()
            self.scratch = self.own.folder
        else:  # where the other nodes see it too
            self.scratch = folder / "ray"
        try:
            self._init(self.scratch)
        except ExpanderError:
            raise
        except Exception as error:
            raise EnvironmentFault(f"Ray does not start: {last_lines(str(error), 1)}") from None
        return self.scratch

    def _init(self, scratch: Path) -> None:
        if self.local:
            os.environ |= {"RAY_AUTH_TOKEN": TOKEN, **LOOPBACK}
        import ray
        from ray._private import ray_constants

        # It is read once, when Ray is imported: a program may have done that, or used a cluster before.
        ray_constants.ENABLE_RAY_CLUSTER = not self.local

        options: dict[str, Any] = {"address": self.config.address, "log_to_driver": False}
        if self.local:
            options |= {
                "num_cpus": cores(),
                "include_dashboard": False,
                "object_store_memory": OBJECT_STORE,
                "_temp_dir": str(scratch / "ray"),
            }
        handler = signal.getsignal(signal.SIGTERM)
        ray.init(logging_level=logging.ERROR, **options)
        # Tune prints the traceback of every worker that dies; ray_listener tells it in a line.
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        # Ray puts its own in place, which dies with a C++ stack trace.
        with contextlib.suppress(ValueError):  # only the main thread has handlers
            signal.signal(signal.SIGTERM, handler)
        address = ray.get_runtime_context().gcs_address
        self.watch = Watch(("raylet", "gcs_server") if self.local else (), address, self._lost)
        wanted = self.config.gpus_per_trial
        self.gpus = wanted if wanted is not None else min(1.0, ray.cluster_resources().get("GPU", 0.0))
        if lacking := self._lacking():
            raise EnvironmentFault(f"no node of Ray can run a trial: {lacking}")

    def _lacking(self) -> str:
        """Why no node can run a trial; empty when one can. Tune would wait for ever."""
        import ray

        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        for kind, wanted in (("GPU", self.gpus), ("CPU", self.config.cpus_per_trial)):
            most = max((node.get(kind, 0.0) for node in nodes), default=0.0)
            if wanted > most:
                key = f"backend.{kind.lower()}s_per_trial"
                return f"it asks for {wanted:g} {kind}s, the largest node has {most:g}; lower {key}"
        return ""

    def _lost(self, what: str) -> None:
        """Ends this process: calls into Ray hang or abort once a part of it is gone."""
        self.recording.acquire(timeout=5)  # an event that is being written is finished
        message = f"error: Ray broke off: {what} is gone; nothing finished is lost, go on with: {self.again}"
        sys.stderr.write(f"{one_line(message)}\n")
        sys.stderr.flush()
        if self.watch is not None:
            kill(self.watch.below)
        self._clean()
        os._exit(EnvironmentFault.exit_code)

    def _clean(self) -> None:
        if self.own is not None:
            self.own.delete()
        elif self.scratch is not None:
            shutil.rmtree(self.scratch, ignore_errors=True)

    def __exit__(self, *_: object) -> None:
        if self.scratch is None:
            return
        import ray

        if self.watch is not None:
            self.watch.close()
            if not all(process.alive for process in self.watch.needed):
                self._lost("a part of it")
        ray.shutdown()
        self._clean()

    def run(self, orders: Sequence[TrialOrder], report: Report) -> None:
        """See backends.base.Backend."""
        if self.scratch is None:
            self.start(Path(orders[0].folder))
        from expander.backends.ray_events import Listener

        def recorded(outcome: TrialResult | TrialFailure) -> None:
            with self.recording:
                report(outcome)

        listener, warnings = Listener(recorded), Warnings(Path(orders[0].folder) / "trials")
        try:
            self._tuner(orders, listener, warnings).fit()
        except Exception as error:
            if listener.fault is None:
                reason = last_lines(str(error), 1)
                raise EnvironmentFault(f"Ray broke off: {reason}; go on with: {self.again}") from None
        finally:
            warnings.tell()
        if listener.fault is not None:
            raise listener.fault
        for order in orders:
            if order.trial.id not in listener.seen and not listener.stopped:
                report(TrialFailure(order.trial.id, "no result from its Ray worker"))

    def _tuner(self, orders: Sequence[TrialOrder], listener: Any, warnings: Warnings) -> Any:
        from ray import tune

        from expander.backends.ray_events import Over, trial_name

        texts = [to_json(replace(order, gpus=self.gpus)) for order in orders]
        trainable = tune.with_resources(
            _trainable, {"cpu": self.config.cpus_per_trial, "gpu": self.gpus}
        )
        return tune.Tuner(
            trainable,
            param_space={"order": tune.grid_search(texts), "log": bool(self.config.log)},
            tune_config=tune.TuneConfig(
                trial_name_creator=trial_name, trial_dirname_creator=trial_name, reuse_actors=True
            ),
            run_config=tune.RunConfig(
                storage_path=str(self.scratch / "tune") if self.scratch else None,
                name=f"step{orders[0].trial.step:02d}-{secrets.token_hex(4)}",
                verbose=0,
                callbacks=[listener, *callbacks(self.config.log, Path(orders[0].folder))],
                stop=Over(listener, self._lacking, warnings),
                failure_config=tune.FailureConfig(max_failures=self.config.max_failures),
            ),
        )
