"""What rungs save and what they change: a search with them beside the same search without.

    expander search --space tiny --target-gflops 0.0011 --run whole
    expander search --space tiny --target-gflops 0.0011 --run rungs --set 'selection.rungs=[0.25, 0.5]'
    python analysis/rungs.py runs/whole runs/rungs

Prints the clips of both, the choices of both, and, where a candidate that the whole search has chosen was
stopped at a rung, what was known of it then and what it became. Trains nothing.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from expander.report.tables import decisions, trials
from expander.runs.journal import Run

STOPPED = "stopped at step "
"""What the reason of a decision begins with where a rung ended a candidate."""


def main() -> None:
    """Prints the three tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("whole", type=Path)
    parser.add_argument("rungs", type=Path)
    given = parser.parse_args()
    whole, rungs = Run(given.whole), Run(given.rungs)
    clips = [int(trials(run)["clips"].sum()) for run in (whole, rungs)]
    print(f"clips trained: {clips[0]} whole, {clips[1]} with rungs: {clips[0] / clips[1]:.2f} times fewer\n")
    print(choices(whole, rungs).to_string(index=False), "\n")
    print(stopped(whole, rungs).to_string(index=False))


def choices(whole: Run, rungs: Run) -> pd.DataFrame:
    """Axis, accuracy in % and cost in M multiply-adds of every step of both."""
    parts = []
    for run in (whole, rungs):
        table = decisions(run)
        kept = table[table["chosen"]].set_index("step")[["axis", "accuracy", "cost"]]
        kept = kept.assign(accuracy=(100 * kept["accuracy"]).round(1), cost=(kept["cost"] / 1e6).round(3))
        parts.append(kept.add_suffix(f", {run.folder.name}"))
    return parts[0].join(parts[1], how="outer").reset_index()


def stopped(whole: Run, rungs: Run) -> pd.DataFrame:
    """Candidates that stopped at a rung, and how the same spec ended where it was trained to the end.

    Accuracies in %; behind: the leader of the rung, in points of the score, with its interval.
    """
    ends = decisions(whole).dropna(subset=["accuracy"]).drop_duplicates("spec_id").set_index("spec_id")
    rows = []
    for row in decisions(rungs).dropna(subset=["accuracy"]).itertuples():
        until = row.reason.removeprefix(STOPPED)
        if until == row.reason or row.spec_id not in ends.index:
            continue
        end = ends.loc[row.spec_id]
        rows.append({
            "step": row.step, "axis": row.axis, "stopped at": int(until),
            "accuracy": round(100 * row.accuracy, 1),
            "behind": f"{100 * row.behind:.1f} [{100 * row.low:.1f}, {100 * row.high:.1f}]",
            "at the end": round(100 * end["accuracy"], 1), "chosen there": bool(end["chosen"]),
        })  # fmt: skip
    return pd.DataFrame(rows)


if __name__ == "__main__":
    main()
