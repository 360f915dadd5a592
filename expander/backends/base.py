"""Backend: where trials run. It trains what it is given and reports each outcome as it comes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Protocol

from expander.errors import EnvironmentFault
from expander.runs.orders import TrialOrder
from expander.runs.trials import TrialFailure, TrialResult

Report = Callable[[TrialResult | TrialFailure], None]


class Backend(Protocol):
    """A context manager: entered once per run, left when the run ends in whatever way."""

    def __enter__(self) -> Backend: ...

    def __exit__(self, *_: object) -> None: ...

    def run(self, orders: Sequence[TrialOrder], report: Report) -> None:
        """Runs all trials; calls `report` once for each, from the calling thread, in any order.

        A trial that raises becomes a TrialFailure; a DataError ends the run. Once the run was asked to
        stop, trials write a checkpoint and are not reported.
        """


def require_ray() -> None:
    """Raises EnvironmentFault, with the line that installs it, where there is no Ray."""
    if find_spec("ray") is None:
        raise EnvironmentFault("Ray is not installed: pip install 'ray[tune]', or do without it: trials by "
                               "--backend inline, a training in one process")  # fmt: skip


def last_lines(text: str, count: int = 3) -> str:
    """The end of a traceback, on one line: what a TrialFailure says of its cause."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return " | ".join(lines[-count:])[:500]
