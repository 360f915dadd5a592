"""The network: published sizes, standard layers for tracers, and one function on every path."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from expander.model.blocks import Block
from expander.model.network import X3D
from expander.specs.spec import Base, Spec

TINY = Spec(
    base=Base(stem_width=8, depths=(1, 3), head_width=16, classes=5, width_divisor=4),
    bottleneck=2.25,
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small are slower with more, above all where test processes share the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def published(frames: int, crop: int, depth: float = 2.2) -> Spec:
    """A published X3D of so many frames and pixels."""
    base = Base(frames=frames, crop=crop)
    return Spec(base=base, bottleneck=2.25, depth=depth)


def tiny_net(dropout: float = 0.0) -> X3D:
    """A float64 network in which no block is the identity: every norm drawn at random."""
    torch.manual_seed(0)
    net = X3D(TINY, dropout).double()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    return net


def clips(frames: int, height: int, width: int, count: int = 2) -> torch.Tensor:
    """Random float64 clips."""
    generator = torch.Generator().manual_seed(frames)
    shape = (count, 3, frames, height, width)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(
    ("spec", "parameters"),
    [(published(4, 160), 3_794_322), (published(16, 312, depth=5.0), 6_153_432)],
)
def test_parameters_are_the_published_number(spec: Spec, parameters: int) -> None:
    with torch.device("meta"):
        net = X3D(spec)
    assert sum(p.numel() for p in net.parameters()) == parameters


@pytest.mark.parametrize(
    ("spec", "gmacs"),
    [
        (Spec(), 0.02066),
        (published(4, 160), 0.6053),
    ],
)
def test_a_trace_counts_the_published_multiply_adds(spec: Spec, gmacs: float) -> None:
    flop_count = pytest.importorskip("fvcore.nn").FlopCountAnalysis
    clip = torch.zeros(1, 3, spec.frames, spec.crop, spec.crop)
    counts = flop_count(X3D(spec).eval(), clip).unsupported_ops_warnings(False).by_operator()
    assert counts["conv"] + counts["linear"] == pytest.approx(gmacs * 1e9, rel=5e-4)


@pytest.mark.parametrize("shape", [(1, 32, 32), (2, 33, 47), (7, 64, 40)])
@pytest.mark.parametrize("plain", [False, True])
def test_logits_for_any_clip_length_and_crop(shape: tuple[int, int, int], plain: bool) -> None:
    net = tiny_net()
    net.plain = plain
    assert net(clips(*shape)).shape == (2, 5)


def test_evaluation_gives_the_logits_of_training_when_norms_hold_the_batch_statistics() -> None:
    net, batch = tiny_net(), clips(3, 64, 64)
    net.plain = True
    for module in net.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.register_forward_pre_hook(hold_statistics)
    trained = net(batch)
    net.plain = False
    assert torch.allclose(net.eval()(batch), trained)


def hold_statistics(norm: nn.BatchNorm3d, inputs: tuple[torch.Tensor]) -> None:
    """In training, make the batch's mean and biased variance the running ones, to stay."""
    if norm.training:
        norm.momentum = 0.0
        axes = (0, 2, 3, 4)
        norm.running_mean = inputs[0].detach().mean(axes)
        norm.running_var = inputs[0].detach().var(axes, correction=0)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(1, 32, 32), (2, 33, 35), (3, 32, 32), (4, 32, 40), (5, 45, 32)])
def test_the_cpu_layout_equals_plain_convolutions(
    shape: tuple[int, int, int], training: bool
) -> None:
    net, batch = tiny_net().train(training), clips(*shape).requires_grad_()
    logits, gradients = [], []
    for plain in (False, True):
        net.plain = plain
        logits.append(net(batch))
        parameters = (batch, *net.parameters())
        gradients.append(torch.autograd.grad(logits[-1].square().sum(), parameters))
    assert torch.allclose(logits[0], logits[1], rtol=1e-10, atol=1e-12)
    for fast, plain_gradient in zip(*gradients, strict=True):
        scale = plain_gradient.abs().max().item()
        assert torch.allclose(fast, plain_gradient, rtol=0, atol=1e-9 * scale + 1e-12)


def test_the_cpu_layout_keeps_the_same_running_statistics() -> None:
    fast, plain = tiny_net(), tiny_net()
    plain.plain = True
    for net in (fast, plain):
        net(clips(3, 32, 32))
    for (name, mine), other in zip(fast.named_buffers(), plain.buffers(), strict=True):
        assert torch.allclose(mine, other), name


def test_the_same_step_twice_is_the_same_to_the_bit() -> None:
    net, batch = tiny_net().float(), clips(4, 40, 40).float()
    first, second = (
        torch.autograd.grad(net(batch).square().sum(), list(net.parameters())) for _ in range(2)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("plain", [False, True])
def test_gradient_reaches_every_parameter(plain: bool) -> None:
    net = tiny_net()
    net.plain = plain
    net(clips(5, 32, 32)).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


def test_blocks_start_with_a_last_gamma_of_zero_and_other_norms_at_one() -> None:
    net = X3D(TINY)
    for name, module in net.named_modules():
        if isinstance(module, nn.BatchNorm3d):
            expected = 0.0 if name.endswith("bn_c") else 1.0
            assert (module.weight == expected).all(), name


def test_blocks_of_even_index_excite_and_only_first_blocks_project() -> None:
    with torch.device("meta"):
        net = X3D(published(4, 160))
    assert [len(list(stage.children())) for stage in net.stages] == [3, 5, 11, 7]
    for stage in net.stages:
        for index, block in enumerate(stage.children()):
            assert isinstance(block, Block)
            assert (block.se is not None) == (index % 2 == 0)
            assert (block.shortcut is not None) == (index == 0)
            assert block.conv_b.stride == ((1, 2, 2) if index == 0 else (1, 1, 1))


def test_squeeze_excite_hidden_widths_are_the_published_ones() -> None:
    with torch.device("meta"):
        state = X3D(published(4, 160)).state_dict()
    hidden = [len(state[f"stages.{stage}.0.se.fc1.weight"]) for stage in range(4)]
    assert hidden == [8, 8, 16, 32]


def test_dropout_acts_in_training_only() -> None:
    net, batch = tiny_net(dropout=0.5), clips(1, 32, 32)
    assert not torch.equal(net(batch), net(batch))
    net.eval()
    assert torch.equal(net(batch), net(batch))


def test_an_exported_network_has_standard_convolutions() -> None:
    net, batch = tiny_net().eval(), clips(2, 32, 32)
    program = torch.export.export(net, (batch,))
    targets = [str(node.target) for node in program.graph.nodes]
    convolutions = sum(isinstance(module, nn.Conv3d) for module in net.modules())
    assert sum("aten.conv3d" in target for target in targets) == convolutions
    assert torch.allclose(program.module()(batch), net(batch))


def test_without_momentum_the_running_statistics_are_the_mean_over_batches_on_both_paths() -> None:
    ours, plain = tiny_net().float().train(), tiny_net().float().train()
    plain.load_state_dict(ours.state_dict())
    plain.plain = True
    for network in (ours, plain):
        for module in network.modules():
            if isinstance(module, nn.BatchNorm3d):
                module.momentum = None
    torch.manual_seed(3)
    for shown in (torch.randn(2, 3, 2, 16, 16), torch.randn(2, 3, 2, 16, 16) * 3):
        for network in (ours, plain):
            network(shown)
    for (name, value), other in zip(ours.named_buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(value, other, rtol=1e-4, atol=1e-5, msg=name)
