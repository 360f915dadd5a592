"""Candidates that begin with the weights of the spec they grew from, against candidates from scratch.

    python analysis/inherit.py --scratch runs/a runs/b --inherited runs/c runs/d [--train]
    python analysis/inherit.py --second DIR      # makes another set of videos to search on, with --data DIR

The runs are searches like the demo's, with other seeds, without and with `--set proxy.inherit=0.5`. Prints
what each spent and found; how well the order of each step's candidates agrees with their order after long
trainings from scratch (Spearman's correlation); and how many ranks higher than there the axes stand that
keep all weights. Long trainings are rows of the table of `analysis/lattice.py`; --train adds missing ones.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from lattice import Lattice, Training, problem
from regret import LONG

from expander.config.settings import DataConfig
from expander.data.embedded.synthetic import SetConfig, make
from expander.data.sources import open_data
from expander.report.reader import History, history
from expander.runs.journal import Run
from expander.runs.trials import TrialResult
from expander.search.accounting import total
from expander.specs.spec import Spec

SECOND = SetConfig(
    classes=("walk", "walk-backwards", "sit-down", "stand-up", "lie-down", "get-up", "wave", "raise-hand",
             "run", "jump", "clap", "kick"),
    train=90, val=60, frames=48, height=80, width=80,
)  # fmt: skip
KEEPING = ("temporal", "frame_rate", "spatial")
"""Axes along which every weight stays as it is, and none is added."""


def candidates(of: History) -> Iterable[tuple[int, str, Spec, float]]:
    """Of every step that expands: its number, the axis, the spec, the mean accuracy of its proxies."""
    for step in of.path:
        for candidate in step.plan.candidates if step.plan.kind == "expansion" else ():
            results = step.outcomes(candidate.axis)
            found = [result.accuracy for result in results if isinstance(result, TrialResult)]
            if found:
                yield step.plan.step, candidate.axis, candidate.spec, sum(found) / len(found)


def compared(runs: dict[str, list[History]], lattice: Lattice) -> pd.DataFrame:
    """A row a candidate: how it began, its ranks within its step by proxy and by long training."""
    steps = LONG * lattice.problem.space.proxy.steps
    rows = pd.DataFrame(
        {"begins": how, "run": of.name, "step": step, "keeps": axis in KEEPING, "proxy": proxy,
         "long": result.accuracy}
        for how, all_of in runs.items() for of in all_of for step, axis, spec, proxy in candidates(of)
        if (result := lattice.get(Training(spec, steps, 0))) is not None
    )  # fmt: skip
    if rows.empty:
        return rows
    groups = rows.groupby(["begins", "run", "step"], sort=False)
    return rows.assign(by_proxy=groups.proxy.rank(), by_long=groups.long.rank())


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """A row a way to begin: agreement within a step, ranks gained by the axes that keep all weights."""
    each = rows.groupby(["begins", "run", "step"], sort=False)
    agreement = each.apply(lambda step: step.by_proxy.corr(step.by_long), include_groups=False)
    lift = (rows.by_proxy - rows.by_long)[rows.keeps].groupby(rows.begins, sort=False).mean()
    by = agreement.groupby("begins", sort=False)
    return pd.DataFrame({"steps": by.size(), "correlation": by.mean(), "lift of keeping axes": lift}).round(2)


def main() -> None:
    """Trains what is missing, or prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--scratch", nargs="*", type=Path, default=())
    parser.add_argument("--inherited", nargs="*", type=Path, default=())
    parser.add_argument("--second", type=Path)
    parser.add_argument("--table", type=Path, default=Path(__file__).with_name("lattice.csv.gz"))
    parser.add_argument("--train", action="store_true")
    told = parser.parse_args()
    if told.second:
        print(make(told.second, SECOND, seed=11))
        return
    folders = {"from scratch": told.scratch, "with weights": told.inherited}
    runs = {how: [history(Run(folder)) for folder in some] for how, some in folders.items()}
    for how, all_of in runs.items():
        for of in all_of:
            last = of.path[-1].chosen if of.path else None
            if last is None:
                parser.error(f"{of.name}: has decided no step")
            path = ", ".join(step.chosen.winner.axis for step in of.path[1:] if step.chosen)
            print(f"{of.name}, {how}: {path}: {last.winner.spec}, {last.winner.cost.macs / 1e6:.3f} M, "
                  f"{last.accuracy:.1%}, {total(of.run.events()).clips} clips")  # fmt: skip
    lattice = Lattice(told.table, problem())
    data = {of.start.data_fingerprint for all_of in runs.values() for of in all_of if of.start}
    if data != {open_data(DataConfig()).fingerprint}:
        print("order of the candidates: only for searches on the embedded videos, which the table is of")
        return
    if told.train:
        specs = (spec for all_of in runs.values() for of in all_of for _, _, spec, _ in candidates(of))
        steps = LONG * lattice.problem.space.proxy.steps
        lattice.train(Training(spec, steps, 0) for spec in dict.fromkeys(specs))
    rows = compared(runs, lattice)
    print("no long trainings: --train" if rows.empty else summary(rows).to_string())


if __name__ == "__main__":
    main()
