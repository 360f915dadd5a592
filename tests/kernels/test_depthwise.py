"""Our kernels against the library's convolution and batch norm, on a CPU and in Triton's interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from expander.config.settings import Recipe
from expander.evaluation.multiview import for_inference

pytest.importorskip("numba", reason="numba is not installed (it is for x86-64)")
from expander.kernels import launch
from expander.kernels.depthwise import depthwise, temporal
from expander.kernels.norm import conv_norm_relu, moments, norm_relu, norm_silu
from expander.model.fold_bn import fold_batch_norm
from expander.model.network import X3D
from expander.specs.spec import Base, Spec
from expander.training.loop import train_step
from expander.training.schedule import optimizer

random_shapes = settings(deadline=None, derandomize=True, max_examples=30)
SPEC = Spec(
    base=Base(frames=3, crop=24, stem_width=10, depths=(1, 2), head_width=16, classes=5, width_divisor=1),
    bottleneck=2.25,
)

PUBLISHED = Spec(base=Base(frames=4, stride=12, crop=160), bottleneck=2.25, depth=2.2)  # X3D-XS


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Arrays this small are slower with more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def random(*shape: int, seed: int = 0, kind: torch.dtype = torch.float64) -> Tensor:
    """A random tensor that wants a gradient."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(kind).requires_grad_()


