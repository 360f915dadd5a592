"""Rules by which a search can be led, as functions of a table of trainings (`lattice.py`, `regret.py`).

A rule gets the World, asks it for trainings, and returns the spec that its search ends with.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from lattice import SEEDS, Lattice, Training, of_target

from expander.config.settings import Selection
from expander.runs.events import Candidate, Problem, TrialFinished
from expander.runs.trials import TrialResult
from expander.search.baselines import grown
from expander.search.baselines import random as random_specs
from expander.search.contraction import finalists
from expander.search.controller import ask, candidates_of, replay, tell
from expander.specs.cost import cost
from expander.specs.spec import AXES, Spec

POOL = 90
"""Random specs of the target's cost, among which random search chooses."""
MOST_TRIES = 4
"""Suggestions of TPE for one new spec: some are the same spec again, or reach no such cost."""


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


def tpe(world: World, trainings: int, listed: Sequence[Spec] = ()) -> Spec:
    """Optuna's TPE over the shares of the cost by axis: every suggestion is a spec of the target's cost.

    listed: the one of these whose factors are nearest, in logarithms, stands for a suggestion.
    """
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
            spec = min(listed, key=partial(_apart, found.spec), default=found.spec)
            tried[spec] = world.results([(spec, 0)])[0].accuracy
            study.tell(trial, tried[spec])
        else:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        if len(tried) == trainings:
            break
    return max(tried, key=lambda spec: tried[spec])


def _apart(one: Spec, other: Spec) -> float:
    """Square of the distance between the logarithms of two specs' factors."""
    return sum(math.log(getattr(one, axis) / getattr(other, axis)) ** 2 for axis in AXES)


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


def rules(lattice: Lattice) -> dict[str, Rule]:
    """By name."""
    specs, steps = pool(lattice.problem), lattice.problem.space.proxy.steps
    known = [
        spec for spec in of_target(lattice)
        if all(Training(spec, steps, seed) in lattice.rows for seed in range(SEEDS))
    ]  # fmt: skip
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
        f"TPE among {len(known)}, 24 trainings": partial(tpe, trainings=24, listed=known),
        "random, 24 trainings": partial(random_search, specs=specs, trainings=24),
        "random, 48 trainings": partial(random_search, specs=specs, trainings=48),
        "random, 90 trainings": partial(random_search, specs=specs, trainings=90),
    }
