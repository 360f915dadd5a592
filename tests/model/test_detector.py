"""The detection network: the same tensors as in classification, twice the resolution, a row a box."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import expander
from expander.config.space import load_spec
from expander.errors import UsageError
from expander.kernels.depthwise import compiles
from expander.model.detector import Detector
from expander.model.network import X3D
from expander.profiling.count import count, measured_cost
from expander.specs.cost import cost, layers
from expander.specs.spec import Base, Spec
from expander.weights.safetensors_file import load_weights, save_weights

TINY = Spec(base=Base(frames=3, crop=40, stem_width=8, depths=(1, 2), head_width=16, classes=5,
                      width_divisor=4), bottleneck=2.25)  # fmt: skip
BOXES = torch.tensor([[2.0, 3, 30, 39], [0, 0, 40, 40], [10, 5, 20, 38]])
CLIPS = torch.tensor([0, 1, 1])


def tiny(dilation: int = 1) -> Detector:
    """In float64, no block the identity."""
    torch.manual_seed(0)
    network = Detector(TINY, 0.0, dilation=dilation).double()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    return network


def clips(count: int = 2, height: int = 40, width: int = 40) -> torch.Tensor:
    """Random float64 clips."""
    return torch.randn(count, 3, 3, height, width, generator=torch.Generator().manual_seed(1),
                       dtype=torch.float64)  # fmt: skip


def test_its_tensors_are_those_of_the_network_that_classifies() -> None:
    torch.manual_seed(3)
    classifies = X3D(TINY)
    torch.manual_seed(3)
    detects = Detector(TINY)
    assert detects.load_state_dict(classifies.state_dict())
    for name, value in classifies.state_dict().items():
        assert torch.equal(value, detects.state_dict()[name]), name


def test_features_have_a_cell_every_16_pixels_in_the_published_networks() -> None:
    assert expander.build("x3d_s", task="detection").scale == 1 / 16
    assert expander.build("x3d_s", 80, "detection").head.fc2.out_features == 80
    assert tiny().eval().features(clips(2, 37, 60)).shape == (2, 36, 10, 15)


def test_the_answer_to_a_box_depends_on_its_clip_alone() -> None:
    network, x = tiny().eval(), clips()
    together = network(x, BOXES, CLIPS)
    assert together.shape == (3, 5)
    alone = network(x[1:], BOXES[1:], torch.tensor([0, 0]))
    torch.testing.assert_close(together[1:], alone)
    assert not torch.allclose(together[1], together[2])


def test_a_clip_without_boxes_has_no_answers() -> None:
    assert tiny()(clips(), torch.zeros(0, 4), torch.zeros(0, dtype=torch.long)).shape == (0, 5)


@pytest.mark.skipif(not compiles(), reason="needs the CPU kernels")
@pytest.mark.parametrize("dilation", [1, 2, 3])
@pytest.mark.parametrize("size", [(40, 40), (37, 60)])
def test_kernels_and_plain_layers_compute_the_same(dilation: int, size: tuple[int, int]) -> None:
    """The last stage has 10 x 10 cells, or 10 x 15: not always whole multiples of the dilation."""
    results = []
    for plain in (False, True):
        network = tiny(dilation)
        network.plain = plain
        found = network(clips(2, *size), BOXES, CLIPS)
        found.square().sum().backward()  # type: ignore[no-untyped-call]
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        results.append([found.detach(), *gradients])
    assert len(results[0]) == len(results[1])
    for quick, plain_one in zip(*results, strict=True):
        torch.testing.assert_close(quick, plain_one, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("boxes", [1, 4])
@pytest.mark.parametrize("crop", [None, 37])
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_it_costs_what_fvcore_counts(boxes: int, crop: int | None) -> None:
    assert cost(TINY, crop, boxes) == measured_cost(TINY, crop, boxes)


def test_x3d_m_costs_what_torch_counts() -> None:
    spec_m = load_spec("x3d_m").with_classes(80)
    with torch.device("meta"):
        network = Detector(spec_m).eval()
        x = torch.empty(1, 3, 16, 224, 224)
        with FlopCounterMode(display=False) as counter:
            features = network.features(x)
            network.head.classify(torch.empty(5, features.shape[1]))
    assert cost(spec_m, boxes=5).macs == counter.get_total_flops() // 2


def test_persons_cost_two_linears_each() -> None:
    linears = 36 * 16 + 16 * 5
    assert cost(TINY, boxes=3).macs - cost(TINY, boxes=2).macs == linears
    assert cost(TINY, boxes=3).params == cost(TINY).params
    before = [layer for layer in layers(TINY) if layer.stage in ("stem", "stage1")]
    assert [layer for layer in layers(TINY, boxes=2) if layer.stage in ("stem", "stage1")] == before


def spread_out(network: Detector, dilation: int) -> X3D:
    """The same function without dilation: its taps in kernels that are 0 between them."""
    wide = copy.deepcopy(network)
    for block in wide.stages[-1].children():
        weight = block.conv_b.weight.detach()
        large = weight.new_zeros(*weight.shape[:3], 2 * dilation + 1, 2 * dilation + 1)
        large[..., ::dilation, ::dilation] = weight
        kernel, padding = tuple(large.shape[2:]), (1, dilation, dilation)
        block.conv_b = nn.Conv3d(len(weight), len(weight), kernel, 1, padding, groups=len(weight), bias=False)
        block.conv_b.weight = nn.Parameter(large)
    wide.plain = True
    return wide


@pytest.mark.parametrize("dilation", [2, 3])
def test_dilated_is_as_with_large_kernels_that_are_empty_between_their_taps(dilation: int) -> None:
    network, x = tiny(dilation).eval(), clips(2, 37, 60)
    expected = spread_out(tiny(), dilation).eval()(x, BOXES, CLIPS)
    torch.testing.assert_close(network(x, BOXES, CLIPS), expected, rtol=1e-8, atol=1e-8)
    assert not torch.allclose(expected, tiny().eval()(x, BOXES, CLIPS))


@pytest.mark.parametrize(("dilation", "pixels"), [(1, 23), (2, 39), (3, 55)])
def test_every_block_of_the_last_stage_sees_farther(dilation: int, pixels: int) -> None:
    """Stem and first stage see 3 + 2 * 2 pixels; each of two blocks, at 4 pixels a cell, 2 * 4 a dilation."""
    network, x = tiny(dilation).eval(), clips(1, 120, 120).requires_grad_()
    for module in network.modules():
        if hasattr(module, "se"):
            module.se = None  # it looks at the whole picture
    network.features(x)[0, :, 15, 15].sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    for side in (3, 4):
        seen = x.grad.abs().sum([d for d in range(5) if d != side]).nonzero().flatten()
        assert int(seen[-1] - seen[0]) + 1 == pixels


@pytest.mark.parametrize("dilation", [2, 3])
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_dilation_costs_nothing(dilation: int) -> None:
    boxes = torch.tensor([[0.0, 0, 37, 37]])
    network = Detector(TINY, dilation=dilation).eval()
    counted = count(network, torch.zeros(1, 3, 3, 37, 37), boxes, torch.zeros(1, dtype=torch.long))
    assert counted == cost(TINY, 37, 1)


def test_weights_say_their_dilation(tmp_path: Path) -> None:
    names, x = tuple("abcde"), clips().float()
    for dilation in (1, 2):
        network = tiny(dilation).float().eval()
        save_weights(tmp_path / "w.safetensors", network, TINY, names, task="detection")
        back = load_weights(tmp_path / "w.safetensors", task="detection").network
        assert back.dilation == dilation
        assert torch.equal(back(x, BOXES, CLIPS), network(x, BOXES, CLIPS))
        # As ever where it is 1: files are the same to the byte as before there was a dilation.
        assert (b"dilation" in (tmp_path / "w.safetensors").read_bytes()) == (dilation == 2)


@pytest.mark.parametrize("dilation", [0, -1, 17, 1.5, True])
def test_what_is_no_dilation_is_told(dilation: int) -> None:
    said = rf"^dilation must be a whole number from 1 to 16, not {dilation}$"
    with pytest.raises(UsageError, match=said):
        expander.build("x3d_s", task="detection", dilation=dilation)


def test_a_network_that_classifies_has_no_dilation() -> None:
    assert expander.build("x3d_s", task="detection", dilation=2).dilation == 2
    with pytest.raises(UsageError, match=r"^dilation 2 is of the task detection; leave it out"):
        expander.build("x3d_s", dilation=2)


def test_an_unknown_task_is_told() -> None:
    with pytest.raises(UsageError, match="task must be classification or detection, not 'segmentation'"):
        expander.build("x3d_s", task="segmentation")  # type: ignore[arg-type]