def library(x_NTHWC: Tensor, weight: Tensor, stride: int) -> Tensor:
    padding = [size // 2 for size in weight.shape[2:]]
    x_NCTHW = x_NTHWC.permute(0, 4, 1, 2, 3)
    y = F.conv3d(x_NCTHW, weight, None, (1, stride, stride), padding, 1, len(weight))
    return y.permute(0, 2, 3, 4, 1)


def close(mine: Tensor, other: Tensor, kind: torch.dtype) -> bool:
    """Equal up to rounding of sums, measured at the largest value."""
    tolerance = {torch.float64: 1e-11, torch.float32: 1e-5}[kind]
    return bool((mine - other).abs().max() <= tolerance * other.abs().max().clamp_min(1))


def expected_moments(y_NTHWC: Tensor) -> Tensor:
    """(F, 2, C): mean and sum of squared deviations of every frame."""
    frames = y_NTHWC.detach().flatten(0, 1).flatten(1, 2)
    return torch.stack((frames.mean(1), frames.var(1, correction=0) * frames.shape[1]), 1)


@random_shapes
@given(
    shape=st.tuples(
        st.integers(1, 3), st.integers(1, 6), st.integers(1, 9), st.integers(1, 9), st.integers(1, 40)
    ),
    stride=st.sampled_from([1, 2]),
    kind=st.sampled_from([torch.float32, torch.float64]),
    strided=st.booleans(),
)
@example(shape=(1, 3, 37, 19, 20), stride=1, kind=torch.float64, strided=False)  # several blocks of rows
@example(shape=(1, 3, 19, 37, 20), stride=2, kind=torch.float64, strided=False)
@example(shape=(2, 1, 5, 140, 3), stride=2, kind=torch.float64, strided=False)  # a row is longer than a block
def test_depthwise_equals_conv3d_with_its_gradients(
    shape: tuple[int, ...], stride: int, kind: torch.dtype, strided: bool
) -> None:
    x, weight = random(*shape, kind=kind), random(shape[-1], 1, 3, 3, 3, seed=1, kind=kind)
    theirs = library(x, weight, stride)
    mine, found = depthwise(x, weight, stride)
    upstream = random(*theirs.shape, seed=2, kind=kind).detach()
    if strided:  # a gradient that is not contiguous
        upstream = upstream.transpose(0, 3).contiguous().transpose(0, 3)
    assert close(mine, theirs, kind)
    gradients = (torch.autograd.grad(y, (x, weight), upstream) for y in (mine, theirs))
    assert all(close(one, other, kind) for one, other in zip(*gradients, strict=True))
    assert close(found, expected_moments(theirs), kind)


@random_shapes
@given(
    shape=st.tuples(
        st.integers(1, 3), st.integers(1, 7), st.integers(1, 9), st.integers(1, 9), st.integers(1, 40)
    ),
    kind=st.sampled_from([torch.float32, torch.float64]),
)
def test_the_temporal_convolution_equals_conv3d(shape: tuple[int, ...], kind: torch.dtype) -> None:
    x, weight = random(*shape, kind=kind), random(shape[-1], 1, 5, 1, 1, seed=1, kind=kind)
    theirs, (mine, found) = library(x, weight, 1), temporal(x, weight)
    upstream = random(*theirs.shape, seed=2, kind=kind).detach()
    assert close(mine, theirs, kind)
    gradients = (torch.autograd.grad(y, (x, weight), upstream) for y in (mine, theirs))
    assert all(close(one, other, kind) for one, other in zip(*gradients, strict=True))
    assert close(found, expected_moments(theirs), kind)


@pytest.mark.parametrize("stride", [1, 2])
def test_gradients_of_the_convolutions_are_those_of_differences(stride: int) -> None:
    x, weight = random(2, 2, 3, 4, 3), random(3, 1, 3, 3, 3, seed=1)
    assert torch.autograd.gradcheck(lambda *both: depthwise(*both, stride)[0], (x, weight))
    assert torch.autograd.gradcheck(lambda *both: temporal(*both)[0], (x, random(3, 1, 5, 1, 1)))


def test_gradcheck_of_the_reference_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPANDER_KERNELS", "reference")
    torch.manual_seed(0)
    base = Base(frames=2, crop=8, stem_width=4, depths=(1,), head_width=4, classes=2, width_divisor=4)
    network = X3D(Spec(base=base), dropout=0).double()
    assert torch.autograd.gradcheck(network, (random(1, 3, 2, 8, 8),), fast_mode=True)


@pytest.mark.parametrize("training", [True, False])
def test_gradients_through_the_norms_are_those_of_differences(training: bool) -> None:
    conv, norm = nn.Conv3d(3, 4, 1, bias=False).double(), nn.BatchNorm3d(4).double().train(training)
    x, rest = random(2, 2, 2, 3, 3), random(2, 2, 2, 3, 4, seed=1)
    excite = random(2, 4, seed=2), random(2, seed=3), random(4, 2, seed=4), random(4, seed=5)

    def function(x: Tensor, rest: Tensor, *excite: Tensor) -> Tensor:
        y = conv_norm_relu(x, conv, norm, rest)
        y, found = depthwise(y, torch.full((4, 1, 3, 3, 3), 0.1, dtype=torch.float64), 1)
        return norm_silu(y, norm, found, excite)

    norm.momentum = 0.0  # the same function at every call
    assert torch.autograd.gradcheck(function, (x, rest, *excite))


def losses(steps: int) -> list[float]:
    """Of a training on random clips from one seed."""
    torch.manual_seed(0)
    network = X3D(SPEC, dropout=0, he_head=True)
    sgd = optimizer(network, Recipe(lr=0.05))
    batches = [(torch.randn(8, 3, 3, 24, 24), torch.randint(5, (8,))) for _ in range(5)]
    return [train_step(network, sgd, *batches[step % 5]).item() for step in range(steps)]


def test_fifty_steps_have_the_losses_of_the_reference_path(monkeypatch: pytest.MonkeyPatch) -> None:
    own = losses(50)
    monkeypatch.setenv("EXPANDER_KERNELS", "reference")
    assert own == pytest.approx(losses(50), rel=1e-4)
    assert own[-1] < own[0]


def copied_activations(depth: int) -> int:
    """How many copies of clips a training step makes, of a network with so many blocks a stage."""
    base = Base(frames=2, crop=32, stem_width=12, depths=(depth, depth), head_width=16, classes=5)
    network = X3D(Spec(base=base), dropout=0)
    sgd, clips, labels = optimizer(network, Recipe()), torch.randn(3, 3, 2, 32, 32), torch.arange(3)
    train_step(network, sgd, clips, labels)
    with torch.profiler.profile(record_shapes=True) as record:
        train_step(network, sgd, clips, labels)
    copies = (event.input_shapes for event in record.events() if event.name == "aten::copy_")
    return sum(len(shapes[0]) == 5 and shapes[0][0] == len(clips) for shapes in copies)


def test_the_layout_stays_that_of_the_kernels_from_the_clips_to_the_head_and_back() -> None:
    few = copied_activations(depth=1)
    assert few > 0  # the clips come in another layout
    assert copied_activations(depth=4) == few


@pytest.mark.parametrize("stride", [0, 1, 2])  # 0: the convolution over time
def test_any_number_of_threads_gives_the_same_gradients(stride: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "SMALL", 0)
    kernel = (3, 3, 3) if stride else (5, 1, 1)
    x, weight = random(2, 3, 19, 37, 20, kind=torch.float32), random(20, 1, *kernel, kind=torch.float32)
    found = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        y, moments = depthwise(x, weight, stride) if stride else temporal(x, weight)
        found.append((y, moments, *torch.autograd.grad(y.square().sum(), (x, weight))))
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize("frames", [1, 3])
def test_any_number_of_threads_gives_the_same_norms(frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "SMALL", 0)
    x = random(3, frames, 5, 4, 20, kind=torch.float32)
    excite = [random(*shape, kind=torch.float32) for shape in ((8, 20), (8,), (20, 8), (20,))]
    found = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        norms = nn.BatchNorm3d(20), nn.BatchNorm3d(20)
        y = norm_relu(x * 1, norms[0], moments(x))
        y = norm_silu(y, norms[1], moments(y.detach()), tuple(excite))
        wanted = (x, *excite, *norms[0].parameters(), *norms[1].parameters())
        buffers = [buffer for norm in norms for buffer in norm.buffers()]
        found.append((y, *torch.autograd.grad(y.square().sum(), wanted), *buffers))
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


def test_inference_with_several_threads_folds_a_large_network_only() -> None:
    small, large = X3D(SPEC), X3D(PUBLISHED)
    for threads, folds in ((1, False), (2, True)):
        torch.set_num_threads(threads)
        assert for_inference(small, SPEC) is small
        assert (for_inference(large, PUBLISHED) is not large) == folds


def test_folded_norms_give_the_same_logits() -> None:
    torch.manual_seed(0)
    network = X3D(SPEC, dropout=0).double()
    for norm in (module for module in network.modules() if isinstance(module, nn.BatchNorm3d)):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias)
    clips = random(2, 3, 3, 24, 24).detach()
    network(clips)  # running statistics of their own
    folded = fold_batch_norm(network)
    assert not [module for module in folded.modules() if isinstance(module, nn.BatchNorm3d)]
    assert torch.allclose(folded(clips), network.eval()(clips))
    with torch.inference_mode():
        assert torch.allclose(folded(clips), network(clips))


