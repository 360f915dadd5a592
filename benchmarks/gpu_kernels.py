"""The parts of benchmarks/gpu.py about the kernels: correct? how fast? with which blocks?"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from gpu_common import DEVICE, Rows, bandwidth, device_milliseconds, milliseconds, together
from kernels import Shape, shapes
from torch import Tensor
from train_step import NETWORKS

from expander.model.network import X3D

ODD = [(1, 1, 1, 1, 1, 1), (2, 3, 5, 7, 9, 2), (1, 2, 6, 5, 70, 2), (3, 7, 9, 4, 24, 0), (1, 6, 3, 3, 33, 1)]
"""Clips, frames, height, width, channels, stride (0: 5x1x1)."""
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2e-2}


def cases(small: bool) -> Iterator[tuple[int, ...]]:
    """Every shape of X3D-S, M and X2D, and odd ones."""
    yield from ODD
    if not small:
        found = {shape for name in ("X2D", "X3D-S", "X3D-M") for shape, _ in shapes(NETWORKS[name])}
        yield from ((2, frames, size, size, c, stride) for frames, size, c, stride in sorted(found))


def correctness(rows: Rows, small: bool) -> None:
    """Kernels against the library in float64, twice; the operators' own checks; 20 steps of training."""
    from expander.kernels import depthwise_cuda

    with together(1 if small else len(TOLERANCE)) as pool:  # most of the time goes into compiling on a GPU
        for row in pool.map(check_kind, TOLERANCE, itertools.repeat(small)):
            rows.add(**row)
    x, w = torch.randn(1, 2, 4, 3, 5, device=DEVICE), torch.randn(5, 1, 3, 3, 3, device=DEVICE)
    for stride in (1, 2):
        arguments = x.clone().requires_grad_(), w.clone().requires_grad_(), stride
        rows.add(f"opcheck stride {stride}", **torch.library.opcheck(depthwise_cuda.depthwise, arguments))
    if not small:
        ours, theirs = (losses(kernels) for kernels in ("own", "reference"))
        gap = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
        rows.add("20 steps, own against reference kernels", largest_gap=gap, first=ours[0], last=ours[-1])


def check_kind(kind: torch.dtype, small: bool) -> dict[str, Any]:
    """One row: the largest error of all cases in one precision, and whether all repeat to the bit."""
    found = {case: compare(case, kind) for case in cases(small)}
    worst = max(error for errors, _ in found.values() for error in errors)
    wrong = [str(case) for case, (errors, _) in found.items() if max(errors) > TOLERANCE[kind]]
    same = all(same for _, same in found.values())
    return {"what": f"kernels {kind}", "cases": len(found), "worst": worst, "wrong": wrong, "bit_equal": same}


