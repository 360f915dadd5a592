"""One line of progress on a terminal; plain lines, and few of them, anywhere else."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from expander.specs.cost_kinds import duration_text


class Counter:
    """A context that counts done things of a total. Called with (done, total).

    timed: its first call tells of what was done before, and plain lines say how long it takes on.
    """

    def __init__(self, what: str, unit: str, timed: bool = False) -> None:
        self.what, self.unit, self.timed = what, unit, timed
        self.first: tuple[int, float] | None = None
        self.bar: Any = None
        self.tenth = 0

    def __enter__(self) -> Counter:
        return self

    def __call__(self, done: int, total: int) -> None:
        """`done` of `total` now."""
        self.first = self.first or (done if self.timed else 0, time.monotonic())
        if not sys.stderr.isatty():
            if done * 10 // total > self.tenth:
                self.tenth = done * 10 // total
                click.echo(f"{self.what}: {done}/{total}{self._ahead(done, total)}", err=True)
            return
        if self.bar is None:
            from tqdm import tqdm

            self.bar = tqdm(total=total, desc=self.what, unit=self.unit, leave=False,
                            initial=self.first[0])  # fmt: skip
        self.bar.update(done - self.bar.n)

    def _ahead(self, done: int, total: int) -> str:
        before, begun = self.first or (0, 0.0)
        if not self.timed or done in (before, total):
            return ""
        return f", {about((time.monotonic() - begun) * (total - done) / (done - before))} left"

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()


def about(seconds: float) -> str:
    """A time that is a guess: about 40 s, about 12 min, about 3.5 h."""
    return f"about {duration_text(seconds)}"
