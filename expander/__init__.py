"""expander: grow a video network, one axis at a time, to a budget of multiply-adds."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from expander.evaluation.classifier import Classifier

__version__ = "0.1.0"


def load(source: str, spec: str | None = None) -> Classifier:
    """A network with its weights, ready for `predict`.

    source: a .safetensors file, a run (`runs/demo`, `demo`) or a step of it (`demo:step2`). spec: clip
    and crop of another spec of the same network (default: the weights' own). Raises an
    `expander.errors.ExpanderError` for what cannot be found, read or trusted.
    """
    from expander.engine.references import find_spec, find_weights
    from expander.evaluation.classifier import classifier

    return classifier(find_weights(source), find_spec(spec) if spec else None)
