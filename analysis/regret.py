"""How far from the best do the rules of a search end? Whole searches, replayed on a table of trainings.

    python analysis/regret.py --train          # trains what the rules ask for and the table lacks; resumable
    python analysis/regret.py                  # minutes: the table of regrets

Every rule searches DRAWS times; a draw gives every spec its own order of the seeds that the table has of
it, so that no two searches see the same luck. What a search ends with is judged by long trainings. Its
regret is how many points of accuracy it lies below the best that any rule found within the target.
TPE needs `pip install optuna`.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from lattice import Lattice, Training, problem

from expander.config.settings import Selection
from expander.runs.events import Candidate, Problem, TrialFinished
from expander.runs.trials import TrialResult
from expander.search.baselines import grown
from expander.search.baselines import random as random_specs
from expander.search.contraction import finalists
from expander.search.controller import ask, candidates_of, replay, tell
from expander.specs.cost import cost
from expander.specs.spec import Spec

DRAWS = 30
SEEDS = 3
"""Trainings of a spec among which a draw shuffles."""
POOL = 90
"""Random specs of the target's cost, among which random search chooses."""
MOST_TRIES = 4
"""Suggestions of TPE for one new spec: some are the same spec again, or reach no such cost."""
FEWER = {"TPE, 24 trainings": 4, "look-ahead 2": 6}
"""Draws of rules that ask for specs that no other rule asks for."""
LONG = 4
"""A long training is so many times a proxy's."""
JUDGES = 2
"""Long trainings of every spec that a search ended with."""


class Missing(Exception):
    """What a rule asked for and the table lacks."""

    def __init__(self, trainings: Iterable[Training]) -> None:
        super().__init__()
        self.trainings = tuple(trainings)


class World:
    """The table as one draw sees it."""

    def __init__(self, lattice: Lattice, draw: int) -> None:
        self.lattice, self.draw = lattice, draw
        self.problem = lattice.problem
        self.asked: set[Training] = set()

    def results(self, wanted: Sequence[tuple[Spec, int]]) -> list[TrialResult]:
        """Of specs and the number of their training. Raises Missing."""
        steps = self.problem.space.proxy.steps
        keys = [Training(spec, steps, self._seed(spec, number)) for spec, number in wanted]
        self.asked.update(keys)
        found = [self.lattice.get(key) for key in keys]
        if None in found:
            raise Missing(key for key, result in zip(keys, found, strict=True) if result is None)
        return [result for result in found if result is not None]

    def _seed(self, spec: Spec, number: int) -> int:
        order = np.random.default_rng([self.draw, zlib.crc32(spec.id.encode())]).permutation(SEEDS)
        return int(order[number % SEEDS])


Rule = Callable[[World], Spec]


def grow(world: World, selection: Selection) -> Spec:
    """The search itself, by `ask` and `tell`."""
    state, of = replay([]), replace(world.problem, selection=selection)
    while step := ask(of, state, cost):
        if isinstance(step, tuple):
            found = world.results([(trial.spec, trial.seed) for trial in step])
            for trial, result in zip(step, found, strict=True):
                state = tell(state, TrialFinished(trial.step, replace(result, trial=trial.id)))
        else:
            state = tell(state, step)
    return state.path[-1].spec


def pool(of: Problem) -> list[Spec]:
    """Random specs of the target's cost, all different."""
    found = random_specs(of, of.target, cost, 2 * POOL, 0)
    return list(dict.fromkeys(c.spec for c in found if isinstance(c, Candidate)))[:POOL]


def random_search(world: World, specs: Sequence[Spec], trainings: int) -> Spec:
    """The most accurate of so many of the random specs, one training each."""
    drawn = np.random.default_rng([world.draw, trainings]).permutation(len(specs))[:trainings]
    chosen = [specs[index] for index in drawn]
    found = world.results([(spec, 0) for spec in chosen])
    return chosen[int(np.argmax([result.accuracy for result in found]))]


