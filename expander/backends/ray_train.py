"""A training in several processes of Ray: gloo on CPUs, NCCL on GPUs.

Ray starts the processes, here they become a process group, and all of them are started again when one dies;
what is trained, and where it goes on from, is the trainer's business and lies in the training's folder,
which must be at the same path on every node.

Plain actors: Ray Train adds six processes of its own, of whose imports a start takes twice the time, and
trains again to an error that is always the same.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from expander.backends.base import last_lines
from expander.backends.ray_events import PATIENCE
from expander.backends.ray_tune import RayBackend
from expander.backends.worker_files import PERIOD, Teller, followed
from expander.errors import KINDS, EnvironmentFault, ExpanderError
from expander.runs.events import from_json, to_json
from expander.runs.machine import end_with_parent
from expander.training.distributed import Workers
from expander.training.trainer import Watcher, fit
from expander.training.training_folder import Training, TrainingFolder

SOON = 10.0
"""Seconds in which the others say why they have ended, once one has."""
SILENCE = timedelta(minutes=30)
"""How long a process waits for the others."""
Fault = tuple[int, str]
"""The exit code and the line of an error for people."""


class RayTrainWorker:
    """One of the processes."""

    def address(self) -> str:
        """Where the others can meet this one: an address of PyTorch's."""
        import ray

        host = ray.util.get_node_ip_address()
        kind, shown = (socket.AF_INET6, f"[{host}]") if ":" in host else (socket.AF_INET, host)
        with socket.socket(kind) as free:
            free.bind(("", 0))
            return f"tcp://{shown}:{free.getsockname()[1]}"

    def train(self, order: dict[str, str], address: str, rank: int) -> Fault | None:
        """Trains until the end or the wish to stop; the error for people that ended it, if one did."""
        import torch
        import torch.distributed as dist

        end_with_parent()
        training, folder = from_json(Training, order["training"]), TrainingFolder(Path(order["folder"]))
        # Ray shows a process the GPU that is its own, and no other.
        device = torch.device("cuda", 0) if training.gpus else torch.device("cpu")
        if training.gpus:
            torch.cuda.set_device(device)  # kernels of our own start on the current one
        # What a process tells of itself, rather than of its gradients, goes by the CPU in both.
        kind = "cpu:gloo,cuda:nccl" if training.gpus else "gloo"
        dist.init_process_group(kind, address, SILENCE, training.workers, rank)
        team, teller = Workers(rank, training.workers, device), Teller(folder)
        try:
            fit(training, folder, team, teller if team.leads else None, teller.stop)
        except ExpanderError as error:
            return error.exit_code, str(error)
        return None


def fit_together(training: Training, folder: TrainingFolder, watcher: Watcher,
                 stop: Callable[[], bool] = lambda: False) -> Training:  # fmt: skip
    """Trains to the end, or until `stop` says so, in training.workers processes. Raises the errors of
    fitting.fit, and EnvironmentFault when Ray does not start or breaks off."""
    config = replace(training.backend, gpus_per_trial=1.0 if training.gpus else 0.0)
    with RayBackend(config) as backend, followed(folder, watcher):
        backend.start(folder.folder, "train")
        for attempt in range(training.backend.max_failures + 1):
            if stop():
                break
            try:
                _together(training, folder, stop)
                break
            except ExpanderError:
                raise
            except Exception as error:
                if attempt == training.backend.max_failures:
                    reason = last_lines(str(error), 1)
                    raise EnvironmentFault(f"Ray broke off: {reason}; --resume goes on") from None
    ended = folder.read()
    if ended.state == "running":  # stopped before its processes had begun
        ended = replace(ended, state="stopped", reason="interrupted")
        folder.write(ended)
    return ended


def _together(training: Training, folder: TrainingFolder, stop: Callable[[], bool]) -> None:
    """Trains in processes that all end with the first that fails. Raises what is told of it."""
    import ray

    order = {"training": to_json(training), "folder": str(folder.folder.resolve())}
    with _workers(training, stop) as workers:
        if not workers:
            return
        address = ray.get(workers[0].address.remote())
        running = [worker.train.remote(order, address, rank) for rank, worker in enumerate(workers)]
        while running:
            if stop():
                with contextlib.suppress(OSError):  # a folder that is gone is told by whoever needs it
                    folder.stop.touch()
            done, running = ray.wait(running, timeout=PERIOD)
            try:
                _check(done)
            except ray.exceptions.RayError:  # of several that end, one knows why
                _check(ray.wait(running, num_returns=len(running), timeout=SOON)[0] if running else [])
                raise


def _check(done: list[Any]) -> None:
    """Raises the error for people that one of these processes gives, else what has ended one of them."""
    import ray

    ends: list[Exception] = []
    for end in done:
        try:
            fault: Fault | None = ray.get(end)
        except ray.exceptions.RayError as error:
            ends.append(error)
            continue
        if fault is not None:
            raise KINDS.get(fault[0], ExpanderError)(fault[1])
    if ends:
        raise ends[0]


@contextlib.contextmanager
def _workers(training: Training, stop: Callable[[], bool]) -> Iterator[list[Any]]:
    """The processes, on as few nodes as can be, and their end; none where `stop` says so before."""
    import ray
    from ray.util.placement_group import placement_group, remove_placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    cpus, gpus = training.backend.cpus_per_trial, int(training.gpus)
    places = placement_group([{"CPU": cpus, "GPU": gpus} if gpus else {"CPU": cpus}] * training.workers)
    kind, workers, begun = ray.remote(RayTrainWorker), list[Any](), time.monotonic()
    try:
        while not (there := places.wait(PERIOD)) and not stop():
            if time.monotonic() - begun > PATIENCE:
                asked = f"{training.workers} processes of {cpus} CPUs and {gpus} GPUs"
                raise EnvironmentFault(f"Ray has had no place for {PATIENCE:g} s for {asked}; "
                                       "--resume goes on")  # fmt: skip
        for number in range(training.workers if there else 0):
            place = PlacementGroupSchedulingStrategy(places, number)
            workers.append(kind.options(num_cpus=cpus, num_gpus=gpus, scheduling_strategy=place).remote())
        yield workers
    finally:
        for worker in workers:
            ray.kill(worker)
        remove_placement_group(places)
