"""The parts of benchmarks/gpu.py: each writes rows of numbers, a JSON object a line."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from kernels import Shape, shapes
from torch import Tensor, nn
from train_step import LAYOUTS, NETWORKS, build_theirs, make_step, pytorchvideo_builder

from expander.cost import cost
from expander.model.network import X3D
from expander.spec import Base, Spec

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
INTERRUPTED = 130
ODD = [(1, 1, 1, 1, 1, 1), (2, 3, 5, 7, 9, 2), (1, 2, 6, 5, 70, 2), (3, 7, 9, 4, 24, 0), (1, 6, 3, 3, 33, 1)]
"""Clips, frames, height, width, channels, stride (0: 5x1x1)."""
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2e-2}
PASSES = 7
"""Of every convolution's result through memory in a step: written and read, and about five backward."""
TINY = Spec(base=Base(frames=2, crop=32, stem_width=8, depths=(1, 1), head_width=16, classes=4))


class Rows:
    """Rows of one part, written as they come, so that a part that is stopped leaves what it had."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, what: str, **numbers: Any) -> None:
        """Writes one row."""
        with self.path.open("a") as out:
            out.write(json.dumps({"what": what, **numbers}) + "\n")
        print(what, numbers, flush=True)


def milliseconds(run: Callable[[], object], rounds: int = 20) -> float:
    """Median of one call on the device, by its own clock; by ours without a GPU."""
    for _ in range(3):
        run()
    if DEVICE == "cpu":
        start = time.perf_counter()
        run()
        return 1e3 * (time.perf_counter() - start)
    times = []
    for _ in range(rounds):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        run()
        end.record()
        times.append((begin, end))
    torch.cuda.synchronize()
    return sorted(begin.elapsed_time(end) for begin, end in times)[rounds // 2]


def bandwidth() -> float:
    """Bytes a second of a copy within the device, read and written."""
    source = torch.empty(2**30 if DEVICE == "cuda" else 2**22, dtype=torch.uint8, device=DEVICE)
    target = torch.empty_like(source)
    return 2e3 * source.numel() / milliseconds(lambda: target.copy_(source))


# ---- correctness


def cases(small: bool) -> Iterator[tuple[int, ...]]:
    """Every shape of X3D-S, M and X2D, and odd ones."""
    yield from ODD
    if not small:
        found = {shape for name in ("X2D", "X3D-S", "X3D-M") for shape, _ in shapes(NETWORKS[name])}
        yield from ((2, frames, size, size, c, stride) for frames, size, c, stride in sorted(found))


def correctness(rows: Rows, small: bool) -> None:
    """Kernels against the library in float64, twice; the operators' own checks; 20 steps of training."""
    from expander.model import gpu

    with together(len(TOLERANCE)) as pool:  # most of the time goes into compiling
        for row in pool.map(check_kind, TOLERANCE, itertools.repeat(small)):
            rows.add(**row)
    x, w = torch.randn(1, 2, 4, 3, 5, device=DEVICE), torch.randn(5, 1, 3, 3, 3, device=DEVICE)
    for stride in (1, 2):
        arguments = x.clone().requires_grad_(), w.clone().requires_grad_(), stride
        rows.add(f"opcheck stride {stride}", **torch.library.opcheck(gpu.depthwise, arguments))
    if not small:
        ours, theirs = (losses(kernels) for kernels in ("own", "reference"))
        gap = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
        rows.add("20 steps, own against reference kernels", largest_gap=gap, first=ours[0], last=ours[-1])


