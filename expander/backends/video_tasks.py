"""Videos prepared side by side: in processes of this machine, or as Ray tasks on the nodes of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from queue import SimpleQueue

from expander.backends.base import last_lines, require_ray
from expander.config.settings import BackendConfig
from expander.data.prepared.manifest import Outcome, Source
from expander.data.prepared.video import Job, prepare_video
from expander.errors import EnvironmentFault, ExpanderError
from expander.runs.threads import Pool, as_done
from expander.video.worker import DecodingProcess

AHEAD = 4
"""Videos that wait for each place where they are prepared: a list of a million is never queued whole."""
Tasks = Callable[[Job, Iterable[Source]], Iterator[Outcome]]
"""Prepares videos and gives what became of each, in any order. Raises EnvironmentFault."""


def here(processes: int) -> Tasks:
    """So many processes of this machine."""
    return lambda job, sources: _here(job, sources, processes)


def _here(job: Job, sources: Iterable[Source], processes: int) -> Iterator[Outcome]:
    workers = [job.process() for _ in range(processes)]
    free: SimpleQueue[DecodingProcess] = SimpleQueue()
    for worker in workers:
        free.put(worker)

    def one(source: Source) -> Outcome:
        process = free.get()
        try:
            return prepare_video(job, source, process)
        finally:
            free.put(process)

    try:
        with Pool(processes) as pool:
            try:
                yield from as_done(one, sources, pool, AHEAD * processes)
            finally:
                # When the caller stops, what is under way is given up; its threads delete the drafts.
                pool.drop()
                for worker in workers:
                    if worker.child is not None:
                        worker.child.kill()
    finally:
        for worker in workers:
            worker.close()


def on_cluster(config: BackendConfig, folder: Path) -> Tasks:
    """Ray tasks of one CPU each; all nodes see the videos and `folder` at the same paths."""
    return lambda job, sources: _on_cluster(config, folder, job, sources)


def _on_cluster(
    config: BackendConfig, folder: Path, job: Job, sources: Iterable[Source]
) -> Iterator[Outcome]:
    require_ray()
    from expander.backends.ray_tune import RayBackend

    with RayBackend(config) as backend:
        backend.start(folder, "data prepare")
        backend.again = "the same command"
        import ray

        task = ray.remote(num_cpus=config.cpus_per_trial, max_retries=config.max_failures)(_remote)
        places = max(1, int(ray.cluster_resources().get("CPU", 1) // config.cpus_per_trial))
        running: list[ray.ObjectRef[Outcome | str]] = []
        left = iter(sources)
        while True:
            running += [task.remote(job, source) for source in islice(left, AHEAD * places - len(running))]
            if not running:
                return
            done, running = ray.wait(running)
            try:
                outcomes = ray.get(done)
            except ray.exceptions.RayError as error:
                reason = last_lines(str(error), 1)
                raise EnvironmentFault(f"Ray broke off: {reason}; go on with: {backend.again}") from None
            for outcome in outcomes:
                if isinstance(outcome, str):
                    raise EnvironmentFault(outcome)
                yield outcome


PROCESSES: dict[Job, DecodingProcess] = {}
"""Of this Ray worker, which prepares one video after another."""


def _remote(job: Job, source: Source) -> Outcome | str:
    """In a Ray worker: what became of a video, or the fault of the machine."""
    from expander.runs.machine import end_with_parent

    end_with_parent()
    if not Path(job.folder).is_dir():
        return f"{job.folder}: not there; --out must be a folder that all nodes share"
    try:
        return prepare_video(job, source, PROCESSES.setdefault(job, job.process()))
    except ExpanderError as error:
        return str(error)
