"""The multi-view test: every video opened and decoded once, its views scored, their scores averaged.

    prob    mean over views of softmax; of several positions (slowfast) the mean of theirs
    score   mean over views (and positions) of the logits
    max     maximum over views of the same as for prob (SlowFast's way with Charades)

Where videos have several labels, a sigmoid of each class takes the place of softmax.

Sources of the protocols: the public test code of SlowFast, PyTorchVideo and MMAction2.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from expander.data.test_list import HeldOut
from expander.errors import DataError
from expander.evaluation.scores import ScoreFile, Scores
from expander.model.dense_test import position_logits, positions
from expander.model.fold_bn import fold_batch_norm
from expander.model.network import X3D
from expander.specs.cost import cost, layers
from expander.specs.spec import Spec
from expander.video.decoder import TIMEOUT, Decoder, VideoError
from expander.video.view_protocols import Protocol, Views, view_crop
from expander.video.views import Look, ViewedVideo, look_ahead

Average = Literal["prob", "score", "max"]
BY_POSITION: tuple[Protocol, ...] = ("slowfast", "pytorchvideo")
"""Protocols that classify every position of a map that is larger than in training."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """scores: (V, classes), nan for a video that failed. failed: (video, reason).

    seconds: wall time. decoding: that threads spent on decoding and resizing. done: videos of this call.
    """

    scores: Scores
    failed: tuple[tuple[str, str], ...]
    seconds: float
    decoding: float
    done: int


FOLDED_FROM = 100_000_000
"""Multiply-adds from which plain layers with several threads are quicker than `model.fused_forward`.

X2D has 21 M and is not, X3D-XS has 605 M and is (docs/performance.md).
"""


@dataclass(frozen=True, slots=True)
class Scorer:
    """A network in evaluation on its device, and how it looks at videos. batch: views at a time.

    multi_label: whether each class is a question of its own.
    """

    network: X3D
    how: Look
    average: Average = "prob"
    batch: int = 10
    workers: int = 1
    decoder: Callable[[], Decoder] = field(default=Decoder)
    multi_label: bool = False

    @torch.inference_mode()
    def score(self, batches: Iterable[Tensor]) -> Scores:
        """(classes,) of one video from its views, (N, 3, T, H, W) a batch."""
        device = next(self.network.parameters()).device
        parts = [self._views(clips.to(device, non_blocking=True)).double().cpu() for clips in batches]
        views = torch.cat(parts)
        scores: Scores = (views.amax(0) if self.average == "max" else views.mean(0)).float().numpy()
        return scores

    def _views(self, x_NCTHW: Tensor) -> Tensor:
        """(N, classes) of N views."""
        if self.how.protocol not in BY_POSITION:
            logits: Tensor = self.network(x_NCTHW)
            return logits if self.average == "score" else self._likely(logits)
        logits_NPC = position_logits(self.network, self.how.spec, x_NCTHW)
        if self.average == "score":
            return logits_NPC.mean(1)
        if self.how.protocol == "slowfast":
            return self._likely(logits_NPC).mean(1)
        return self._likely(logits_NPC.mean(1))

    def _likely(self, logits: Tensor) -> Tensor:
        """Probabilities, of classes in the last dimension."""
        return logits.sigmoid() if self.multi_label else logits.softmax(-1)

    def video(self, seen: ViewedVideo) -> Scores:
        """(classes,) of one video."""
        return self.score(seen.batches(self.batch))

    def run(
        self, data: HeldOut, file: ScoreFile | None = None, progress: Callable[[int, int], None] | None = None
    ) -> Outcome:
        """Scores every video; those that `file` knows already are taken from it.

        Raises DataError when a score is not a number.
        """
        begun, decoding = time.monotonic(), 0.0
        known = file.known if file else {}
        found: dict[int, Scores] = {i: known[name] for i, name in enumerate(data.names) if name in known}
        left = [i for i in range(len(data.names)) if i not in found]
        failed = [(name, "no file of it in the data folder") for name in data.lost]
        videos = look_ahead([data.videos.paths[i] for i in left], self.how, self.decoder, self.workers)
        for done, (i, seen) in enumerate(zip(left, videos, strict=True), len(found) + 1):
            outcome: Scores | str
            if isinstance(seen, VideoError):
                outcome = str(seen).removeprefix(f"{data.videos.paths[i]}: ")
                failed.append((data.names[i], outcome))
            else:
                decoding += seen.seconds
                outcome = found[i] = self.video(seen)
                if not np.isfinite(outcome).all():
                    reason = "the checkpoint is damaged or its training diverged"
                    raise DataError(f"{data.names[i]}: its scores are not finite: {reason}")
            if file is not None:
                file.add(data.names[i], data.videos.labels[i], outcome)
            if progress is not None:
                progress(done, len(data.names))
        classes = self.how.spec.base.classes
        scores = np.full((len(data.names), classes), np.nan, np.float32)
        for i, row in found.items():
            scores[i] = row
        return Outcome(scores, tuple(failed), time.monotonic() - begun, decoding, len(left))


def macs_per_view(spec: Spec, views: Views, protocol: Protocol) -> int:
    """Multiply-adds of one view at the test crop; by position, the head's linears count for each."""
    crop = view_crop(protocol, views.crops, spec)
    more = positions(spec, crop) ** 2 - 1 if protocol in BY_POSITION else 0
    linears = sum(layer.macs for layer in layers(spec, crop) if layer.operator in ("fc1", "fc2"))
    return cost(spec, crop).macs + more * linears


def for_inference(network: X3D, spec: Spec) -> X3D:
    """The same function in evaluation, as it is quicker where the network is: folded, or itself."""
    on_cpu = next(network.parameters()).device.type == "cpu"
    if on_cpu and (torch.get_num_threads() == 1 or cost(spec).macs < FOLDED_FROM):
        return network.eval()
    return fold_batch_norm(network)


def usual_average(multi_label: bool) -> Average:
    """How views are combined if nothing else is asked for: a label that one view shows is there."""
    return "max" if multi_label else "prob"


def probabilities(
    network: X3D, spec: Spec, video: Path, clips: int, timeout: float = TIMEOUT, multi_label: bool = False
) -> Scores:
    """(classes,) of one video file: `clips` uniform clips, centre crop. timeout: seconds that it may take
    to decode. Raises VideoError.
    """
    how = Look(spec, Views(clips, 1))
    (seen,) = look_ahead([video], how, lambda: Decoder(timeout=timeout), 0)
    if isinstance(seen, VideoError):
        raise seen
    scorer = Scorer(for_inference(network, spec), how, usual_average(multi_label), multi_label=multi_label)
    return scorer.video(seen)
