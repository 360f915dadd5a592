"""Threads whose answers are waited for by what a signal may end at any moment.

The locks of `threading` and `concurrent.futures` are taken and given back by lines of Python. Where a
signal's handler raises between two of them, one stays taken and the threads that need it never end; or one
that is not taken is given back, and a RuntimeError hides the end. So here only locks and queues written in C.
"""

from __future__ import annotations

import contextlib
from _thread import start_new_thread
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from itertools import islice
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Found = TypeVar("Found")
AHEAD = 64
"""Items for a thread that are taken before their turn: a list of a million is never queued whole."""


class Call(Generic[Found]):
    """Some work for a thread, and what came of it. done: where it puts itself when it is over."""

    def __init__(self, work: Callable[[], Found], done: SimpleQueue[Call[Found]] | None = None) -> None:
        self.work, self.done = work, done
        self.over = False
        self.error: BaseException | None = None
        self.found: Found
        self.lock = Lock()
        self.lock.acquire()

    def run(self) -> None:
        """In the thread."""
        try:
            self.found = self.work()
        except BaseException as error:
            self.error = error
        self.over = True
        self.lock.release()
        if self.done is not None:
            self.done.put(self)

    def wait(self, seconds: float = -1) -> bool:
        """Whether it is over, by default when it is."""
        if not self.over:
            self.lock.acquire(timeout=seconds)
        return self.over

    def result(self) -> Found:
        """What the work gives. Raises what it raises."""
        self.wait()
        if self.error is not None:
            raise self.error
        return self.found


def beside(work: Callable[[], Found]) -> Call[Found]:
    """Begins it in a thread of its own, which does not keep the process from its end."""
    call = Call(work)
    start_new_thread(call.run, ())
    return call


class Pool:
    """A context of up to so many threads. Its end gives up what has not begun and waits for the others."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.asked = SimpleQueue[Call[Any] | None]()
        self.begun = list[Call[None]]()

    def __enter__(self) -> Pool:
        return self

    def submit(self, call: Call[Found]) -> None:
        """Does it when a thread is free."""
        self.asked.put(call)
        if len(self.begun) < self.threads:
            self.begun.append(beside(self._serve))

    def drop(self) -> None:
        """Gives up what has not begun."""
        with contextlib.suppress(Empty):
            while True:
                self.asked.get_nowait()

    def __exit__(self, *error: object) -> None:
        self.drop()
        for _ in range(self.threads):
            self.asked.put(None)
        for thread in self.begun:
            thread.wait()

    def _serve(self) -> None:
        while (call := self.asked.get()) is not None:
            call.run()
            del call  # and what it found, while the next is waited for


def in_order(
    work: Callable[[Item], Found], items: Iterable[Item], threads: int, ahead: int | None = None
) -> Generator[Found]:
    """What `work` gives for each item. Raises what it raises. ahead: items begun or waiting at a time.

    Where that, a signal or the caller ends it early, what is under way is waited for and no other item begun:
    with Executor.map all are that were queued when a signal came, and each may wait for a store.
    """
    left, running = iter(items), deque[Call[Found]]()
    room = AHEAD * threads if ahead is None else ahead
    with Pool(threads) as pool:
        while True:
            for item in islice(left, room - len(running)):
                running.append(call := Call(partial(work, item)))
                pool.submit(call)
            if not running:
                return
            yield running.popleft().result()


def as_done(work: Callable[[Item], Found], items: Iterable[Item], pool: Pool, ahead: int) -> Iterator[Found]:
    """The same in the order in which they end, up to `ahead` items begun or waiting at a time."""
    left, done = iter(items), SimpleQueue[Call[Found]]()
    running = 0
    while True:
        for item in islice(left, ahead - running):
            pool.submit(Call(partial(work, item), done))
            running += 1
        if not running:
            return
        ended = done.get()
        running -= 1
        yield ended.result()
