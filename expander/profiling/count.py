"""The cost of a network as fvcore counts it: the proof of the closed form in `specs.cost`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from expander.model.detector import Detector
from expander.model.network import X3D
from expander.specs.cost_kinds import Cost
from expander.specs.spec import Spec

# Pointwise, pooling and dropout: outside the published count. Anything fvcore does not know and this
# list does not name is an error, so that no operator is counted as 0 by accident.
UNCOUNTED = frozenset(
    f"aten::{name}"
    for name in ("add", "mul", "relu", "relu_", "silu", "sigmoid", "mean", "dropout", "adaptive_avg_pool3d",
                 # RoIAlign and the maximum over its bins:
                 "sub", "div", "ceil", "abs", "clamp", "clamp_min", "le", "ge", "lt", "__and__", "sum", "max",
                 "amax", "rsub", "arange")
)  # fmt: skip
COUNTED = ("conv", "linear")


def measured_cost(spec: Spec, crop: int | None = None, boxes: int | None = None) -> Cost:
    """The same three numbers counted by fvcore on the network itself; boxes: see `specs.cost.layers`.

    Raises ValueError for an operator that neither fvcore nor this module knows.
    """
    size = crop or spec.crop
    clip_NCTHW = torch.zeros(1, 3, spec.frames, size, size)
    if boxes is None:
        return count(X3D(spec).eval(), clip_NCTHW)
    whole = torch.tensor([[0.0, 0.0, size, size]] * boxes)
    return count(Detector(spec).eval(), clip_NCTHW, whole, torch.zeros(boxes, dtype=torch.long))


def count(network: nn.Module, *inputs: Tensor) -> Cost:
    """fvcore's count of a network on one clip, or on a clip and boxes.

    Raises ValueError for an operator nobody knows.
    """
    from fvcore.nn import ActivationCountAnalysis, FlopCountAnalysis  # slow to import

    flops = FlopCountAnalysis(network, inputs).unsupported_ops_warnings(False)
    flops.uncalled_modules_warnings(False).tracer_warnings("none")
    by_operator = flops.by_operator()
    unknown = sorted({op for op in flops.unsupported_ops() if op not in UNCOUNTED})
    if unknown:
        raise ValueError(f"fvcore cannot count {', '.join(unknown)}")
    activations = ActivationCountAnalysis(network, inputs).unsupported_ops_warnings(False)
    activations.uncalled_modules_warnings(False).tracer_warnings("none")
    active = activations.by_operator()
    params = sum(p.numel() for p in network.parameters())
    return Cost(sum(by_operator[name] for name in COUNTED), params, sum(active[name] for name in COUNTED))
