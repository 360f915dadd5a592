"""The most that a candidate may cost, of every kind of cost."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import ClassVar

from pydantic import ConfigDict

from expander.config.settings import STRICT
from expander.specs.cost_kinds import CostKind


@dataclass(frozen=True, slots=True)
class Ceilings:
    """The most that a candidate may cost of each kind; none: no limit. Raises ValueError."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT
    flops: float | None = None
    params: float | None = None
    activations: float | None = None
    latency: float | None = None
    memory: float | None = None

    def __post_init__(self) -> None:
        for kind, most in asdict(self).items():
            if most is not None and not 0 < most < math.inf:
                raise ValueError(f"the limit of {kind} must be a positive number, not {most}")

    def of(self, kind: CostKind) -> float | None:
        """The limit of one kind."""
        most: float | None = getattr(self, kind)
        return most


NO_CEILINGS = Ceilings()
