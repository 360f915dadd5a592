"""The kinds of cost a search can grow by or be limited by, their units, and how people read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

CostKind = Literal["flops", "params", "activations", "latency", "memory"]
"""flops: multiply-adds. latency: milliseconds. memory: megabytes (1e6 bytes). All of one view."""

KINDS: tuple[CostKind, ...] = get_args(CostKind)
MEASURED: tuple[CostKind, ...] = ("latency", "memory")
"""Not computed but measured on the machine that the network is meant for."""

UNITS = {"flops": "multiply-adds", "params": "parameters", "activations": "activations",
         "latency": "ms", "memory": "MB"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one view. macs: multiply-adds of convolutions and linears. activations: their outputs.

    latency_ms, memory_mb: of inference, where a search needed them measured.
    """

    macs: int
    params: int
    activations: int
    latency_ms: float | None = None
    memory_mb: float | None = None

    def of(self, kind: CostKind) -> float:
        """The amount of one kind. Raises ValueError for one that was not measured."""
        found = {"flops": self.macs, "params": self.params, "activations": self.activations,
                 "latency": self.latency_ms, "memory": self.memory_mb}[kind]  # fmt: skip
        if found is None:
            raise ValueError(f"{kind} was not measured")
        return found


def amount_text(kind: CostKind, amount: float) -> str:
    """As people read it: 605.3 M multiply-adds, 12.3 ms."""
    if kind in MEASURED:
        return f"{amount:.4g} {UNITS[kind]}"
    if kind != "flops" and amount < 1e6:
        return f"{amount:,.0f} {UNITS[kind]}"
    number = f"{amount / 1e9:.3f} G" if amount >= 1e9 else f"{amount / 1e6:.4g} M"
    return f"{number} {UNITS[kind]}"


def duration_text(seconds: float) -> str:
    """A time as people say it: 40 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
