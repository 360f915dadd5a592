"""The closed form of the cost against the published table, torch's own counter and fvcore."""

from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from expander.config.space import load_spec
from expander.model.network import X3D
from expander.profiling.count import count, measured_cost
from expander.specs.cost import cost, layers, params_without_norm
from expander.specs.cost_kinds import Cost
from expander.specs.spec import Base, Spec
from expander.specs.zoo import PUBLISHED

ZOO = ("x2d", "x3d_xs", "x3d_s", "x3d_m", "x3d_l", "x3d_xl")
COUNTED = (nn.Conv3d, nn.Linear)

# fvcore compiles its losses with torch.jit.script when it is imported.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")


def counted_by_torch(spec: Spec, crop: int | None = None) -> Cost:
    """The same numbers from torch's counter of operations, on tensors that have a shape only."""
    size, outputs = crop or spec.crop, []
    with torch.device("meta"):
        network = X3D(spec).eval()
        clip_NCTHW = torch.empty(1, 3, spec.frames, size, size)
    params = sum(parameter.numel() for parameter in network.parameters())
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm3d):  # not in the count, and slow to trace
                setattr(module, name, nn.Identity())
            if isinstance(child, COUNTED):
                child.register_forward_hook(lambda _module, _inputs, output: outputs.append(output.numel()))
    with FlopCounterMode(display=False) as counter:
        network(clip_NCTHW)
    return Cost(counter.get_total_flops() // 2, params, sum(outputs))


def random_specs(count: int, seed: int, largest_depth: int = 2) -> list[Spec]:
    """Valid specs of every shape that is small: 1 to 4 stages, odd crops, any divisor."""
    draw = random.Random(seed)
    specs = []
    for _ in range(count):
        base = Base(
            frames=draw.randint(1, 4),
            stride=draw.randint(1, 9),
            crop=draw.randint(9, 40),
            stem_width=draw.randint(3, 20),
            depths=tuple(draw.randint(1, largest_depth) for _ in range(draw.randint(1, 4))),
            head_width=draw.randint(1, 64),
            classes=draw.randint(1, 20),
            width_divisor=draw.choice((1, 2, 4, 8)),
            crop_divisor=draw.choice((1, 2, 4, 8)),
        )
        factors = [draw.uniform(1, 2.2) for _ in range(6)]
        specs.append(Spec(base, *factors))
    return specs


@pytest.mark.parametrize(
    ("name", "gmacs", "digits"),
    [
        ("x2d", 0.02066, 5),
        ("x3d_xs", 0.6053, 4),
        ("x3d_s", 1.9629, 4),
        ("x3d_m", 4.7325, 4),
        ("x3d_l", 18.3677, 4),
        ("x3d_xl", 35.8376, 4),
    ],
)
def test_multiply_adds_are_the_published_ones(name: str, gmacs: float, digits: int) -> None:
    assert round(cost(load_spec(name)).macs / 1e9, digits) == gmacs


def test_xs_costs_605256512_multiply_adds() -> None:
    assert cost(load_spec("x3d_xs")).macs == 605_256_512


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("x3d_xs", 3_794_322),
        ("x3d_s", 3_794_322),
        ("x3d_m", 3_794_322),
        ("x3d_l", 6_153_432),
    ],
)
def test_parameters_are_the_published_ones(name: str, params: int) -> None:
    assert cost(load_spec(name)).params == params


@pytest.mark.parametrize(("name", "thousands"), [("x2d", 1_634), ("x3d_xl", 11_096)])
def test_parameters_round_to_the_published_ones(name: str, thousands: int) -> None:
    assert round(cost(load_spec(name)).params / 1000) == thousands


@pytest.mark.parametrize("name", ZOO)
def test_without_batch_norm_the_parameters_are_those_published_and_those_of_the_network(name: str) -> None:
    spec = load_spec(name)
    found = params_without_norm(spec)
    assert found / 1e6 == pytest.approx(PUBLISHED[name].params, abs=0.01)
    with torch.device("meta"):
        modules = list(X3D(spec).modules())
    normed = sum(p.numel() for m in modules if isinstance(m, nn.BatchNorm3d) for p in m.parameters())
    assert found == cost(spec).params - normed


@pytest.mark.parametrize(
    ("name", "size", "kept", "gmacs"),
    [
        ("x3d_xs", 182, 2 * 2, 0.844),
        ("x3d_s", 182, 2 * 2, 2.727),
        ("x3d_m", 256, 2 * 2, 6.186),
        ("x3d_l", 356, 3 * 3, 24.778),
        ("x3d_xl", 356, 3 * 3, 48.424),
    ],
)
def test_test_crop_costs_the_published_figure_less_the_extra_head_positions(
    name: str, size: int, kept: int, gmacs: float
) -> None:
    """SlowFast pools the head with the training clip's kernel and classifies every place that is left."""
    spec = load_spec(name)
    head = {layer.operator: layer.macs for layer in layers(spec, size) if layer.stage == "head"}
    assert spec.test_size == size
    assert head["fc1"] + head["fc2"] == 2048 * spec.inner_widths[-1] + 2048 * 400
    assert round((cost(spec, size).macs + (kept - 1) * (head["fc1"] + head["fc2"])) / 1e9, 3) == gmacs


