"""Batch norm, squeeze-excite and activation of clips on a GPU, in as few passes as there can be.

As `norm` is for CPUs: clips (N, T, H, W, C) contiguous; without gradients results overwrite inputs of
norms, which then must belong to the caller alone. Statistics and tables are float32 whatever the clips
are. Under TRITON_INTERPRET=1 it takes CPU tensors too.

Shapes: N clips, P positions of a clip, C channels, R rows of L numbers a clip, as the kernels see it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from expander.kernels import depthwise_cuda
from expander.kernels import norm_triton as kernels
from expander.kernels.excite import Excite, excite_backward, gates_of

BLOCK = {"BLOCK_R": 16, "BLOCK_L": 256, "num_warps": 4}
"""Rows and numbers of a row that a program holds; the same for all shapes, so that few kernels are made."""
FOLDS = range(1, 17)
"""Places of a clip that may make one row."""
WIDEST = 8
"""Numbers that a load takes at most."""
PROGRAMS = 1056
"""Programs that share a sum over all clips: a few for each of a GPU's processors."""
SETTLED = {"BLOCK_R": 512, "BLOCK_C": 4}


@dataclass(frozen=True, slots=True)
class _Plan:
    """How the programs of a pass share clips of this shape."""

    clips: int
    positions: int
    channels: int
    fold: int

    @classmethod
    def of(cls, x_NTHWC: Tensor) -> _Plan:
        """Rows as long as whole loads and few idle threads want them; a row does not leave its clip."""
        n, channels = x_NTHWC.shape[0], x_NTHWC.shape[-1]
        positions = x_NTHWC.numel() // max(1, n * channels)

        def waste(fold: int) -> tuple[int, float]:
            length = fold * channels
            blocks = -(-length // BLOCK["BLOCK_L"])
            return -math.gcd(length, WIDEST), blocks * BLOCK["BLOCK_L"] / length

        return cls(n, positions, channels, min((k for k in FOLDS if positions % k == 0), key=waste))

    @property
    def length(self) -> int:
        return self.fold * self.channels

    @property
    def rows(self) -> int:
        return self.positions // self.fold

    @property
    def sizes(self) -> tuple[int, int]:
        """As the kernels take them: channels, units of a row."""
        return self.channels, self.length // math.gcd(self.length, WIDEST)

    @property
    def blocks(self) -> dict[str, int]:
        """A program's tile."""
        return {"UNIT": math.gcd(self.length, WIDEST), **BLOCK}

    def grid(self, share: int) -> tuple[int, int, int]:
        """Programs where each takes `share` rows of a clip."""
        return -(-self.rows // share), self.clips, -(-self.length // BLOCK["BLOCK_L"])

    @property
    def share(self) -> int:
        """Rows of a program that sums."""
        tall, (tiles, _, wide) = BLOCK["BLOCK_R"], self.grid(BLOCK["BLOCK_R"])
        chunks = max(1, min(tiles, PROGRAMS // (self.clips * wide)))
        return -(-tiles // chunks) * tall


def conv_norm_relu(
    x_NTHWC: Tensor, conv: nn.Conv3d, norm: nn.BatchNorm3d, rest: Tensor | None = None, relu: bool = True
) -> Tensor:
    """relu(norm(conv(x)) + rest) of a 1x1x1 convolution without bias; relu=False (no rest): no ReLU."""
    if (stride := conv.stride[1]) > 1:
        x_NTHWC = x_NTHWC[:, :, ::stride, ::stride].contiguous()
    return norm_relu(F.linear(x_NTHWC, conv.weight.flatten(1)), norm, None, rest, relu)


def depthwise(x_NTHWC: Tensor, weight: Tensor, stride: int) -> tuple[Tensor, None]:
    """Convolve contiguous clips with `weight` (C, 1, 3, 3, 3), padding 1; the norm finds its moments."""
    y: Tensor = depthwise_cuda.depthwise(x_NTHWC, weight, stride)
    return y, None


def temporal(x_NTHWC: Tensor, weight: Tensor) -> tuple[Tensor, None]:
    """Convolve contiguous clips over time with `weight` (C, 1, 5, 1, 1), padding 2."""
    return depthwise_cuda.depthwise(x_NTHWC, weight, 1), None


def moments(x_NTHWC: Tensor) -> None:
    """Nothing: a norm on a GPU finds its moments itself."""


def norm_relu(
    x_NTHWC: Tensor, norm: nn.BatchNorm3d, found: None = None, rest: Tensor | None = None, relu: bool = True
) -> Tensor:  # fmt: skip
    """relu(norm(x) + rest); relu=False: no ReLU."""
    del found
    act = kernels.RELU if relu else kernels.NONE
    if not torch.is_grad_enabled():
        return _normed(x_NTHWC, norm, rest, act, x_NTHWC)[0]
    y: Tensor = _NormAct.apply(x_NTHWC, norm.weight, norm.bias, rest, norm, act)  # type: ignore[no-untyped-call]
    return y


def norm_silu(x_NTHWC: Tensor, norm: nn.BatchNorm3d, found: None = None, excite: Excite = ()) -> Tensor:
    """silu(gate * norm(x)) with the gate of squeeze-excite, or none."""
    del found
    if not torch.is_grad_enabled():
        return _gated_silu(x_NTHWC, norm, excite, x_NTHWC).result
    y: Tensor = _NormSilu.apply(x_NTHWC, norm.weight, norm.bias, norm, *excite)  # type: ignore[no-untyped-call]
    return y


def _moments(plan: _Plan, x: Tensor) -> Tensor:
    """(2, N, programs of a clip, C): sums of x and of squares, less the first number of each channel."""
    grid = plan.grid(plan.share)
    parts = x.new_empty(2, plan.clips, grid[0] * plan.fold, plan.channels, dtype=torch.float32)
    kernels._moments[grid](x, parts, plan.rows, plan.share, *plan.sizes, **plan.blocks)
    return parts


def _table(plan: _Plan, norm: nn.BatchNorm3d, x: Tensor, parts: Tensor | None) -> Tensor:
    """(4, C): mean, 1 / deviation, factor, shift. In training the running statistics move on."""
    running_mean, running_var = norm.running_mean, norm.running_var
    assert running_mean is not None
    assert running_var is not None
    if parts is None or not norm.training:
        rate = (running_var + norm.eps).rsqrt()
        factor = norm.weight * rate
        return torch.stack((running_mean, rate, factor, norm.bias - running_mean * factor))
    values = plan.clips * plan.positions
    if values <= 1:
        raise ValueError("batch norm in training needs more than one value per channel")
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    share = 1 / max(1, int(norm.num_batches_tracked)) if norm.momentum is None else float(norm.momentum)
    table = parts.new_empty(4, plan.channels)
    rows = parts.shape[1] * parts.shape[2]
    arrays = x, parts, norm.weight, norm.bias, running_mean, running_var, table
    grid = (-(-plan.channels // SETTLED["BLOCK_C"]),)
    kernels._settle[grid](*arrays, rows, float(values), share, float(norm.eps), plan.channels, **SETTLED)
    return table


def _affine(
    plan: _Plan, x: Tensor, ab: tuple[Tensor, Tensor], rest: Tensor | None, act: int, y: Tensor
) -> Tensor:
    step = plan.channels if ab[0].ndim > 1 else 0
    more = x if rest is None else rest.to(x.dtype).contiguous()
    arrays = x, *ab, more, y, plan.rows, step, *plan.sizes
    grid = plan.grid(BLOCK["BLOCK_R"])
    kernels._affine[grid](*arrays, ACT=act, REST=rest is not None, **plan.blocks)
    return y


def _normed(
    x: Tensor, norm: nn.BatchNorm3d, rest: Tensor | None, act: int, y: Tensor
) -> tuple[Tensor, _Plan, Tensor]:
    """The result in y, and what made it."""
    plan = _Plan.of(x)
    table = _table(plan, norm, x, _moments(plan, x) if norm.training else None)
    return _affine(plan, x, (table[2], table[3]), rest, act, y), plan, table


class _Gated(NamedTuple):
    """kept: of squeeze-excite the means of the clips, its input, its gates, its hidden layer."""

    result: Tensor
    plan: _Plan
    table: Tensor
    kept: tuple[Tensor, ...]


def _gated_silu(x: Tensor, norm: nn.BatchNorm3d, excite: Excite, y: Tensor) -> _Gated:
    """silu(gate * norm(x)), in y."""
    plan = _Plan.of(x)
    parts = _moments(plan, x) if norm.training or excite else None
    table = _table(plan, norm, x, parts)
    ab = table[2], table[3]
    kept: tuple[Tensor, ...] = ()
    if excite:
        assert parts is not None
        means = parts[0].sum(1) / plan.positions + x.flatten(0, 3)[0].float()
        squeezed = ab[0] * means + ab[1]
        with torch.autocast(x.device.type, enabled=False):
            gates, hidden = gates_of(squeezed, excite)
        ab, kept = (gates * ab[0], gates * ab[1]), (means, squeezed, gates, hidden)
    return _Gated(_affine(plan, x, ab, None, kernels.SILU, y), plan, table, kept)


def _sums(
    plan: _Plan, dy: Tensor, x: Tensor, y: Tensor | None, table: Tensor, ab: tuple[Tensor, Tensor], act: int
) -> tuple[Tensor, Tensor]:
    """The parts of the sums of du and du * (x - mean), and du where y is given, else dy."""
    grid, rest = plan.grid(plan.share), y is not None
    parts = x.new_empty(2, plan.clips, grid[0] * plan.fold, plan.channels, dtype=torch.float32)
    du = torch.empty_like(x) if rest else dy
    step = plan.channels if ab[0].ndim > 1 else 0
    arrays = dy, x, y if rest else x, table, *ab, du, parts, plan.rows, plan.share, step, *plan.sizes
    kernels._sums[grid](*arrays, ACT=act, REST=rest, **plan.blocks)
    return parts, du


def _gradient(
    plan: _Plan, dy: Tensor, x: Tensor, table: Tensor, ab: tuple[Tensor, Tensor],
    pqr: tuple[Tensor, Tensor, Tensor], act: int,
) -> Tensor:  # fmt: skip
    dx, step = torch.empty_like(x), plan.channels if ab[0].ndim > 1 else 0
    grid, arrays = plan.grid(BLOCK["BLOCK_R"]), (dy, x, table, *ab, *pqr, dx)
    kernels._gradient[grid](*arrays, plan.rows, step, *plan.sizes, ACT=act, **plan.blocks)
    return dx


def _settle_back(plan: _Plan, parts: Tensor, table: Tensor, batch: bool) -> Tensor:
    """(4, C): gradients of weight and bias, and q and r of the kernels."""
    found, rows = torch.empty_like(table), parts.shape[1] * parts.shape[2]
    grid = (-(-plan.channels // SETTLED["BLOCK_C"]),)
    values = float(plan.clips * plan.positions)
    kernels._settle_back[grid](parts, table, found, rows, values, plan.channels, BATCH=batch, **SETTLED)
    return found


class _NormAct(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, rest: Tensor | None, norm: nn.BatchNorm3d, act: int
    ) -> Tensor:
        del weight, bias  # those of norm
        y, plan, table = _normed(x, norm, rest, act, torch.empty_like(x))
        ctx.save_for_backward(x, table, None if rest is None else y)
        ctx.plan, ctx.act, ctx.batch = plan, act, norm.training
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        (x, table, y), plan = ctx.saved_tensors, ctx.plan
        ab = table[2], table[3]
        parts, du = _sums(plan, dy.contiguous(), x, y, table, ab, ctx.act)
        found = _settle_back(plan, parts, table, ctx.batch)
        act = ctx.act if y is None else kernels.NONE
        dx = _gradient(plan, du, x, table, ab, (table[2], found[2], found[3]), act)
        return dx, found[0], found[1], None if y is None else du, None, None


class _NormSilu(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, norm: nn.BatchNorm3d, *excite: Tensor
    ) -> Tensor:
        del weight, bias
        y, plan, table, kept = _gated_silu(x, norm, excite, torch.empty_like(x))
        ctx.save_for_backward(x, table, *kept, *excite)
        ctx.plan, ctx.batch = plan, norm.training
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        (x, table, *kept), plan, dy = ctx.saved_tensors, ctx.plan, dy.contiguous()
        if not kept:
            ab = table[2], table[3]
            parts, _ = _sums(plan, dy, x, None, table, ab, kernels.SILU)
            found = _settle_back(plan, parts, table, ctx.batch)
            pqr = table[2], found[2], found[3]
            return _gradient(plan, dy, x, table, ab, pqr, kernels.SILU), found[0], found[1], None
        means, squeezed, gates, hidden, *excite = kept
        mean, rate, a, b = table
        ab = gates * a, gates * b
        parts, _ = _sums(plan, dy, x, None, table, ab, kernels.SILU)
        added, moved = parts.sum(2)  # of each clip, through the gates
        dgates = a * moved + (a * mean + b) * added
        dmeans, *dexcite = excite_backward(dgates, gates, squeezed, hidden, tuple(excite))
        dbias = (gates * added + dmeans).sum(0)
        dcentred = (gates * moved + dmeans * (means - mean)).sum(0)
        values = plan.clips * plan.positions if ctx.batch else math.inf
        r = a * (dmeans / plan.positions - dbias / values)
        pqr = ab[0], -a * rate.square() * dcentred / values, r
        dx = _gradient(plan, dy, x, table, ab, pqr, kernels.SILU)
        return dx, rate * dcentred, dbias, None, *dexcite
