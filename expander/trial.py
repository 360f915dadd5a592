"""run_trial: what a worker executes. Plain data in, plain data out, files in its own folder.

A trial's folder gets metrics.jsonl (step, loss, lr; last the validation) and weights.safetensors.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import torch

from expander.data.annotations import VideoData
from expander.data.dataset import Batch, TrainingClips, ViewClips, loader, training_order
from expander.data.decode import Decoder
from expander.data.sources import decoder, open_data
from expander.errors import DataError
from expander.evaluation import VideoScores, score_videos
from expander.model.network import X3D
from expander.model.weights import save_weights
from expander.records import TrialFailure, TrialOrder, TrialResult, pack_bits
from expander.training import Diverged, optimizer, train


def run_trial(order: TrialOrder) -> TrialResult | TrialFailure:
    """Trains and validates one candidate. A diverged training is a TrialFailure.

    Raises DataError when the data differ from the run's, or too many videos are unreadable.
    """
    started = time.monotonic()
    torch.set_num_threads(order.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    data = open_data(order.data)
    if data.fingerprint != order.data_fingerprint:
        raise DataError("the data set differs from the one this run was started on")
    folder = Path(order.folder) / "trials" / order.trial.id
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return _run(order, data, folder, device, started)
    except Diverged as error:
        return TrialFailure(order.trial.id, str(error))


def _run(
    order: TrialOrder, data: VideoData, folder: Path, device: torch.device, started: float
) -> TrialResult:
    # The same seed gives every candidate of a step the same videos, clips, crops and flips.
    torch.manual_seed(order.trial.seed)
    spec = order.trial.spec.with_classes(len(order.classes))
    network = X3D(spec, order.recipe.dropout, order.recipe.he_head).to(device)
    with (folder / "metrics.jsonl").open("w") as metrics:
        frames = decoder(order.data, data.fingerprint)
        train_loss, bad = _train(network, order, data, frames, device, metrics)
        scores = _validate(network, order, data, frames, device)
        row = {"val_loss": scores.loss, "video_top1": scores.video_top1}
        metrics.write(json.dumps(row) + "\n")
    save_weights(folder / "weights.safetensors", network, spec, order.classes)
    return TrialResult(
        trial=order.trial.id,
        accuracy=scores.video_top1,
        loss=scores.loss,
        train_loss=train_loss,
        videos=len(data.val),
        correct=pack_bits(scores.correct.tolist()),
        clips=order.recipe.steps * order.recipe.batch,
        seconds=time.monotonic() - started,
        bad_videos=bad + len(scores.bad),
    )


def _train(
    network: X3D, order: TrialOrder, data: VideoData, frames: Decoder, device: torch.device, metrics: Any
) -> tuple[float, int]:
    """The last training loss, and how many unreadable videos were replaced."""
    recipe, settings = order.recipe, order.data
    clips = TrainingClips(data.train, order.trial.spec, recipe.flip, frames)
    items = training_order(len(data.train), recipe.steps * recipe.batch, order.trial.seed)
    bad: set[str] = set()

    def log(step: int, loss: float, lr: float) -> None:
        row = {"step": step, "loss": loss, "lr": lr, "bad_videos": len(bad)}
        metrics.write(json.dumps(row) + "\n")
        metrics.flush()

    def watched(batch: Batch) -> Batch:
        bad.update(batch.bad)
        if len(bad) > settings.max_bad_fraction * len(data.train):
            share = f"{len(bad)} of {len(data.train)} training videos cannot be read"
            raise DataError(f"{share}, more than data.max_bad_fraction; {sorted(bad)[0]}")
        return batch

    batches = map(watched, loader(clips, items, recipe.batch, settings.workers))
    return train(network, optimizer(network, recipe), batches, recipe, device, log), len(bad)


def _validate(
    network: X3D, order: TrialOrder, data: VideoData, frames: Decoder, device: torch.device
) -> VideoScores:
    recipe, settings = order.recipe, order.data
    clips = ViewClips(data.val, order.trial.spec, recipe.views, frames)
    batches = loader(clips, range(len(clips)), recipe.batch, settings.workers)
    scores = score_videos(network, batches, recipe.views, device)
    if len(scores.bad) > settings.max_bad_fraction * len(data.val):
        share = f"{len(scores.bad)} of {len(data.val)} validation videos cannot be read"
        raise DataError(f"{share}, more than data.max_bad_fraction; {scores.bad[0]}")
    if scores.diverged:
        raise Diverged("the scores of the validation are not finite; a lower proxy.lr may help")
    return scores
