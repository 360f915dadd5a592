"""Trials on the places of a cluster: who runs where and when, and what the loss of a node costs. No clock."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Cluster:
    """nodes: of one kind. places: trials at a time on each. gpus: of all nodes together."""

    nodes: int
    places: int
    gpus: float = 0.0


@dataclass(frozen=True, slots=True)
class Loss:
    """A node is gone at so many seconds."""

    at: float
    node: int


@dataclass(frozen=True, slots=True)
class Terms:
    """start: seconds until a worker has started. checkpoint: seconds between two checkpoints of a trial.

    retries: of a trial whose node was lost before the trial or its round came on, by a checkpoint or another
    trial that is over; one more and it has failed. With none, any loss of a node fails its trials. away:
    seconds until a lost node, or one in its place, is back.
    """

    start: float = 0.0
    checkpoint: float = 60.0
    retries: int = 1
    away: float = 600.0


@dataclass(frozen=True, slots=True)
class Ended:
    """A trial: whether it gave a result; seconds that it held a place, lost ones and the start included."""

    finished: bool
    held: float


@dataclass(slots=True, eq=False)
class _Work:
    """A trial under way. left: seconds of it still to do. lost: times that count. over: trials that were when
    it began, or lost its node. Of its last start: node, when, and the wait.
    """

    left: float
    held: float = 0.0
    lost: int = 0
    over: int = -1
    node: int = -1
    begun: float = 0.0
    wait: float = 0.0

    @property
    def ends(self) -> float:
        return self.begun + self.wait + self.left


def losses(cluster: Cluster, per_day: float, seed: int) -> Iterator[Loss]:
    """Losses by chance, independent of each other; per_day: of one node."""
    chance, now = np.random.default_rng(seed), 0.0
    while per_day > 0:
        now += chance.exponential(DAY / (per_day * cluster.nodes))
        yield Loss(now, int(chance.integers(cluster.nodes)))


class Places:
    """The places of a cluster from its start on: `now` grows with every round. lost: times it lost a node."""

    def __init__(self, cluster: Cluster, terms: Terms, losses: Iterable[Loss] = ()) -> None:
        self.cluster, self.terms = cluster, terms
        self.now, self.lost, self.over = 0.0, 0, 0
        self.losses = iter(losses)
        self.next = next(self.losses, None)
        self.back = [0.0] * cluster.nodes

    def run(self, seconds: Sequence[float]) -> tuple[Ended, ...]:
        """A round of trials of so many seconds each, started in this order, to the end of the last one.

        A trial goes to the node with the most places free. What is lost goes first when there is room again,
        from its last checkpoint.
        """
        trials = [_Work(left) for left in seconds]
        waiting, running = deque(trials), list[_Work]()
        warm = [0] * self.cluster.nodes  # workers started in this round that wait for a trial
        done: dict[_Work, bool] = {}
        while waiting or running:
            self._fill(waiting, running, warm)
            first = min(running, key=lambda work: work.ends, default=None)
            ends = math.inf if first is None else first.ends
            returns = min((at for at in self.back if at > self.now), default=math.inf)
            lost = math.inf if self.next is None else self.next.at
            self.now = min(ends, lost, returns)
            if first is not None and ends == self.now:
                running.remove(first)
                first.held += self.now - first.begun
                warm[first.node] += 1
                done[first] = True
                self.over += 1
            elif self.next is not None and lost == self.now:
                failed = self._lose(self.next.node, waiting, running, warm)
                done |= dict.fromkeys(failed, False)
                self.next = next(self.losses, None)
        return tuple(Ended(done[work], work.held) for work in trials)

    def _fill(self, waiting: deque[_Work], running: list[_Work], warm: list[int]) -> None:
        free = [self.cluster.places if at <= self.now else 0 for at in self.back]
        for work in running:
            free[work.node] -= 1
        while waiting and max(free) > 0:
            work, node = waiting.popleft(), max(range(len(free)), key=lambda node: (free[node], -node))
            work.node, work.begun = node, self.now
            work.over = self.over if work.over < 0 else work.over
            work.wait = 0.0 if warm[node] else self.terms.start
            warm[node] = max(0, warm[node] - 1)
            free[node] -= 1
            running.append(work)

    def _lose(
        self, node: int, waiting: deque[_Work], running: list[_Work], warm: list[int]
    ) -> list[_Work]:
        """The trials of a node go back to the queue; those that are lost once too often."""
        if self.back[node] > self.now:
            return []
        self.back[node], warm[node] = self.now + self.terms.away, 0
        self.lost += 1
        gone = [work for work in running if work.node == node]
        running[:] = [work for work in running if work.node != node]
        for work in gone:
            work.held += self.now - work.begun
            saved = self._saved(max(0.0, self.now - work.begun - work.wait))
            came_on = saved > 0 or self.over > work.over
            work.left -= saved
            work.lost += not came_on or not self.terms.retries
            work.over = self.over
        again = [work for work in gone if work.lost <= self.terms.retries]
        waiting.extendleft(reversed(again))
        failed = [work for work in gone if work.lost > self.terms.retries]
        self.over += len(failed)
        return failed

    def _saved(self, done: float) -> float:
        every = self.terms.checkpoint
        return done if not every else math.floor(done / every) * every
