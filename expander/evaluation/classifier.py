"""A trained network on video files: class names and probabilities.

    network = expander.load("runs/demo")
    network.predict("clip.mp4")             # [Prediction(label='...', probability=0.93), ...]
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from expander.errors import UsageError
from expander.evaluation.multiview import probabilities
from expander.model.network import X3D
from expander.specs.spec import Spec
from expander.video.decoder import TIMEOUT
from expander.weights.safetensors_file import load_weights


@dataclass(frozen=True, slots=True)
class Prediction:
    """A class and its probability, 0 to 1."""

    label: str
    probability: float


@dataclass(frozen=True, slots=True)
class Classifier:
    """A network with its spec and the names of its classes.

    multi_label: whether each class is a question of its own, so that probabilities do not sum to 1.
    """

    network: X3D
    spec: Spec
    classes: tuple[str, ...]
    multi_label: bool = False

    def probabilities(self, video: str | Path, views: int = 10, timeout: float = TIMEOUT) -> Tensor:
        """(classes,) probabilities: softmax of each of `views` uniform clips at the centre crop, averaged; of
        a multi-label network the highest sigmoid of any of them.

        timeout: seconds that the video may take to decode. Raises DataError for a video that cannot be read,
        UsageError for views below 1.
        """
        if views < 1:
            raise UsageError(f"views must be at least 1, not {views}")
        return torch.from_numpy(
            probabilities(self.network, self.spec, Path(video), views, timeout, self.multi_label)
        )

    def predict(
        self, video: str | Path, topk: int = 5, views: int = 10, timeout: float = TIMEOUT
    ) -> list[Prediction]:
        """The `topk` most probable classes of a video file, the most probable first. Raises DataError."""
        found = self.probabilities(video, views, timeout)
        values, indices = found.topk(min(topk, len(found)))
        pairs = zip(indices.tolist(), values.tolist(), strict=True)
        return [Prediction(self.classes[index], value) for index, value in pairs]


def classifier(weights: Path, spec: Spec | None = None, labels: tuple[str, ...] | None = None) -> Classifier:
    """The network in a weights file, on the GPU if there is one.

    spec: what it must be (default: what the file says; its clip and crop count). labels: other names
    for its classes. Raises DataError or UsageError.
    """
    loaded = load_weights(weights, spec)
    names = labels or loaded.classes
    if len(names) != len(loaded.classes):
        raise UsageError(f"{len(names)} labels for {len(loaded.classes)} classes of {weights}")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return Classifier(loaded.network.to(device), loaded.spec, names, loaded.multi_label)
