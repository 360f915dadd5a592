"""How far from the best do the rules of a search end? Whole searches, replayed on a table of trainings.

    python analysis/regret.py --train          # trains what the rules ask for and the table lacks; resumable
    python analysis/regret.py                  # minutes: the table of regrets
    python analysis/regret.py --judge proxies  # judged by the mean of a spec's proxies

Every rule searches DRAWS times; a draw gives every spec its own order of the seeds that the table has of
it, so that no two searches see the same luck. What a search ends with is judged by long trainings. Its
regret is how many points of accuracy it lies below the best of the table within the target.
TPE needs `pip install optuna`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from lattice import Lattice, Training, long, of_target, problem, proxies
from search_rules import Missing, Rule, World, rules

from expander.runs.events import Problem
from expander.specs.cost import cost
from expander.specs.spec import Spec

DRAWS = 30
FEWER = {"TPE, 24 trainings": 4, "look-ahead 2": 6}
"""Draws of rules that ask for specs that no other rule asks for."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What one search ended with, and the trainings it asked for."""

    rule: str
    draw: int
    spec: Spec
    trainings: int


def played(
    lattice: Lattice, chosen: Mapping[str, Rule], done: dict[tuple[str, int], Ending]
) -> set[Training]:
    """Plays what can be played into `done`; returns what the others lack."""
    wanted: set[Training] = set()
    for name, rule in chosen.items():
        for draw in range(FEWER.get(name, DRAWS)):
            if (name, draw) in done:
                continue
            world = World(lattice, draw)
            try:
                spec = rule(world)
            except Missing as missing:
                wanted.update(missing.trainings)
            else:
                done[name, draw] = Ending(name, draw, spec, len(world.asked))
    return wanted


def judged(
    lattice: Lattice, done: Iterable[Ending], judge: Callable[[Problem, Iterable[Spec]], list[Training]]
) -> dict[Spec, float]:
    """Mean accuracy of the trainings that `judge` names, of every spec of the target's cost that has them.

    Raises Missing where what a search ended with has not.
    """
    of, ends = lattice.problem, dict.fromkeys(ending.spec for ending in done)
    missing = [key for key in judge(of, ends) if key not in lattice.rows]
    if missing:
        raise Missing(missing)
    means = {spec: lattice.mean(judge(of, [spec])) for spec in (*ends, *of_target(lattice))}
    return {spec: mean for spec, mean in means.items() if mean is not None}


def regrets(done: Iterable[Ending], truth: Mapping[Spec, float]) -> pd.DataFrame:
    """A row a rule: trainings, what it ends with by long training, points below the best, distinct ends."""
    best = max(truth.values())
    rows = pd.DataFrame(
        {"rule": e.rule, "trainings": e.trainings, "accuracy": 100 * truth[e.spec],
         "regret": 100 * (best - truth[e.spec]), "spec": e.spec.id} for e in done
    )  # fmt: skip
    groups = rows.groupby("rule", sort=False)
    return groups.agg(
        searches=("spec", "size"), trainings=("trainings", "mean"), accuracy=("accuracy", "mean"),
        mean_regret=("regret", "mean"), worst_regret=("regret", "max"), different_ends=("spec", "nunique"),
    ).round(1)  # fmt: skip


def main() -> None:
    """Trains, or prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--table", type=Path, default=Path(__file__).with_name("lattice.csv.gz"))
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--rules", nargs="*", help="some of them; all when left out")
    parser.add_argument("--judge", choices=("long", "proxies"), default="long")
    given = parser.parse_args()
    lattice = Lattice(given.table, problem())
    every = rules(lattice)
    chosen = {name: every[name] for name in given.rules or every}
    done: dict[tuple[str, int], Ending] = {}
    while wanted := played(lattice, chosen, done):
        print(f"{len(done)} searches played, {len(wanted)} trainings missing", flush=True)
        if not given.train:
            break  # what could be played is shown
        lattice.train(sorted(wanted, key=lambda t: (t.seed, t.spec.id)))
    judge = {"long": long, "proxies": proxies}[given.judge]
    while True:
        try:
            truth = judged(lattice, done.values(), judge)
            break
        except Missing as missing:
            print(f"{len(missing.trainings)} trainings of the judge missing", flush=True)
            if not given.train:
                return
            lattice.train(missing.trainings)
    print(regrets(done.values(), truth).to_string())
    for spec, accuracy in sorted(truth.items(), key=lambda item: -item[1])[:10]:
        print(f"{100 * accuracy:.1f} {spec} {cost(spec).macs / 1e6:.4f} M")


if __name__ == "__main__":
    main()
