"""Batch norm, squeeze-excite and activation by the GPU's kernels, in the interpreter."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from absent import needs_triton
from torch import Tensor, nn

pytestmark = needs_triton
TESTS = Path(__file__).parent.parent
MODES = ("relu", "none", "rest", "silu", "excite")
CASES = [
    ((2, 3, 4, 5, 54), torch.float32, True),
    ((2, 3, 4, 5, 54), torch.float32, False),
    ((2, 2, 2, 3, 54), torch.bfloat16, True),
    ((3, 1, 3, 3, 7), torch.float32, True),
    ((2, 1, 2, 2, 300), torch.float32, True),
]


@pytest.mark.slow
def test_norms_and_a_whole_network_equal_plain_layers_in_the_interpreter() -> None:
    """In a process of its own: the interpreter is chosen when Triton is imported."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", __file__],
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(TESTS)},
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["equal"] * (len(CASES) * len(MODES) + 1)


def check(shape: tuple[int, ...], kind: torch.dtype, training: bool, mode: str) -> None:
    """The result, all gradients and the running statistics of one layer, against float64."""
    from expander.kernels import norm_cuda
    from expander.model.blocks import SqueezeExcite

    torch.manual_seed(0)
    norm, excite = nn.BatchNorm3d(shape[-1]).train(training), SqueezeExcite(shape[-1])
    for values in (norm.weight, norm.running_var):
        nn.init.uniform_(values, 0.5, 2)  # type: ignore[arg-type]
    plain = nn.ModuleList(copy.deepcopy((norm, excite))).double()
    x, rest = (torch.randn(shape).mul(2).add(3).to(kind).requires_grad_() for _ in range(2))
    wide = [value.detach().double().requires_grad_() for value in (x, rest)]
    linear = excite.fc1, excite.fc2
    layers = tuple(v for fc in linear for v in (fc.weight.flatten(1), fc.bias) if v is not None)
    mine: Tensor = {
        "relu": lambda: norm_cuda.norm_relu(x, norm),
        "none": lambda: norm_cuda.norm_relu(x, norm, relu=False),
        "rest": lambda: norm_cuda.norm_relu(x, norm, None, rest),
        "silu": lambda: norm_cuda.norm_silu(x, norm),
        "excite": lambda: norm_cuda.norm_silu(x, norm, None, layers),
    }[mode]()
    y = plain[0](wide[0].permute(0, 4, 1, 2, 3))
    theirs: Tensor = {
        "relu": y.relu,
        "none": lambda: y,
        "rest": (y + wide[1].permute(0, 4, 1, 2, 3)).relu,
        "silu": lambda: F.silu(y),
        "excite": lambda: F.silu(plain[1](y)),
    }[mode]().permute(0, 2, 3, 4, 1)
    upstream = torch.randn(shape).to(kind)
    used = [x, norm.weight, norm.bias, *([rest] if mode == "rest" else [])]
    others = [wide[0], plain[0].weight, plain[0].bias, *([wide[1]] if mode == "rest" else [])]
    if mode == "excite":
        used, others = [*used, *excite.parameters()], [*others, *plain[1].parameters()]
    found = mine, *torch.autograd.grad(mine, used, upstream), norm.running_mean, norm.running_var
    wanted = (theirs, *torch.autograd.grad(theirs, others, upstream.double()), plain[0].running_mean,
              plain[0].running_var)  # fmt: skip
    for one, other in zip(found, wanted, strict=True):
        tolerance = 1e-5 if kind == torch.float32 else 2e-2
        assert (one.double() - other).abs().max() <= tolerance * other.abs().max(), (shape, kind, mode)


def check_network() -> None:
    """Training, evaluation and the gradients of a whole network."""
    from expander.kernels import norm_cuda
    from expander.model import fused_forward
    from expander.model.network import X3D
    from expander.specs.spec import Base, Spec

    torch.manual_seed(0)
    base = Base(frames=2, crop=32, stem_width=8, depths=(1, 2), head_width=16, classes=4)
    net = X3D(Spec(base=base), dropout=0, he_head=True)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
    dilated = net.stages[-1][1].conv_b
    dilated.dilation = dilated.padding = (1, 3, 3)
    plain, clips = copy.deepcopy(net).double(), torch.randn(2, 3, 2, 32, 32)
    plain.plain = True
    mine = fused_forward.forward(norm_cuda, net.stem, net.stages, net.head, clips)
    theirs = plain(clips.double())
    assert (mine - theirs).abs().max() <= 1e-4 * theirs.abs().max()
    for logits in (mine, theirs):
        F.cross_entropy(logits, torch.tensor([0, 1])).backward()  # type: ignore[no-untyped-call]
    for one, other in zip(net.parameters(), plain.parameters(), strict=True):
        assert (one.grad - other.grad).abs().max() <= 1e-2 * other.grad.abs().max()  # type: ignore[operator, union-attr]
    with torch.no_grad():
        net.eval(), plain.eval()
        mine = fused_forward.forward(norm_cuda, net.stem, net.stages, net.head, clips)
        assert (mine - plain(clips.double())).abs().max() <= 1e-4 * mine.abs().max()


if __name__ == "__main__":
    torch.set_num_threads(1)
    for case in CASES:
        for mode in MODES:
            check(*case, mode)
            print("equal")
    check_network()
    print("equal")
