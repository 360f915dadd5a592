"""Trains and validates one candidate: plain values in, plain values out, files in its own folder.

A trial's folder gets metrics.jsonl (step, loss, lr; and the validations), attempts.jsonl (who tried,
from which step), checkpoints while it is under way, and weights.safetensors. The rungs of a trial
share its folder: each goes on from the checkpoint at the end of the one before.
"""

from __future__ import annotations

import os
import time
from contextlib import closing
from pathlib import Path

import torch
from torch import nn

from expander.data.clips import Batch, loader
from expander.data.filling import fill_cache
from expander.data.store.patience import WISH, Ended
from expander.data.tasks import reopened
from expander.errors import DataError, EnvironmentFault, first_line, out_of_memory
from expander.model.detector import network_of
from expander.model.growth import grow
from expander.runs.orders import TrialOrder, parent_weights
from expander.runs.trials import TrialFailure, TrialResult
from expander.training.loop import Diverged, train
from expander.training.proxy.tasks import ProxyTask, proxy_task
from expander.training.proxy.trial_folder import Keep, Stopped, TrialRun, on_disk, stop_file
from expander.training.schedule import optimizer
from expander.training.validation import check_readable
from expander.weights.safetensors_file import load_weights, save_weights

__all__ = ["OUT_OF_MEMORY", "Stopped", "gpus_here", "run_trial"]

OUT_OF_MEMORY = "out of memory on"
"""What a failure for lack of memory begins with."""


def gpus_here() -> float:
    """GPUs that a trial takes in this process: one, where there is any."""
    return float(torch.cuda.is_available())


def run_trial(order: TrialOrder, keep: Keep = on_disk) -> TrialResult | TrialFailure:
    """Trains and validates one candidate, from its newest checkpoint on if an earlier attempt left one.

    keep: called when its folder has something that must not be lost: who tries, a checkpoint.

    A diverged training, and one that does not fit into memory, is a TrialFailure. Raises DataError
    when the data differ from the run's or too many videos are unreadable, EnvironmentFault when its
    files cannot be written, Stopped when the run was asked to stop.
    """
    started = time.monotonic()
    torch.set_num_threads(order.threads)
    WISH.file = stop_file(order)
    try:
        return _run(order, keep)
    except Ended:  # while it waited for a store, so without a checkpoint of its own
        raise Stopped from None
    except Diverged as error:
        reason = str(error)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        reason = f"{OUT_OF_MEMORY} {os.uname().nodename} ({first_line(error)}); a smaller proxy.batch helps"
    except OSError as error:
        place = error.filename or order.folder
        raise EnvironmentFault(f"{place}: cannot be written or read: {error.strerror}") from None
    return TrialFailure(order.trial.id, reason, time.monotonic() - started, order.gpus)


def _run(order: TrialOrder, keep: Keep) -> TrialResult:
    data = reopened(order.task, order.data, order.data_fingerprint)
    if data.fingerprint != order.data_fingerprint:
        raise DataError("the data set differs from the one this run was started on")
    course = TrialRun(order, keep)
    if course.asked_to_stop:
        raise Stopped
    # On the node where the search was called it is done already.
    fill_cache(data, order.data)
    task = proxy_task(data, order.data)
    with closing(task.frames):
        return _attempt(course, task)


def _attempt(course: TrialRun, task: ProxyTask) -> TrialResult:
    order = course.order
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # The same seed gives every candidate of a step the same videos, clips, crops and flips.
    torch.manual_seed(order.trial.seed)
    spec, recipe = order.trial.spec.with_classes(len(order.classes)), order.recipe
    network = network_of(spec, order.task, recipe.dropout, recipe.he_head, recipe.dilation)
    if order.trial.parent:
        file = parent_weights(Path(order.folder) / "trials", order.trial)
        grow(network, load_weights(file, task=order.task).network.state_dict())
    network.to(device)
    _train(network, course, task)
    scores = task.scores(network, order.trial.spec, recipe, course.pause)
    course.validated(scores)
    save_weights(course.folder / "weights.safetensors", network, spec, order.classes,
                 multi_label=task.multi_label, task=order.task)  # fmt: skip
    return TrialResult(
        trial=order.trial.id,
        accuracy=scores.goodness,
        loss=scores.loss,
        train_loss=course.train_loss,
        videos=task.counted,
        correct=scores.evidence,
        clips=(course.end - course.first) * recipe.batch,
        seconds=course.seconds,
        bad_videos=len(course.bad) + len(scores.bad),
        gpus=order.gpus,
        attempts=course.attempts,
        data_wait=course.waiting.share,
    )


def _train(network: nn.Module, course: TrialRun, task: ProxyTask) -> None:
    """Trains from where the trial stands to its end."""
    trial, recipe, settings = course.order.trial, course.order.recipe, course.order.data
    sgd = optimizer(network, recipe)
    first, end = (step * recipe.batch for step in (course.step, course.end))
    ahead = task.order(end, trial.seed, first)

    def watched(batch: Batch) -> Batch:
        course.bad.update(batch.bad)
        check_readable(sorted(course.bad), task.videos, settings, "training")
        return batch

    # Before the random state is restored: a loader draws from it when it begins.
    clips = task.clips(trial.spec, recipe.flip)
    batches = course.waiting.watch(map(watched, loader(clips, ahead, recipe.batch, settings.workers)))
    course.begin(network, sgd)
    device = next(network.parameters()).device
    train(network, sgd, batches, recipe, device, course.log, course.step, task.step(device))