def together(processes: int) -> ProcessPoolExecutor:
    """Processes that compile side by side and measure one at a time."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(processes, context, _share, (context.Lock(),))


def _share(lock: Any) -> None:
    MEASURING.append(lock)


MEASURING: list[Any] = []
"""The lock of the processes of `together`, in each of them."""


def check_kind(kind: torch.dtype, small: bool) -> dict[str, Any]:
    """One row: the largest error of all cases in one precision, and whether all repeat to the bit."""
    found = {case: compare(case, kind) for case in cases(small)}
    worst = max(error for errors, _ in found.values() for error in errors)
    wrong = [str(case) for case, (errors, _) in found.items() if max(errors) > TOLERANCE[kind]]
    same = all(same for _, same in found.values())
    return {"what": f"kernels {kind}", "cases": len(found), "worst": worst, "wrong": wrong, "bit_equal": same}


def compare(case: tuple[int, ...], kind: torch.dtype) -> tuple[tuple[float, ...], bool]:
    """Relative errors of result and both gradients, and whether a second run gives the same bits."""
    from expander.model import gpu

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
        y = gpu.depthwise(x, weight, stride or 1)
        runs.append((y, *torch.autograd.grad(y, (x, weight), upstream)))
    errors = tuple(
        float((mine.double() - other).detach().abs().max() / other.abs().max().clamp_min(1e-30))
        for mine, other in zip(runs[0], reference, strict=True)
    )
    return errors, all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


def losses(kernels: str) -> list[float]:
    """Of 20 training steps of X2D with own or reference kernels, float32."""
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


# ---- kernels


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
    from expander.model import gpu

    frames, size, c, stride = shape
    x = torch.randn(batch, frames, size, size, c, device=DEVICE).bfloat16()
    weight = torch.randn(c, 1, *((3, 3, 3) if stride else (5, 1, 1)), device=DEVICE).bfloat16()
    step = stride or 1
    y = gpu.depthwise(x, weight, step)
    taken = {
        "forward_ms": milliseconds(lambda: gpu.depthwise(x, weight, step)),
        "input_ms": milliseconds(lambda: gpu.input_gradient(y, weight, step, size, size)),
        "weight_ms": milliseconds(lambda: gpu.weight_gradient(x, y, weight, step)),
    }
    moved = 2 * (3 * x.numel() + 3 * y.numel())  # forward x, y; of the input dy, dx; of the weight x, dy
    bound = 1e3 * moved / rate
    return {**taken, "bound_ms": bound, "share": bound / sum(taken.values())}


SWEEP = [(13, 40, 54, 1), (13, 20, 108, 1), (13, 10, 216, 1), (13, 80, 54, 2), (13, 80, 24, 0)]


def blocks(rows: Rows, small: bool) -> None:
    """Milliseconds of every kernel for other blocks than the chosen ones: what the choice rests on."""
    from expander.model import kernels_triton as triton_kernels

    for frames, size, c, stride in [(2, 4, 8, 1)] if small else SWEEP:
        x = torch.randn(1 if small else 64, frames, size, size, c, device=DEVICE).bfloat16()
        weight = torch.randn(c, 1, *((3, 3, 3) if stride else (5, 1, 1)), device=DEVICE).bfloat16()
        step = stride or 1
        y = triton_kernels.forward(x, weight, step)
        calls = {
            "forward": lambda **b: triton_kernels.forward(x, weight, step, **b),
            "input": lambda **b: triton_kernels.input_gradient(y, weight, step, size, size, **b),
            "weight": lambda **b: triton_kernels.weight_gradient(x, y, weight, step, **b),
        }
        for what, call in calls.items():
            found = {}
            for chosen in choices(what, step, small):
                try:
                    found[str(chosen)] = round(milliseconds(lambda: call(**chosen), 10), 4)
                except Exception as error:
                    found[str(chosen)] = str(error)[:80]
            rows.add(f"{(frames, size, c, stride)} {what}", **dict(sorted(found.items(), key=lambda i: str(i[1]))))


def choices(what: str, stride: int, small: bool) -> list[dict[str, int]]:
    """Blocks to try."""
    if what == "weight":
        found = [{"BLOCK_P": p, "num_warps": w, "programs": n} for p, w, n in itertools.product((16, 32), (4, 8), (512, 2048))]
    elif what == "input" and stride == 2:
        found = [{"BLOCK_P": p, "num_warps": w} for p, w in itertools.product((8, 16, 32), (4, 8))]
    else:
        found = [{"FRAMES": f, "BLOCK_P": p, "num_warps": w}
                 for f, p, w in ((5, 16, 4), (5, 32, 8), (5, 8, 2), (4, 16, 4), (3, 16, 4), (3, 32, 4), (2, 32, 4), (7, 16, 4), (7, 16, 8), (13, 8, 4))]
    return found[:1] if small else found


# ---- speed of networks


def training(rows: Rows, small: bool) -> None:
    """Clips a second of a training step: ours and PyTorchVideo's, either layout."""
    rate = bandwidth()
    for name, (who, layout) in itertools.product(["tiny"] if small else ["X3D-S", "X3D-M"], VARIANTS):
        rows.add(**network_row(name, who, layout, False, rate))