def compare(case: tuple[int, ...], kind: torch.dtype) -> tuple[tuple[float, ...], bool]:
    """Relative errors of result and both gradients, and whether a second run gives the same bits."""
    from expander.kernels import depthwise_cuda

    n, t, h, w, c, stride = case
    size = (3, 3, 3) if stride else (5, 1, 1)
    steps, padding = (1, stride or 1, stride or 1), tuple(length // 2 for length in size)
    torch.manual_seed(0)
    x = torch.randn(n, t, h, w, c, device=DEVICE).to(kind).requires_grad_()
    weight = torch.randn(c, 1, *size, device=DEVICE).to(kind).requires_grad_()
    wide = x.detach().double().requires_grad_(), weight.detach().double().requires_grad_()
    expected = F.conv3d(wide[0].permute(0, 4, 1, 2, 3), wide[1], None, steps, padding, 1, c)
    expected = expected.permute(0, 2, 3, 4, 1)
    upstream = torch.randn_like(expected).to(kind).contiguous()
    reference = (expected, *torch.autograd.grad(expected, wide, upstream.double()))
    runs = []
    for _ in range(2):
        y = depthwise_cuda.depthwise(x, weight, stride or 1)
        runs.append((y, *torch.autograd.grad(y, (x, weight), upstream)))
    errors = tuple(
        float((mine.double() - other).detach().abs().max() / other.abs().max().clamp_min(1e-30))
        for mine, other in zip(runs[0], reference, strict=True)
    )
    return errors, all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


def losses(kernels: str) -> list[float]:
    """Of 20 training steps of X3D-XS with own or reference kernels, float32."""
    os.environ["EXPANDER_KERNELS"] = kernels
    torch.manual_seed(0)
    net = X3D(NETWORKS["X3D-XS"], dropout=0).to(DEVICE)
    clips, labels = torch.randn(8, 3, 4, 96, 96, device=DEVICE), torch.arange(8, device=DEVICE)
    sgd = torch.optim.SGD(net.parameters(), 0.01, 0.9)
    found = []
    for _ in range(20):
        loss = F.cross_entropy(net(clips), labels)
        sgd.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        sgd.step()
        found.append(float(loss.detach()))
    os.environ.pop("EXPANDER_KERNELS")
    return found


def kernels(rows: Rows, small: bool) -> None:
    """Milliseconds and share of the copy's bytes a second of every channel-wise convolution."""
    rate = bandwidth()
    rows.add("copy", TB_per_s=rate / 1e12)
    for name in ("X3D-S", "X3D-M") if not small else ():
        total = {"forward": 0.0, "input": 0.0, "weight": 0.0, "bound": 0.0}
        for shape, count in shapes(NETWORKS[name]):
            found = kernel_row(shape, 64 if name == "X3D-S" else 32, rate)
            rows.add(f"{name} {shape} {count}x", **found)
            total = {key: value + count * found[f"{key}_ms"] for key, value in total.items()}
        taken = total["forward"] + total["input"] + total["weight"]
        rows.add(f"{name} all, forward and backward", **total, share_of_copy=total["bound"] / taken)
    if small:
        rows.add("in small", **kernel_row((2, 4, 8, 1), 1, rate))


def kernel_row(shape: Shape, batch: int, rate: float) -> dict[str, float]:
    """Milliseconds of forward and both gradients in bfloat16, and the least that memory allows."""
    frames, size, c, stride = shape
    calls = kernel_calls(shape, batch)
    taken = {f"{what}_ms": device_milliseconds(call, 10) for what, call in calls.items()}
    result = size if stride < 2 else (size + 1) // 2
    # Forward x and y; of the input dy and dx; of the weight x and dy: each once, of two bytes.
    moved = 2 * 3 * batch * frames * c * (size**2 + result**2)
    bound = 1e3 * moved / rate
    return {**taken, "bound_ms": bound, "share": bound / sum(taken.values())}


SWEEP = [(13, 40, 54, 1), (13, 20, 108, 1), (13, 10, 216, 1), (13, 80, 54, 2), (13, 80, 24, 0)]


def blocks(rows: Rows, small: bool) -> None:
    """Milliseconds of every kernel for other blocks than the chosen ones: what the choice rests on."""
    for shape in [(2, 4, 8, 1)] if small else SWEEP:
        calls, step = kernel_calls(shape, 1 if small else 64), shape[3] or 1
        for what, call in calls.items():
            found = {
                str(chosen): timed(call, chosen) for chosen in choices(what, step)[: 1 if small else None]
            }
            rows.add(f"{shape} {what}", **dict(sorted(found.items(), key=lambda item: str(item[1]))))


def kernel_calls(shape: Shape, batch: int) -> dict[str, Callable[..., Tensor]]:
    """Forward and both gradients of a shape in bfloat16, as functions of their blocks."""
    from expander.kernels import depthwise_triton

    frames, size, c, stride = shape
    x = torch.randn(batch, frames, size, size, c, device=DEVICE).bfloat16()
    weight = torch.randn(c, 1, *((3, 3, 3) if stride else (5, 1, 1)), device=DEVICE).bfloat16()
    step = stride or 1
    y = depthwise_triton.forward(x, weight, step)
    return {
        "forward": functools.partial(depthwise_triton.forward, x, weight, step),
        "input": functools.partial(depthwise_triton.input_gradient, y, weight, step, size, size),
        "weight": functools.partial(depthwise_triton.weight_gradient, x, y, weight, step),
    }


def timed(call: Callable[..., Tensor], chosen: dict[str, int]) -> float | str:
    """Milliseconds, or why these blocks cannot be used."""
    try:
        return round(milliseconds(lambda: call(**chosen), 10), 4)
    except Exception as error:
        return str(error)[:80]


def choices(what: str, stride: int) -> list[dict[str, int]]:
    """Blocks to try."""
    if what == "weight":
        return [
            {"BLOCK_P": places, "num_warps": warps, "programs": programs}
            for places, warps, programs in itertools.product((16, 32), (4, 8), (512, 2048))
        ]
    if what == "input" and stride == 2:
        pairs = itertools.product((8, 16, 32), (4, 8))
        return [{"BLOCK_P": places, "num_warps": warps} for places, warps in pairs]
    triples = ((5, 16, 4), (5, 32, 8), (4, 16, 4), (3, 32, 4), (2, 32, 4), (7, 16, 4), (7, 16, 8), (13, 8, 4))
    return [{"FRAMES": frames, "BLOCK_P": places, "num_warps": warps} for frames, places, warps in triples]
