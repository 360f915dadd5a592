"""Milliseconds of channel-wise convolution, forward and backward: our kernels, the library, a copy.

Every shape of X3D-S, XS and M and of X2D; the library in channels-last. The bound is the time to copy
what a forward and a backward pass must move: input and result once forward; backward the gradient of
the result twice, input and gradient of the input once each (weights are small). Interleaved rounds, medians.

    python benchmarks/kernels.py --threads 1 --batch 2
    python benchmarks/kernels.py --device cuda --batch 64 --precision bf16 --networks X3D-S X3D-M
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from train_step import DEVICE, NETWORKS, ON_CPU, machine, seconds_per_step

from expander.kernels import depthwise
from expander.specs.spec import Spec

KINDS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
Shape = tuple[int, int, int, int]  # frames, pixels, channels, stride (0: the 5x1x1 convolution)


def shapes(spec: Spec) -> Iterator[tuple[Shape, int]]:
    """Every channel-wise convolution of a network and how often it occurs."""
    size = (spec.crop + 1) // 2
    yield (spec.frames, size, spec.stem_width, 0), 1
    for inner, depth in zip(spec.inner_widths, spec.depths, strict=True):
        yield (spec.frames, size, inner, 2), 1
        size = (size + 1) // 2
        if depth > 1:
            yield (spec.frames, size, inner, 1), depth - 1


def calls(shape: Shape, options: argparse.Namespace) -> dict[str, Callable[[], None]]:
    """Forward and backward of one convolution by us and by the library, and a copy of what must move."""
    (frames, size, channels, stride), kind = shape, KINDS[options.precision]
    kernel = (3, 3, 3) if stride else (5, 1, 1)
    padding = tuple(width // 2 for width in kernel)
    steps = (1, stride or 1, stride or 1)
    conv = nn.Conv3d(channels, channels, kernel, steps, padding, groups=channels, bias=False)
    conv = conv.to(options.device, kind)
    x_NTHWC = torch.randn(options.batch, frames, size, size, channels, device=options.device, dtype=kind)
    x_NTHWC.requires_grad_()

    def library() -> Tensor:
        y = F.conv3d(x_NTHWC.permute(0, 4, 1, 2, 3), conv.weight, None, steps, padding, 1, channels)
        return y.permute(0, 2, 3, 4, 1)

    def ours() -> Tensor:
        if options.device == "cuda":
            return depthwise.convolve(conv, x_NTHWC.permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1)
        if stride:
            return depthwise.depthwise(x_NTHWC, conv.weight, stride)[0]
        return depthwise.temporal(x_NTHWC, conv.weight)[0]

    upstream = torch.randn_like(library()).contiguous()  # channels-last, as in a network
    source = torch.randn((3 * x_NTHWC.numel() + 3 * upstream.numel()) // 2, device=options.device).to(kind)
    target = torch.empty_like(source)

    def both(forward: Callable[[], Tensor]) -> Callable[[], None]:
        def step() -> None:  # not `backward`, which adds to the gradients of the step before
            torch.autograd.grad(forward(), (x_NTHWC, conv.weight), upstream)

        return step

    def copy() -> None:
        target.copy_(source)

    return {"ours": both(ours), "library": both(library), "copy": copy}


def measure(name: str, options: argparse.Namespace) -> None:
    """Print a row for every shape of a network, and the sums over the whole network."""
    print(f"{name}: frames, pixels, channels, stride: ms of ours, library, copy; library / ours; copy / ours")
    total = dict.fromkeys(("ours", "library", "copy"), 0.0)
    for shape, count in shapes(NETWORKS[name]):
        taken = seconds_per_step(calls(shape, options), options.rounds)
        row = {key: 1e3 * value for key, value in taken.items()}
        total = {key: value + count * row[key] for key, value in total.items()}
        what = f"{shape[0]:3} {shape[1]:4} {shape[2]:4} " + (f"s{shape[3]}" if shape[3] else "5x1x1")
        print(f"  {what:20} {count:2}x {_line(row)}")
    print(f"  {'the whole network':24} {_line(total)}")


def _line(row: dict[str, float]) -> str:
    times = " ".join(f"{row[key]:9.2f}" for key in ("ours", "library", "copy"))
    return f"{times}  {row['library'] / row['ours']:6.1f} {row['copy'] / row['ours']:6.0%}"


def main() -> None:
    """Parse the options and measure every network."""
    parser = argparse.ArgumentParser(description="Milliseconds of channel-wise convolutions.")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batch", type=int, default=2, help="clips")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds")
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), help="default: by device")
    parser.add_argument("--device", choices=["cpu", "cuda"], default=DEVICE)
    parser.add_argument("--precision", choices=list(KINDS), default="fp32", help="on a CPU: fp32")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(machine(options))
    for name in options.networks or (ON_CPU if options.device == "cpu" else list(NETWORKS)):
        measure(name, options)


if __name__ == "__main__":
    main()