@pytest.mark.parametrize("name", ZOO)
def test_published_specs_cost_what_torch_counts(name: str) -> None:
    spec = load_spec(name)
    assert cost(spec) == counted_by_torch(spec)
    assert cost(spec, spec.test_size) == counted_by_torch(spec, spec.test_size)


@pytest.mark.slow
def test_200_random_specs_cost_what_torch_counts() -> None:
    for spec in random_specs(200, seed=1):
        assert cost(spec) == counted_by_torch(spec), spec


def test_random_specs_cost_what_torch_counts_at_any_crop() -> None:
    for crop, spec in enumerate(random_specs(30, seed=2), 1):
        assert cost(spec, crop) == counted_by_torch(spec, crop), (crop, spec)


def test_the_base_costs_what_fvcore_counts() -> None:
    spec = load_spec("x2d")
    assert cost(spec) == measured_cost(spec)


@pytest.mark.slow
@pytest.mark.parametrize("name", ZOO[1:])
def test_published_specs_cost_what_fvcore_counts(name: str) -> None:
    spec = load_spec(name)
    assert cost(spec) == measured_cost(spec)


def test_random_specs_cost_what_fvcore_counts() -> None:
    for spec in random_specs(4, seed=3, largest_depth=1):
        assert cost(spec) == measured_cost(spec), spec


def test_fvcore_counts_another_crop_too() -> None:
    spec = random_specs(1, seed=4, largest_depth=1)[0]
    assert cost(spec, 37) == measured_cost(spec, 37)


@pytest.mark.slow
def test_200_random_specs_cost_what_fvcore_counts() -> None:
    for spec in random_specs(200, seed=5, largest_depth=1):
        assert cost(spec) == measured_cost(spec), spec


def test_an_operator_that_fvcore_does_not_know_is_an_error() -> None:
    class Sorted(nn.Module):
        def forward(self, x_NCTHW: Tensor) -> Tensor:
            return x_NCTHW.sort(2).values

    with pytest.raises(ValueError, match="fvcore cannot count aten::sort"):
        count(Sorted(), torch.zeros(1, 3, 2, 4, 4))


def test_one_block_costs_what_pen_and_paper_give() -> None:
    """8x8 pixels: stem to 4x4 of 2 channels, one block to 2x2 of 2 channels inside 3, 5 classes."""
    base = Base(
        frames=2, stride=1, crop=8, stem_width=2, depths=(1,), head_width=4, classes=5,
        width_divisor=1, crop_divisor=1,
    )  # fmt: skip
    stem, inside = 2 * 16, 2 * 4  # frames x pixels
    expected = {
        ("stem", "conv_xy"): 27 * 2 * stem,
        ("stem", "conv_t"): 5 * 2 * stem,
        ("stage1", "shortcut"): 2 * 2 * inside,
        ("stage1", "conv_a (first)"): 2 * 3 * stem,
        ("stage1", "conv_a (rest)"): 0,
        ("stage1", "conv_b"): 27 * 3 * inside,
        ("stage1", "se.fc1"): 3 * 8,
        ("stage1", "se.fc2"): 8 * 3,
        ("stage1", "conv_c"): 3 * 2 * inside,
        ("head", "conv"): 2 * 3 * inside,
        ("head", "fc1"): 3 * 4,
        ("head", "fc2"): 4 * 5,
    }
    found = list(layers(Spec(base, bottleneck=1.5)))
    assert {(layer.stage, layer.operator): layer.macs for layer in found} == expected
    assert cost(Spec(base, bottleneck=1.5)).macs == sum(expected.values())


def test_layers_are_each_named_once_and_sum_to_the_total() -> None:
    for spec in random_specs(50, seed=6):
        found = list(layers(spec))
        assert len({(layer.stage, layer.operator) for layer in found}) == len(found)
        names = ("macs", "params", "activations")
        total = Cost(*(sum(getattr(layer, name) for layer in found) for name in names))
        assert total == cost(spec)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(
    axis=st.sampled_from(("temporal", "spatial", "width", "bottleneck", "depth")),
    factor=st.floats(1, 6),
    more=st.floats(0, 6),
)
def test_cost_never_falls_as_a_factor_grows(axis: str, factor: float, more: float) -> None:
    spec = load_spec("x2d")
    less, greater = (cost(spec.with_factor(axis, f)) for f in (factor, factor + more))
    assert less.macs <= greater.macs
    assert less.params <= greater.params
    assert less.activations <= greater.activations


@settings(deadline=None, derandomize=True, max_examples=50)
@given(frames=st.integers(1, 40))
def test_frames_change_no_parameter_and_only_the_heads_linears_stay(frames: int) -> None:
    """Squeeze-excite and the linears see one pooled position; all the rest is per frame."""
    one, many = load_spec("x2d"), load_spec("x2d").with_factor("temporal", frames)
    pooled = ("se.fc1", "se.fc2", "fc1", "fc2")
    fixed = sum(layer.macs for layer in layers(one) if layer.operator in pooled)
    assert cost(many).macs == (cost(one).macs - fixed) * frames + fixed
    assert cost(many).params == cost(one).params