def compiled(rows: Rows, small: bool) -> None:
    """The same, both compiled: compiling side by side takes minutes."""
    rate, name = bandwidth(), "tiny" if small else "X3D-S"
    with together(len(VARIANTS)) as pool:
        jobs = [pool.submit(network_row, name, who, layout, True, rate) for who, layout in VARIANTS]
        for job in as_completed(jobs):
            rows.add(**job.result())


def network_row(name: str, who: str, layout: str, compile_it: bool, rate: float) -> dict[str, Any]:
    """One row of `training`. rate: bytes a second of a copy."""
    spec, batch = (TINY, 2) if name == "tiny" else (NETWORKS[name], 64)
    net = X3D(spec) if who == "ours" else build_theirs(pytorchvideo_builder(), spec)
    row = step_row(net, spec, batch, layout, compile_it, "bf16")
    share = cost(spec).activations * 2 * PASSES / rate * row.get("clips_per_s", 0.0)
    return {"what": f"{name} {who} {layout} {'compiled' if compile_it else 'eager'}", **row, "share_of_floor": share}


VARIANTS = [("ours", "channels_last"), ("pytorchvideo", "channels_last"), ("pytorchvideo", "contiguous")]
"""Whose network, in which memory layout; the most telling first."""


def step_row(net: nn.Module, spec: Spec, batch: int, layout: str, compiled: bool, precision: str) -> dict[str, Any]:
    """Clips a second, peak memory, and seconds to the first step's end."""
    torch.manual_seed(0)
    clips = torch.randn(batch, 3, spec.frames, spec.crop, spec.crop, device=DEVICE)
    labels = torch.randint(spec.base.classes, (batch,), device=DEVICE)
    start = time.perf_counter()
    try:
        step = make_step(torch.compile(net) if compiled else net, clips, labels, LAYOUTS[layout], precision)  # type: ignore[arg-type]
        step()
        first = time.perf_counter() - start
        with MEASURING[0] if MEASURING else contextlib.nullcontext():
            if DEVICE == "cuda":
                torch.cuda.reset_peak_memory_stats()
            taken = milliseconds(step, 10)
    except Exception as error:
        return {"failed": str(error).strip().splitlines()[0][:160] if str(error) else type(error).__name__}
    peak = torch.cuda.max_memory_allocated() / 1e9 if DEVICE == "cuda" else 0.0
    return {"clips_per_s": 1e3 * batch / taken, "ms": taken, "peak_GB": peak, "first_s": first}


def inference(rows: Rows, small: bool) -> None:
    """Clips a second without gradients, batch norm folded or as trained."""
    builder = pytorchvideo_builder()
    for name in ["tiny"] if small else ["X3D-S", "X3D-M"]:
        spec, batch = (TINY, 2) if small else (NETWORKS[name], 64)
        clips = torch.randn(batch, 3, spec.frames, spec.crop, spec.crop, device=DEVICE)
        clips = clips.contiguous(memory_format=torch.channels_last_3d)
        for who in ("ours", "pytorchvideo"):
            net = X3D(spec) if who == "ours" else build_theirs(builder, spec)
            net = net.to(DEVICE, memory_format=torch.channels_last_3d).eval()  # type: ignore[call-overload]
            ready: Callable[[Tensor], Tensor] = net
            with torch.no_grad(), torch.autocast(DEVICE, torch.bfloat16):
                taken = milliseconds(lambda run=ready, seen=clips: run(seen), 10)  # type: ignore[misc]
            rows.add(f"{name} {who} eager", clips_per_s=1e3 * batch / taken)