def test_a_nan_stays_a_nan() -> None:
    logits = X3D(SPEC, dropout=0)(torch.full((2, 3, 3, 24, 24), torch.nan))
    assert logits.isnan().all()


TRITON_CASES = [
    ((1, 2, 3, 3, 5), 3, 3, 1, torch.float32),
    ((1, 2, 4, 3, 5), 3, 3, 2, torch.float32),
    ((1, 1, 3, 4, 70), 3, 3, 2, torch.bfloat16),
    ((1, 4, 2, 1, 3), 5, 1, 1, torch.float16),
    ((2, 7, 5, 5, 6), 3, 3, 1, torch.float32),
    ((1, 1, 6, 7, 54), 3, 3, 2, torch.float32),
]


def test_triton_kernels_equal_conv3d_in_the_interpreter() -> None:
    """In a process of its own: the interpreter is chosen when Triton is imported."""
    done = subprocess.run(
        [sys.executable, __file__], env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["equal"] * len(TRITON_CASES)


def check_triton(shape: tuple[int, ...], depth: int, size: int, stride: int, kind: torch.dtype) -> None:
    """Forward and both gradients of one case."""
    from expander.kernels import depthwise_triton

    x, weight = random(*shape, kind=kind), random(shape[-1], 1, depth, size, size, seed=1, kind=kind)
    wide = x.detach().float().requires_grad_(), weight.detach().float().requires_grad_()
    theirs = library(*wide, stride)
    upstream = random(*theirs.shape, seed=2, kind=kind).detach()
    mine = (
        depthwise_triton.forward(x.detach(), weight, stride),
        depthwise_triton.input_gradient(upstream, weight, stride, *shape[2:4]),
        depthwise_triton.weight_gradient(x.detach(), upstream, weight, stride),
    )
    expected = theirs, *torch.autograd.grad(theirs, wide, upstream.float())
    tolerance = 1e-5 if kind == torch.float32 else torch.finfo(kind).eps
    for one, other in zip(mine, expected, strict=True):
        assert one.dtype == kind
        assert (one.float() - other).abs().max() <= tolerance * other.abs().max()


if __name__ == "__main__":
    torch.set_num_threads(1)
    for case in TRITON_CASES:
        check_triton(*case)
        print("equal")
