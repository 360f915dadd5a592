"""What the functions of the Python API give: of a search, of a training, and the report of runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from expander.specs.spec import Spec

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from expander.runs.events import Candidate


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search came to. folder: of its run. path: the base and what every step chose.

    outcome: target, limit or failed; reason: in words.
    """

    folder: Path
    path: tuple[Candidate, ...]
    accuracies: tuple[float, ...]
    outcome: str
    reason: str

    @property
    def spec(self) -> Spec:
        """The network that was found."""
        return self.path[-1].spec


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a training came to. weights: of its best validation, if any, or the last.

    top1: of that validation; of several labels a video and of detection, mean_average_precision.
    """

    folder: Path
    spec: Spec
    top1: float | None
    weights: Path
    mean_average_precision: float | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """Tables of runs, typed as `report.schema` says.

    figure: of one run its trajectory, of several their frontiers (none where nothing was decided yet).
    """

    steps: pd.DataFrame
    trials: pd.DataFrame
    decisions: pd.DataFrame
    frontier: pd.DataFrame
    figure: Figure | None