# ---- the product


def product(rows: Rows, small: bool) -> None:
    """A search, a multi-view test and a training with a resume, by the commands that people use."""
    home = rows.path.parent / "product"
    home.mkdir(exist_ok=True)
    few = ["--set", "proxy.steps=8", "--max-steps", "1"] if small else ["--cpus-per-trial", "4"]
    search = ["search", "--space", "tiny", "--target-gflops", "0.0011", "--backend", "inline"]
    rows.add("search --space tiny", seconds=command([*search, "--run", "gpu-search", *few], home))
    views = ["--views", "1x1" if small else "30", "--workers", "2" if small else "12"]
    found = {}
    for device in dict.fromkeys((DEVICE, "cpu")):
        scores = home / f"{device}.jsonl"
        test = ["test", "gpu-search:step1" if small else "gpu-search", *views, "--device", device]
        taken = command([*test, "--out", f"{device}.json", "--dump-scores", str(scores)], home)
        found[device] = scores_of(scores)
        rows.add(f"test on {device}", seconds=taken, videos=len(found[device]))
    gap = max(abs(a - b) for name, row in found[DEVICE].items() for a, b in zip(row, found["cpu"][name], strict=True))
    rows.add(f"scores of {DEVICE} and cpu", largest_gap=gap)
    if small:
        return
    rows.add("search --space x3d --dry-run", seconds=command(["search", "--target-gflops", "2", "--dry-run"], home))
    train = ["train", "x3d_s", "--run", "gpu-train", "--epochs", "3", "--batch", "32", "--set", "data.workers=12"]
    rows.add("train x3d_s, interrupted", seconds=command(train, home, interrupt=45))
    rows.add("train x3d_s, resumed", seconds=command([*train, "--resume"], home))


def scores_of(file: Path) -> dict[str, list[float]]:
    """By video, from a file of scores."""
    found = (json.loads(line) for line in file.read_text().splitlines())
    return {row["video"]: row["scores"] for row in found if "scores" in row}


def command(arguments: list[str], home: Path, interrupt: float | None = None) -> float:
    """Seconds of one command of expander; its output goes to the part's log. interrupt: stop it by then."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "expander.cli", *arguments], cwd=home)
    try:
        code = process.wait(interrupt)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        code = process.wait()
        code = 0 if code == INTERRUPTED else code
    if code:
        raise SystemExit(f"expander {' '.join(arguments)}: exit {code}")
    return time.perf_counter() - start


def profile(rows: Rows, small: bool) -> None:
    """The share of the time of one step by kind of operator."""
    spec, batch = (TINY, 2) if small else (NETWORKS["X3D-S"], 64)
    clips = torch.randn(batch, 3, spec.frames, spec.crop, spec.crop, device=DEVICE)
    labels = torch.randint(spec.base.classes, (batch,), device=DEVICE)
    step = make_step(X3D(spec), clips, labels, torch.channels_last_3d, "bf16")
    for _ in range(3):
        step()
    with torch.profiler.profile() as record:
        step()
        if DEVICE == "cuda":
            torch.cuda.synchronize()
    key = "self_device_time_total" if DEVICE == "cuda" else "self_cpu_time_total"
    events = sorted(record.key_averages(), key=lambda event: -getattr(event, key))
    total = sum(getattr(event, key) for event in events)
    for event in events[:24]:
        taken = getattr(event, key)
        rows.add(event.key[:70], share=taken / total, ms=taken / 1e3, calls=event.count)


def main() -> None:
    """Runs one part."""
    parser = argparse.ArgumentParser(description="One part of benchmarks/gpu.py.")
    parts = {f.__name__: f for f in (correctness, kernels, blocks, training, compiled, inference, product, profile)}
    parser.add_argument("part", choices=list(parts))
    parser.add_argument("rows", type=Path)
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    parts[options.part](Rows(options.rows.resolve()), options.small)


if __name__ == "__main__":
    main()
