"""A training in several processes: Ray Train's TorchTrainer, gloo on CPUs, NCCL on GPUs.

Ray starts the processes, makes them a process group and starts all of them again when one dies; what is
trained, and where it goes on from, is fitting's business and lies in the training's folder, which must
be at the same path on every node.
"""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from expander.backends.base import last_lines
from expander.backends.ray_tune import RayBackend
from expander.backends.worker_files import PERIOD, Teller, followed
from expander.errors import KINDS, EnvironmentFault, ExpanderError
from expander.runs.events import from_json, to_json
from expander.runs.machine import end_with_parent
from expander.training.distributed import Workers
from expander.training.trainer import Watcher, fit
from expander.training.training_folder import Training, TrainingFolder

TOLD = "expander-fault:"
"""Before the exit code and the line of an error for people, in what comes back from a process."""


def _worker(order: dict[str, str]) -> None:
    """Runs in every Ray process."""
    import ray.train
    import ray.train.torch
    import torch

    end_with_parent()
    training, folder = from_json(Training, order["training"]), TrainingFolder(Path(order["folder"]))
    context = ray.train.get_context()
    # A process without a GPU of its own would be given the machine's first one.
    device = torch.device("cpu")
    if training.gpus:
        device = ray.train.torch.get_device()
        torch.cuda.set_device(device)  # kernels of our own start on the current one
    team = Workers(context.get_world_rank(), context.get_world_size(), device)
    teller = Teller(folder)
    try:
        fit(training, folder, team, teller if team.leads else None, teller.stop)
    except ExpanderError as error:
        raise RuntimeError(f"{TOLD}{error.exit_code}:{error}") from None


def fit_together(training: Training, folder: TrainingFolder, watcher: Watcher,
                 stop: Callable[[], bool] = lambda: False) -> Training:  # fmt: skip
    """Trains to the end, or until `stop` says so, in training.workers processes. Raises the errors of
    fitting.fit, and EnvironmentFault when Ray does not start or breaks off."""
    order = {"training": to_json(training), "folder": str(folder.folder.resolve())}
    config = replace(training.backend, gpus_per_trial=1.0 if training.gpus else 0.0)
    with RayBackend(config) as backend, followed(folder, watcher), warnings.catch_warnings():
        # Ray Train reads settings of Ray Data that Ray itself calls deprecated.
        warnings.simplefilter("ignore")
        scratch = backend.start(folder.folder, "train")
        if not stop():
            _run(_trainer(order, training, str(scratch / "train")), folder, stop)
    ended = folder.read()
    if ended.state == "running":  # stopped before its processes had begun
        ended = replace(ended, state="stopped", reason="interrupted")
        folder.write(ended)
    return ended


def _run(trainer: Any, folder: TrainingFolder, stop: Callable[[], bool]) -> None:
    """Trains, and asks the first process to stop when `stop` says so."""
    faults: list[Exception] = []

    def work() -> None:
        try:
            trainer.fit()
        except Exception as error:
            faults.append(error)

    # Not in the main thread: there Ray would take SIGINT for itself and end the processes at once.
    thread = threading.Thread(target=work, name="trainer", daemon=True)
    thread.start()
    while thread.is_alive():
        if stop():
            with contextlib.suppress(OSError):  # a folder that is gone is told by whoever needs it
                folder.stop.touch()
        thread.join(PERIOD)
    if faults:
        raise _fault(faults[0]) from None


def _trainer(order: dict[str, str], training: Training, storage: str) -> Any:
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    each = {"CPU": training.backend.cpus_per_trial, **({"GPU": 1} if training.gpus else {})}
    return TorchTrainer(
        _worker,
        train_loop_config=order,
        # What a process tells of itself, rather than of its gradients, goes by the CPU in both.
        torch_config=TorchConfig(backend="cpu:gloo,cuda:nccl" if training.gpus else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=training.workers, use_gpu=training.gpus, resources_per_worker=each
        ),
        run_config=RunConfig(
            name="train",
            storage_path=storage,
            failure_config=FailureConfig(max_failures=training.backend.max_failures),
        ),
    )


def _fault(error: Exception) -> ExpanderError:
    """What a process said, or that Ray broke off."""
    text = str(error)
    if TOLD in text:
        code, _, line = text.split(TOLD, 1)[1].partition(":")
        return KINDS.get(int(code), ExpanderError)(line.splitlines()[0])
    return EnvironmentFault(f"Ray broke off: {last_lines(text, 1)}; --resume goes on")
