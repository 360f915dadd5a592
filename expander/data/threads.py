"""Threads that answer in order, and begin nothing more once nobody wants the answers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Found = TypeVar("Found")
AHEAD = 64
"""Items for a thread that are taken before their turn: a list of a million is never queued whole."""


def in_order(work: Callable[[Item], Found], items: Iterable[Item], threads: int) -> Generator[Found]:
    """What `work` gives for each item. Raises what it raises.

    Where that, a signal or the caller ends it early, what is under way is waited for and no other item begun:
    with Executor.map all are that were queued when a signal came, and each may wait for a store.
    """
    left, running = iter(items), deque[Future[Found]]()
    pool = ThreadPoolExecutor(threads)
    try:
        while True:
            for item in islice(left, AHEAD * threads - len(running)):
                running.append(pool.submit(work, item))
            if not running:
                return
            yield running.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
