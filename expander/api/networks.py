"""Networks: built, with their weights, what they cost, what they say of a video."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from expander.specs.spec import Spec

if TYPE_CHECKING:
    from expander.config.settings import Task
    from expander.evaluation.classifier import Classifier, Prediction
    from expander.evaluation.people import Person
    from expander.model.network import X3D
    from expander.runs.events import Candidate
    from expander.specs.cost_kinds import Cost


def build(
    spec: Spec | str, classes: int | None = None, task: Task = "classification", dilation: int = 1
) -> X3D:
    """The network of a spec (a Spec, a published name, a YAML file, or RUN:step3) with new weights.

    It takes (N, 3, T, H, W) clips and gives (N, classes) logits; for the task `detection` see
    `model.detector.Detector`, whose last stage may have a dilation. Raises UsageError for an unknown spec or
    task and for a dilation that is none.
    """
    from expander.model.detector import network_of

    found = _spec(spec)
    return network_of(found if classes is None else found.with_classes(classes), task, dilation=dilation)


def load(source: str | Path, spec: Spec | str | None = None) -> Classifier:
    """A network with its weights, ready for `predict`.

    source: a .safetensors file, a run (`runs/demo`, `demo`) or a step of it (`demo:step2`). spec: clip
    and crop of another spec of the same network (default: the weights' own). Raises an
    `expander.errors.ExpanderError` for what cannot be found, read or trusted.
    """
    from expander.engine.references import find_weights
    from expander.evaluation.classifier import classifier

    return classifier(find_weights(str(source)), None if spec is None else _spec(spec))


def predict(source: str | Path, video: str | Path, topk: int = 5, views: int = 10) -> list[Prediction]:
    """The `topk` most probable classes of one video file; `load` once for many. Raises DataError."""
    return load(source).predict(video, topk, views)


def people(source: str | Path, video: str | Path, boxes: str | Path, topk: int = 3) -> list[Person]:
    """What each person of a video does, by a network for detection.

    boxes: a CSV with the header second,x1,y1,x2,y2, corners in shares of the picture. topk: actions of each
    person. Raises DataError, and UsageError for weights of classification.
    """
    from expander.engine.references import find_weights
    from expander.evaluation.people import people_of

    return people_of(find_weights(str(source)), Path(video), Path(boxes), topk)


def cost(spec: Spec | str, crop: int | None = None) -> Cost:
    """Multiply-adds, parameters and activations of a view. crop: pixels (default: the training crop)."""
    from expander.specs.cost import cost as closed_form

    return closed_form(_spec(spec), crop)


def trace(axes: Sequence[str], space: str = "x3d") -> tuple[Candidate, ...]:
    """The base of a space and the candidates after expanding `axes` one after another; nothing is trained.

    Raises UsageError for an axis that is unknown or cannot move.
    """
    from expander.config.space import load_space
    from expander.search.trace import follow

    return follow(load_space(space), list(axes))


def _spec(spec: Spec | str) -> Spec:
    from expander.engine.references import find_spec

    return spec if isinstance(spec, Spec) else find_spec(spec)
