"""A network grown from a smaller one computes what that one computes, where the axis permits."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from expander.model.growth import grow
from expander.model.network import X3D
from expander.specs.spec import Base, Spec

BASE = Base(
    frames=2, stride=8, crop=32, stem_width=8, depths=(1, 2), head_width=16, classes=5, width_divisor=4,
    crop_divisor=8,
)  # fmt: skip
SPEC = Spec(base=BASE)


def trained(spec: Spec) -> X3D:
    """As after a training: no weight or statistic is what it was at the start."""
    torch.manual_seed(3)
    network = X3D(spec, 0.0).eval()
    for name, value in network.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2)
        elif value.is_floating_point():
            value.add_(0.3 * torch.randn_like(value))
    return network


def grown(parent: X3D, spec: Spec) -> X3D:
    torch.manual_seed(4)
    child = X3D(spec, 0.0)
    grow(child, parent.state_dict())
    return child


@pytest.mark.parametrize(
    "spec",
    [replace(SPEC, width=2.0), replace(SPEC, bottleneck=2.5), replace(SPEC, depth=3.0),
     replace(SPEC, width=1.5, bottleneck=2.0, depth=2.0)],
    ids=["width", "bottleneck", "depth", "all three"],
)  # fmt: skip
def test_more_channels_and_blocks_change_nothing_at_first_and_learn(spec: Spec) -> None:
    parent = trained(SPEC)
    child = grown(parent, spec)
    assert sum(p.numel() for p in child.parameters()) > sum(p.numel() for p in parent.parameters())
    clips = torch.randn(3, 3, 2, 32, 32)
    with torch.no_grad():
        expected, found = parent(clips), child.eval()(clips)
    assert found == pytest.approx(expected.numpy(), rel=1e-4, abs=1e-4)
    child.train()(clips).square().sum().backward()
    old = parent.state_dict()["head.fc1.weight"].shape[1]
    if child.head.fc1.weight.shape[1] > old:
        assert child.head.fc1.weight.grad is not None
        assert child.head.fc1.weight.grad[:, old:].abs().max() > 0


@pytest.mark.parametrize("axis", ["temporal", "frame_rate", "spatial"])
def test_time_rate_and_space_keep_the_weights_as_they_are(axis: str) -> None:
    parent = trained(SPEC)
    child = grown(parent, SPEC.with_factor(axis, 2.0))
    assert all(torch.equal(value, parent.state_dict()[name]) for name, value in child.state_dict().items())


@pytest.mark.parametrize(("axis", "said"), [("width", "does not fit"), ("depth", "the parent is deeper")])
def test_a_larger_parent_is_refused(axis: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        grown(trained(SPEC.with_factor(axis, 2.0)), SPEC)
