"""Prints what README.md and docs/decisions.md say of a run, from its journal alone.

    python analysis/readme_claims.py [RUN]      # by default runs/reference
"""

from __future__ import annotations

import sys
from pathlib import Path

from expander.errors import ExpanderError
from expander.report.forecast_check import foretold, took
from expander.report.reader import history
from expander.report.results import baselines
from expander.report.summary import headline
from expander.report.tables import decisions, macs_text, steps, trajectory_text
from expander.runs.journal import Run
from expander.specs.cost_kinds import duration_text


def main() -> None:
    """The command line."""
    past = history(Run(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/reference")))
    table, tried, real, told = steps(past), decisions(past), took(past), foretold(past)
    if table.empty or past.problem is None:
        raise SystemExit("no step is decided yet")
    first, last = table.iloc[0], table.iloc[-1]
    print(trajectory_text(past))
    print(f"\n{headline(past).outcome}")
    found = f"{last['accuracy']:.1%} at {macs_text(last['cost'])} multiply-adds"
    print(f"base {first['accuracy']:.1%} -> {found}, "
          f"{last['cost'] / first['cost']:.1f} times the base's; {last['params']:,} parameters")  # fmt: skip
    wall, trained = duration_text(real["wall"]), duration_text(real["seconds"])
    networks = f"{real['trials']} trials of {tried['spec_id'].nunique()} networks"
    print(f"{networks} in {wall} ({trained} of training)")
    if told and told["seconds"] is not None:
        print(f"foretold: {told['trials']} trials, {duration_text(told['seconds'])}")
    grown = table[table["kind"] == "expansion"]
    print(f"{int(grown['tie'].sum())} of {len(grown)} steps were ties")
    for line in headline(past).gain or [f"baselines: {len(baselines(past))}"]:
        print(line)


if __name__ == "__main__":
    try:
        main()
    except ExpanderError as error:
        raise SystemExit(str(error)) from None
