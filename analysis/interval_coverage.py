"""Do the intervals of a search cover? On the table of trainings (`analysis/lattice.py`), pair by pair.

    python analysis/interval_coverage.py            # about five minutes

A pair is two specs, each trained once, and judged on one half of the validation videos: that gives a
difference with its stated 95 % interval. The same two specs trained with another seed and judged on the
other half give the difference a second time. Both are equally uncertain and independent, so the second lies
within the interval made wider by the square root of two in 95 % of the pairs, if the interval is true.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from lattice import Lattice, Training, problem

from expander.config.settings import Selection
from expander.runs.evidence import by_video, pack_bits
from expander.runs.trials import TrialResult
from expander.search.selection import by_videos, difference
from expander.search.spread import UNKNOWN, Spread, pooled

SEEDS = 3
RULE = Selection(resamples=2000)


def half(result: TrialResult, second: bool) -> TrialResult:
    """A result on every second video, whose order is by class."""
    seen = np.array(by_video(result.correct, result.videos), bool)[int(second) :: 2]
    return replace(result, accuracy=float(seen.mean()), videos=len(seen), correct=pack_bits(seen))


def specs(lattice: Lattice) -> list[list[TrialResult]]:
    """The proxies of every spec that was trained with all seeds, the base first."""
    steps = lattice.problem.space.proxy.steps
    found = []
    for spec in dict.fromkeys(key.spec for key in lattice.rows):
        results = [lattice.get(Training(spec, steps, seed)) for seed in range(SEEDS)]
        if None not in results:
            row = [result for result in results if result is not None]
            found.insert(0, row) if spec == lattice.problem.space.start else found.append(row)
    return found


def covered(rows: list[list[TrialResult]], known: Spread, pairs: int, near: float) -> float:
    """The share of pairs, no more than `near` apart. As in a search both specs have the same seed."""
    rng, hits = np.random.default_rng(0), list[bool]()
    while len(hits) < pairs:
        one, other = (rows[number] for number in rng.choice(len(rows), 2, replace=False))
        first, again = rng.choice(SEEDS, 2, replace=False)
        if abs(one[first].accuracy - other[first].accuracy) > near:
            continue
        seen = [[half(row[first], False)] for row in (one, other)]
        found, low, high = difference(seen[0], [seen[1]], RULE, (len(hits),), known)
        repeated = [half(row[again], True).accuracy for row in (one, other)]
        off = (repeated[0] - repeated[1] - found) / 2**0.5
        hits.append(low - found <= off <= high - found)
    return float(np.mean(hits))


def main() -> None:
    """Prints what share of the pairs is covered, by what a search knows of the spread between seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--table", type=Path, default=Path(__file__).with_name("lattice.csv.gz"))
    parser.add_argument("--pairs", type=int, default=1000)
    told = parser.parse_args()
    rows = specs(Lattice(told.table, problem()))
    base, every = pooled([by_videos(rows[0])]), pooled([by_videos(row) for row in rows])
    print(f"{len(rows)} specs, {told.pairs} pairs; spread of all: {every.expected(0):.3f}, of the base: "
          f"{base.expected(0):.3f}, stated before: {RULE.seed_spread}")  # fmt: skip
    knowledge = {"stated": UNKNOWN, "and the base's three seeds": base, "and all of the table": every}
    table = {what: {name: 100 * covered(rows, known, told.pairs, near)
                    for name, near in (("all pairs", 1.0), ("within 10 points", 0.1))}
             for what, known in knowledge.items()}  # fmt: skip
    print(pd.DataFrame(table).T.round(1).to_string())


if __name__ == "__main__":
    main()
