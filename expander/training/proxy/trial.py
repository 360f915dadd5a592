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

from expander.data.annotations import VideoData
from expander.data.clips import Batch, TrainingClips, ViewClips, loader, training_order
from expander.data.shards.order import buffered
from expander.data.sources import decoder, open_data
from expander.errors import DataError, EnvironmentFault, first_line, out_of_memory
from expander.model.growth import grow
from expander.model.network import X3D
from expander.runs.orders import TrialOrder, parent_weights
from expander.runs.trials import TrialFailure, TrialResult
from expander.training.proxy.loop import Diverged, train
from expander.training.proxy.trial_folder import Stopped, TrialRun
from expander.training.schedule import optimizer
from expander.training.validation import VideoScores, check_readable, score_videos
from expander.video.decoder import Decoder
from expander.weights.safetensors_file import load_weights, save_weights

__all__ = ["OUT_OF_MEMORY", "Stopped", "gpus_here", "run_trial"]

OUT_OF_MEMORY = "out of memory on"
"""What a failure for lack of memory begins with."""


def gpus_here() -> float:
    """GPUs that a trial takes in this process: one, where there is any."""
    return float(torch.cuda.is_available())


def run_trial(order: TrialOrder) -> TrialResult | TrialFailure:
    """Trains and validates one candidate, from its newest checkpoint on if an earlier attempt left one.

    A diverged training, and one that does not fit into memory, is a TrialFailure. Raises DataError
    when the data differ from the run's or too many videos are unreadable, EnvironmentFault when its
    files cannot be written, Stopped when the run was asked to stop.
    """
    started = time.monotonic()
    torch.set_num_threads(order.threads)
    try:
        return _run(order)
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


def _run(order: TrialOrder) -> TrialResult:
    data = open_data(order.data, again=True)
    if data.fingerprint != order.data_fingerprint:
        raise DataError("the data set differs from the one this run was started on")
    with closing(decoder(order.data, data.fingerprint)) as frames:
        course = TrialRun(order)
        if course.asked_to_stop:
            raise Stopped
        return _attempt(course, data, frames)


def _attempt(course: TrialRun, data: VideoData, frames: Decoder) -> TrialResult:
    order = course.order
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # The same seed gives every candidate of a step the same videos, clips, crops and flips.
    torch.manual_seed(order.trial.seed)
    spec = order.trial.spec.with_classes(len(order.classes))
    network = X3D(spec, order.recipe.dropout, order.recipe.he_head)
    if order.trial.parent:
        file = parent_weights(Path(order.folder) / "trials", order.trial)
        grow(network, load_weights(file).network.state_dict())
    network.to(device)
    _train(network, course, data, frames)
    scores = _validate(network, course, data, frames)
    course.validated(scores)
    save_weights(course.folder / "weights.safetensors", network, spec, order.classes,
                 multi_label=data.multi_label)  # fmt: skip
    return TrialResult(
        trial=order.trial.id,
        accuracy=scores.goodness,
        loss=scores.loss,
        train_loss=course.train_loss,
        videos=len(data.val),
        correct=scores.evidence,
        clips=(course.end - course.first) * order.recipe.batch,
        seconds=course.seconds,
        bad_videos=len(course.bad) + len(scores.bad),
        gpus=order.gpus,
        attempts=course.attempts,
    )


def _train(network: nn.Module, course: TrialRun, data: VideoData, frames: Decoder) -> None:
    """Trains from where the trial stands to its end."""
    trial, recipe, settings = course.order.trial, course.order.recipe, course.order.data
    sgd = optimizer(network, recipe)
    clips = TrainingClips(data.train, trial.spec, recipe.flip, frames)
    first, end = (step * recipe.batch for step in (course.step, course.end))
    ahead = training_order(len(data.train), end, trial.seed, first, buffered(data.train, settings))

    def watched(batch: Batch) -> Batch:
        course.bad.update(batch.bad)
        check_readable(sorted(course.bad), len(data.train), settings, "training")
        return batch

    # Before the random state is restored: a loader draws from it when it begins.
    batches = map(watched, loader(clips, ahead, recipe.batch, settings.workers))
    course.begin(network, sgd)
    train(network, sgd, batches, recipe, next(network.parameters()).device, course.log, course.step)


def _validate(network: X3D, course: TrialRun, data: VideoData, frames: Decoder) -> VideoScores:
    recipe, settings = course.order.recipe, course.order.data
    clips = ViewClips(data.val, course.order.trial.spec, recipe.views, frames)
    batches = loader(clips, range(len(clips)), recipe.batch, settings.workers)
    seen = course.until_stop(batches)
    scores = score_videos(network, seen, recipe.views, next(network.parameters()).device)
    check_readable(scores.bad, len(data.val), settings, "validation")
    if scores.diverged:
        raise Diverged("the scores of the validation are not finite; a lower proxy.lr may help")
    return scores
