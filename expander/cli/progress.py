"""One line of progress on a terminal; plain lines, and few of them, anywhere else."""

from __future__ import annotations

import sys
from typing import Any

import click

from expander.specs.cost_kinds import duration_text


class Counter:
    """A context that counts done things of a total. Called with (done, total)."""

    def __init__(self, what: str, unit: str) -> None:
        self.what, self.unit = what, unit
        self.bar: Any = None
        self.tenth = 0

    def __enter__(self) -> Counter:
        return self

    def __call__(self, done: int, total: int) -> None:
        """`done` of `total` now."""
        if not sys.stderr.isatty():
            if done * 10 // total > self.tenth:
                self.tenth = done * 10 // total
                click.echo(f"{self.what}: {done}/{total}", err=True)
            return
        if self.bar is None:
            from tqdm import tqdm

            self.bar = tqdm(total=total, desc=self.what, unit=self.unit, leave=False)
        self.bar.update(done - self.bar.n)

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()


def about(seconds: float) -> str:
    """A time that is a guess: about 40 s, about 12 min, about 3.5 h."""
    return f"about {duration_text(seconds)}"
