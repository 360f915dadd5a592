"""Clips per second of inference: this network against PyTorchVideo's, in both memory layouts.

Ours as it is and with its batch norms folded into the convolutions (expander.model.fold_bn). Rounds are
interleaved and the median counts; with one thread on a CPU the time is that of the process.

    pip install -e '.[bench]'
    python benchmarks/inference.py --threads 2 --batch 8
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from torch import Tensor, nn
from train_step import (
    DEVICE,
    LAYOUTS,
    NETWORKS,
    ON_CPU,
    build_theirs,
    machine,
    pytorchvideo_builder,
    seconds_per_step,
)

from expander.model.fold_bn import fold_batch_norm
from expander.model.network import X3D


def make_call(
    net: nn.Module, clips: Tensor, layout: torch.memory_format, precision: str
) -> Callable[[], None]:
    """One forward pass in evaluation as a function."""
    net = net.to(clips.device, memory_format=layout).eval()  # type: ignore[call-overload]
    clips = clips.contiguous(memory_format=layout)

    @torch.inference_mode()
    def call() -> None:
        with torch.autocast(clips.device.type, torch.bfloat16, enabled=precision == "bf16"):
            net(clips)

    return call


def compare(name: str, create_x3d: Callable[..., nn.Module], options: argparse.Namespace) -> None:
    """Print the clips per second of one network."""
    torch.manual_seed(0)
    spec = NETWORKS[name]
    clips = torch.randn(options.batch, 3, spec.frames, spec.crop, spec.crop, device=options.device)
    networks = {"ours": X3D(spec), "ours folded": fold_batch_norm(X3D(spec))}
    networks["pytorchvideo"] = build_theirs(create_x3d, spec)
    calls = {
        f"{who} {layout}": make_call(net, clips, memory_format, options.precision)
        for who, net in networks.items()
        for layout, memory_format in LAYOUTS.items()
        if who == "pytorchvideo" or layout == "channels_last"
    }
    rates = {key: options.batch / taken for key, taken in seconds_per_step(calls, options.rounds).items()}
    print(name)
    for key, rate in sorted(rates.items()):
        print(f"  {key:28} {rate:8.2f} clips/s")
    ours, theirs = (max(v for k, v in rates.items() if k.startswith(who)) for who in ("ours", "pytorchvideo"))
    print(f"  ours / PyTorchVideo, each at its best: {ours / theirs:.2f}")


def main() -> None:
    """Parse the options and compare every network."""
    parser = argparse.ArgumentParser(description="Clips per second of inference.")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batch", type=int, default=4, help="clips at a time")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds")
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), help="default: by device")
    parser.add_argument("--device", choices=["cpu", "cuda"], default=DEVICE)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32", help="bf16: autocast")
    options = parser.parse_args()
    create_x3d = pytorchvideo_builder()
    torch.set_num_threads(options.threads)
    print(machine(options))
    for name in options.networks or (ON_CPU if options.device == "cpu" else list(NETWORKS)):
        compare(name, create_x3d, options)


if __name__ == "__main__":
    main()
