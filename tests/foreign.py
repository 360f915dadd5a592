"""States of other libraries' networks, from their published structure; a network whose tensors all count."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from expander.model.network import X3D
from expander.specs.spec import Base, Spec

Shapes = dict[str, tuple[int, ...]]
SMALL = Spec(Base(4, 6, 64, 8, (1, 2), 32, 7, width_divisor=8), bottleneck=2.25)


def randomised(network: nn.Module, seed: int = 0) -> nn.Module:
    """No batch norm is the identity and none is at its start, so that every tensor counts."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.normal_(0, 0.2, generator=generator)
            module.running_mean.normal_(0, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    return network.eval()


def ours(spec: Spec) -> X3D:
    torch.manual_seed(0)
    network = randomised(X3D(spec))
    assert isinstance(network, X3D)
    return network


NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def slowfast_shapes(spec: Spec) -> Shapes:
    """Keys and shapes of SlowFast's X3D, from its published structure."""
    stem, last, hidden = spec.stem_width, spec.inner_widths[-1], spec.base.head_width
    found: Shapes = {
        "s1.pathway0_stem.conv_xy.weight": (stem, 3, 1, 3, 3),
        "s1.pathway0_stem.conv.weight": (stem, 1, 5, 1, 1),
        **norm("s1.pathway0_stem.bn", stem),
        "head.conv_5.weight": (last, spec.widths[-1], 1, 1, 1),
        **norm("head.conv_5_bn", last),
        "head.lin_5.weight": (hidden, last, 1, 1, 1),
        "head.projection.weight": (spec.base.classes, hidden),
        "head.projection.bias": (spec.base.classes,),
    }
    names = ("branch1", "branch1_bn", "branch2.a", "branch2.a_bn", "branch2.b", "branch2.b_bn", "branch2.c",
             "branch2.c_bn", "branch2.se.fc1", "branch2.se.fc2")  # fmt: skip
    return found | blocks(spec, lambda stage, block: f"s{stage + 2}.pathway0_res{block}.", names)


def mmaction2_shapes(spec: Spec) -> Shapes:
    """Keys and shapes of MMAction2's X3D, from its published structure."""
    stem, last, hidden = spec.stem_width, spec.inner_widths[-1], spec.base.head_width
    found: Shapes = {
        "backbone.conv1_s.conv.weight": (stem, 3, 1, 3, 3),
        "backbone.conv1_t.conv.weight": (stem, 1, 5, 1, 1),
        **norm("backbone.conv1_t.bn", stem),
        "backbone.conv5.conv.weight": (last, spec.widths[-1], 1, 1, 1),
        **norm("backbone.conv5.bn", last),
        "cls_head.fc1.weight": (hidden, last),
        "cls_head.fc2.weight": (spec.base.classes, hidden),
        "cls_head.fc2.bias": (spec.base.classes,),
    }
    names = ("downsample.conv", "downsample.bn", "conv1.conv", "conv1.bn", "conv2.conv", "conv2.bn",
             "conv3.conv", "conv3.bn", "se_module.fc1", "se_module.fc2")  # fmt: skip
    return found | blocks(spec, lambda stage, block: f"backbone.layer{stage + 1}.{block}.", names)


def norm(name: str, width: int) -> Shapes:
    return {f"{name}.{part}": () if part == "num_batches_tracked" else (width,) for part in NORM}


def blocks(
    spec: Spec, prefix: Callable[[int, int], str], names: tuple[str, ...]
) -> Shapes:
    """Projection in the first block of a stage, squeeze-excite of a 16th (at least 8) in every second."""
    found: Shapes = {}
    width = spec.stem_width
    for stage, (out, inner) in enumerate(zip(spec.widths, spec.inner_widths, strict=True)):
        for block in range(spec.depths[stage]):
            before, into = prefix(stage, block), width if block == 0 else out
            shortcut, shortcut_bn, a, a_bn, b, b_bn, c, c_bn, fc1, fc2 = (before + name for name in names)
            if block == 0:
                found |= {f"{shortcut}.weight": (out, into, 1, 1, 1), **norm(shortcut_bn, out)}
            found |= {f"{a}.weight": (inner, into, 1, 1, 1), **norm(a_bn, inner)}
            found |= {f"{b}.weight": (inner, 1, 3, 3, 3), **norm(b_bn, inner)}
            found |= {f"{c}.weight": (out, inner, 1, 1, 1), **norm(c_bn, out)}
            if block % 2 == 0:
                hidden = {18: 8, 36: 8, 54: 8, 108: 8, 216: 16, 432: 32}[inner]
                found |= {f"{fc1}.weight": (hidden, inner, 1, 1, 1), f"{fc1}.bias": (hidden,)}
                found |= {f"{fc2}.weight": (inner, hidden, 1, 1, 1), f"{fc2}.bias": (inner,)}
        width = out
    return found


def drawn(shapes: Shapes) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.tensor(17) if name.endswith("tracked") else torch.rand(shape, generator=generator)
        for name, shape in shapes.items()
    }
