"""Names that become parts of paths: of runs, trials, steps, results. One check for all of them."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from expander.errors import DataError

PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")
TRIAL = re.compile(
    r"(?P<folder>s(?P<step>\d{2,9})-(?P<axis>[a-z0-9_-]{1,30})-seed(?P<seed>\d{3,18})-(?P<spec>[0-9a-f]{8}))"
    r"(-to(?P<until>\d{4,18}))?"
)
RULE = "take letters, digits, '_', and inside the name '.' and '-'"


@dataclass(frozen=True, slots=True)
class TrialName:
    """What a trial's id says. until: the optimiser step at which it stopped, a rung; none: at the end.

    spec: the id of its spec. folder: its name below trials/, shared by all rungs of a training.
    """

    step: int
    axis: str
    seed: int
    spec: str
    until: int | None
    folder: str


@cache
def trial_name(trial: str) -> TrialName | None:
    """Reads a trial's id, which `trials.make_trial` has made; none for one of another form."""
    found = TRIAL.fullmatch(trial)
    if found is None:
        return None
    until = int(found["until"]) if found["until"] else None
    return TrialName(int(found["step"]), found["axis"], int(found["seed"]), found["spec"], until,
                     found["folder"])  # fmt: skip


def by_seed(trial: str) -> tuple[int, float, str]:
    """Sorts the ids of one candidate's trials: by seed, of a seed the rungs before the whole."""
    found = trial_name(trial)
    if found is None:
        return 0, 0.0, trial
    return found.seed, math.inf if found.until is None else found.until, trial


def is_plain(name: str) -> bool:
    """Whether a name is that of a file in a folder and of nothing else: no `/`, no `..`, no option."""
    return PLAIN.fullmatch(name) is not None


def below(folder: Path, name: str) -> Path:
    """`name` in `folder`, wherever the name comes from.

    Raises DataError for one that is no plain name, and for a link that leaves the folder.
    """
    if not is_plain(name):
        raise DataError(f"{folder}: {name[:60]!r} is no name of a file in it: {RULE}")
    path = folder / name
    inside(folder, path)
    return path


def inside(folder: Path, path: Path) -> None:
    """Raises DataError when a link on the way takes `path` out of `folder`."""
    home, target = os.path.realpath(folder), os.path.realpath(path)
    if os.path.commonpath([home, target]) != home:
        raise DataError(f"{path}: is a link that leaves {folder}; replace it by what it points to")
