"""Latency and memory of a spec's inference, measured on this machine and kept beside the run.

What was measured once is not measured again (RUN/measured.jsonl, one JSON object a line), so a search
that was stopped decides as it would have, however much the clock wavers.
"""

from __future__ import annotations

import json
import logging
import math
import platform
import statistics
import time
import weakref
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from expander.errors import DataError, EnvironmentFault
from expander.runs.events import Problem
from expander.runs.journal import write_atomic
from expander.runs.sealed_lines import RESTORE, SealedLines, rows_of, sealed_lines
from expander.search.expansion import CostOf
from expander.specs.cost import cost
from expander.specs.cost_kinds import Cost
from expander.specs.spec import Spec

log = logging.getLogger(__name__)
WARM_UP, LEAST, MOST, SECONDS = 3, 9, 101, 1.0
"""Passes before measuring; passes measured: for about SECONDS, but no fewer and no more than these."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """Of one view in inference. latency_ms: median. spread_ms: between the quartiles.

    memory_mb: the most that was held at a time, weights included: what CUDA's allocator says, on a CPU
    the tensors alive (without the scratch of a single operator).
    """

    latency_ms: float
    spread_ms: float
    memory_mb: float


def device_name(threads: int) -> str:
    """The device that is measured; a measurement holds for it alone."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{platform.machine()} CPU, threads: {threads}"


def measure(spec: Spec, threads: int, persons: int | None = None, dilation: int = 1) -> Measurement:
    """Latency and memory of one view of `spec` on the GPU if there is one, else on `threads` of the CPU.

    persons: of action detection, how many boxes are looked at, as large as the view; none: of classification.
    dilation: of its last stage.
    """
    import torch

    from expander.model.detector import Detector
    from expander.model.network import X3D

    torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = X3D(spec) if persons is None else Detector(spec, dilation=dilation)
    network.to(device).eval()
    shape = (1, spec.frames, spec.crop, spec.crop, 3)
    clip_NCTHW = torch.rand(shape, device=device).permute(0, 4, 1, 2, 3)
    boxes_K4 = torch.tensor([[0.0, 0.0, spec.crop, spec.crop]], device=device).repeat(persons or 0, 1)
    given = () if persons is None else (boxes_K4, torch.zeros(persons, dtype=torch.long, device=device))

    def run() -> float:
        begun = time.perf_counter()
        network(clip_NCTHW, *given)
        if device.type == "cuda":
            torch.cuda.synchronize()
        return 1000 * (time.perf_counter() - begun)

    with torch.inference_mode():
        warm = [run() for _ in range(WARM_UP)]
        passes = min(MOST, max(LEAST, round(1000 * SECONDS / min(warm))))
        times = sorted(run() for _ in range(passes))
        memory = _peak(network, clip_NCTHW, run)
    low, middle, high = statistics.quantiles(times, n=4)
    return Measurement(middle, high - low, memory / 1e6)


def _peak(network: Any, clip: Any, run: Callable[[], float]) -> int:
    """The most bytes held at a time during a pass."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        run()
        return torch.cuda.max_memory_allocated()
    state = [*network.parameters(), *network.buffers(), clip]
    held: int = sum(t.untyped_storage().nbytes() for t in state)
    return held + _most_alive(run)


def _most_alive(run: Callable[[], float]) -> int:
    """The most bytes of new tensors alive at a time while `run` runs, counted at every operator."""
    from torch import Tensor
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    alive: dict[int, int] = {}
    most = 0

    class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal most
            outputs = func(*args, **(kwargs or {}))
            for tensor in tree_leaves(outputs):
                if isinstance(tensor, Tensor):
                    self.count(tensor.untyped_storage())
            most = max(most, sum(alive.values()))
            return outputs

        def count(self, storage: Any) -> None:
            key = storage._cdata
            if key not in alive:
                alive[key] = storage.nbytes()
                weakref.finalize(storage, alive.pop, key, None)

    with Watch():  # type: ignore[no-untyped-call]
        run()
    return most


class MeasuredCosts:
    """A CostOf with latency and memory, measured at first need and kept in `file` (none: in memory).

    What is damaged of the file is measured again, with a warning; on a full disk nothing more is kept.
    """

    def __init__(
        self, file: Path | None, threads: int, measurer: Callable[[Spec, int], Measurement] = measure,
        persons: int | None = None,
    ) -> None:  # fmt: skip
        self.file, self.threads, self.measurer, self.persons = file, threads, measurer, persons
        self.device = device_name(threads)
        self.known = self._read()

    def __call__(self, spec: Spec) -> Cost:
        """The cost of a spec."""
        key = self._key(spec)
        if key not in self.known:
            self.known[key] = self.measurer(spec, self.threads)
            self._keep()
        found = self.known[key]
        return replace(cost(spec, boxes=self.persons), latency_ms=found.latency_ms, memory_mb=found.memory_mb)

    def _key(self, spec: Spec) -> str:
        return json.dumps([self.device, *spec.sizes, spec.base.head_width, spec.base.classes])

    def _read(self) -> dict[str, Measurement]:
        known: dict[str, Measurement] = {}
        if self.file is None:
            return known
        try:
            for row in rows_of(SealedLines(self.file, "a measurement")):
                key = str(row.pop("key"))
                known[key] = _checked(Measurement(**row))
        except (DataError, KeyError, TypeError, ValueError) as error:
            said = str(error) if isinstance(error, DataError) else f"{self.file}: not a measurement"
            log.warning("%s; measured again", said.removesuffix(f"; {RESTORE}"))
        return known

    def _keep(self) -> None:
        if self.file is None:
            return
        rows = [{"key": key, **asdict(found)} for key, found in self.known.items()]
        try:
            write_atomic(self.file, sealed_lines(rows))
        except EnvironmentFault as error:
            log.warning("%s; measurements are not kept", error)
            self.file = None


def _checked(found: Measurement) -> Measurement:
    """Raises ValueError for a measurement that cannot be."""
    if not all(0 <= value < math.inf for value in asdict(found).values()) or found.latency_ms == 0:
        raise ValueError
    return found


def cost_function(problem: Problem, folder: Path | None, threads: int) -> CostOf:
    """What a search asks for costs: closed form, with measurements where the problem needs them."""
    file = folder / "measured.jsonl" if folder else None
    if problem.measures:
        measurer = partial(measure, persons=problem.persons, dilation=problem.space.proxy.dilation)
        return MeasuredCosts(file, threads, measurer, problem.persons)
    return partial(cost, boxes=problem.persons)
