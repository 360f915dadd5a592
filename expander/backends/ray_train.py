"""A training in several processes: Ray Train's TorchTrainer, gloo on CPUs, NCCL on GPUs.

Ray starts the processes, makes them a process group and starts all of them again when one dies; what is
trained, and where it goes on from, is fitting's business and lies in the training's folder, which must
be at the same path on every node.
"""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from expander.backends.base import last_lines
from expander.backends.ray_tune import RayBackend
from expander.errors import KINDS, EnvironmentFault, ExpanderError
from expander.fitting import Watcher, fit
from expander.records import from_json, to_json
from expander.team import Team
from expander.trainings import Training, TrainingFolder

POLL_SECONDS = 0.5
"""Between two looks at the rows that the first process writes."""

TOLD = "expander-fault:"
"""Before the exit code and the line of an error for people, in what comes back from a process."""


def _worker(order: dict[str, str]) -> None:
    """Runs in every Ray process."""
    import ray.train
    import ray.train.torch

    context = ray.train.get_context()
    device = ray.train.torch.get_device()
    team = Team(context.get_world_rank(), context.get_world_size(), device)
    try:
        fit(from_json(Training, order["training"]), TrainingFolder(Path(order["folder"])), team)
    except ExpanderError as error:
        raise RuntimeError(f"{TOLD}{error.exit_code}:{error}") from None


def fit_together(training: Training, folder: TrainingFolder, watcher: Watcher) -> Training:
    """Trains to the end in training.workers processes. Raises the errors of fitting.fit, and
    EnvironmentFault when Ray does not start or breaks off."""
    order = {"training": to_json(training), "folder": str(folder.folder.resolve())}
    config = replace(training.backend, gpus_per_trial=1.0 if training.gpus else 0.0)
    with RayBackend(config) as backend, _followed(folder, watcher), warnings.catch_warnings():
        # Ray Train reads settings of Ray Data that Ray itself calls deprecated.
        warnings.simplefilter("ignore")
        scratch = backend.start(folder.folder, "train")
        try:
            _trainer(order, training, str(scratch / "train")).fit()
        except Exception as error:
            raise _fault(error) from None
    return folder.read()


def _trainer(order: dict[str, str], training: Training, storage: str) -> Any:
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    each = {"CPU": training.backend.cpus_per_trial, **({"GPU": 1} if training.gpus else {})}
    return TorchTrainer(
        _worker,
        train_loop_config=order,
        torch_config=TorchConfig(backend="nccl" if training.gpus else "gloo"),
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


@contextlib.contextmanager
def _followed(folder: TrainingFolder, watcher: Watcher) -> Iterator[None]:
    """Passes the rows on that the first process writes, from a thread of its own."""
    done, seen = threading.Event(), len(folder.rows())

    def follow() -> None:
        nonlocal seen
        last = False
        while not last:
            last = done.wait(POLL_SECONDS)
            rows = folder.rows()
            for row in rows[seen:]:
                watcher.row(row, folder.read())
            seen = max(seen, len(rows))

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