def tpe(world: World, trainings: int) -> Spec:
    """Optuna's TPE over the shares of the cost by axis: every suggestion is a spec of the target's cost."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.TPESampler(seed=world.draw, multivariate=True)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    of, tried = world.problem, dict[Spec, float]()
    for _ in range(MOST_TRIES * trainings):
        trial = study.ask()
        weights = {axis: trial.suggest_float(axis, 0.0, 1.0) for axis in of.space.axes}
        found = grown(of, "tpe", weights, of.target, cost)
        if isinstance(found, Candidate):
            tried[found.spec] = world.results([(found.spec, 0)])[0].accuracy
            study.tell(trial, tried[found.spec])
        else:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        if len(tried) == trainings:
            break
    return max(tried, key=lambda spec: tried[spec])


def beam(world: World, width: int) -> Spec:
    """The `width` most accurate specs of each step are all expanded; the best of their contractions."""
    of, start = world.problem, world.problem.space.start
    paths = [(Candidate("base", start, cost(start), 1.0),)]
    ends: dict[Spec, float] = {}
    while paths:
        grown = {path[-1].spec: path for path in _expanded(of, paths)}
        found = world.results([(spec, 0) for spec in grown])
        accuracy = {spec: result.accuracy for spec, result in zip(grown, found, strict=True)}
        best = sorted(grown, key=lambda spec: accuracy[spec], reverse=True)[:width]
        paths = [grown[spec] for spec in best]
        over = [path for path in paths if path[-1].cost.of(of.cost) >= of.target]
        paths = [path for path in paths if path not in over]
        cut = {c.spec: c for path in over for c in finalists(path, (), of.target, cost)}
        results = world.results([(spec, 0) for spec in cut])
        ends |= {spec: result.accuracy for spec, result in zip(cut, results, strict=True)}
    return max(ends, key=lambda spec: ends[spec])


def look_ahead(world: World) -> Spec:
    """Of each step's candidates the one whose best expansion is the most accurate; what overshoots stands for
    itself. The end is chosen as a search does whose last step is all ties.
    """
    of, start = world.problem, world.problem.space.start
    path: tuple[Candidate, ...] = (Candidate("base", start, cost(start), 1.0),)
    while path[-1].cost.of(of.cost) < of.target:
        candidates = candidates_of(of, path[-1].spec, cost)[0]
        ahead = {c: candidates_of(of, c.spec, cost)[0] if c.cost.of(of.cost) < of.target else (c,)
                 for c in candidates}  # fmt: skip
        wanted = list(dict.fromkeys(n.spec for after in ahead.values() for n in after))
        wanted += [c.spec for c in candidates if c.spec not in wanted]
        found = world.results([(spec, 0) for spec in wanted])
        accuracy = {spec: result.accuracy for spec, result in zip(wanted, found, strict=True)}
        best = max(candidates, key=lambda c: max(accuracy[n.spec] for n in ahead[c]))
        path = (*path, best)
    axes = [c.axis for c in candidates]
    ends = [c.spec for c in finalists(path, candidates, of.target, cost, of.cost, axes, axes)]
    results = world.results([(spec, 0) for spec in ends])
    return ends[int(np.argmax([result.accuracy for result in results]))]


def _expanded(of: Problem, paths: Iterable[tuple[Candidate, ...]]) -> Iterator[tuple[Candidate, ...]]:
    for path in paths:
        for candidate in candidates_of(of, path[-1].spec, cost)[0]:
            yield (*path, candidate)


def rules(of: Problem) -> dict[str, Rule]:
    """By name."""
    specs = pool(of)
    return {
        "default": partial(grow, selection=Selection()),
        "accuracy instead of gain": partial(grow, selection=Selection(score="accuracy")),
        "nearest contraction": partial(grow, selection=Selection(contraction="nearest")),
        "races to 3 seeds": partial(grow, selection=Selection(max_seeds=3)),
        "2 seeds": partial(grow, selection=Selection(seeds=2)),
        "3 seeds": partial(grow, selection=Selection(seeds=3)),
        "beam 2": partial(beam, width=2),
        "look-ahead 2": look_ahead,
        "TPE, 24 trainings": partial(tpe, trainings=24),
        "random, 24 trainings": partial(random_search, specs=specs, trainings=24),
        "random, 48 trainings": partial(random_search, specs=specs, trainings=48),
        "random, 90 trainings": partial(random_search, specs=specs, trainings=90),
    }


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


def judged(lattice: Lattice, done: Iterable[Ending]) -> dict[Spec, float]:
    """Mean accuracy of the long trainings, by spec. Raises Missing."""
    steps = LONG * lattice.problem.space.proxy.steps
    found, missing = {}, []
    for spec in dict.fromkeys(ending.spec for ending in done):
        keys = [Training(spec, steps, seed) for seed in range(JUDGES)]
        results = [lattice.get(key) for key in keys]
        missing += [key for key, result in zip(keys, results, strict=True) if result is None]
        found[spec] = float(np.mean([result.accuracy for result in results if result is not None] or [0]))
    if missing:
        raise Missing(missing)
    return found


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
    arguments = parser.parse_args()
    lattice = Lattice(arguments.table, problem())
    every = rules(lattice.problem)
    chosen = {name: every[name] for name in arguments.rules or every}
    done: dict[tuple[str, int], Ending] = {}
    while wanted := played(lattice, chosen, done):
        print(f"{len(done)} searches played, {len(wanted)} trainings missing", flush=True)
        if not arguments.train:
            break  # what could be played is shown
        lattice.train(sorted(wanted, key=lambda t: (t.seed, t.spec.id)))
    if not done:
        return
    try:
        truth = judged(lattice, done.values())
    except Missing as missing:
        print(f"{len(missing.trainings)} long trainings missing", flush=True)
        if not arguments.train:
            return
        lattice.train(sorted(missing.trainings, key=lambda t: (t.seed, t.spec.id)))
        truth = judged(lattice, done.values())
    print(regrets(done.values(), truth).to_string())
    for spec, accuracy in sorted(truth.items(), key=lambda item: -item[1])[:10]:
        print(f"{100 * accuracy:.1f} {spec} {cost(spec).macs / 1e6:.4f} M")


if __name__ == "__main__":
    main()
